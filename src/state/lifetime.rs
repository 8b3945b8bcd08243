//! The end of a cluster by itself: at a time, with a process, or with the first of them.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::process::{Found, ProcessId, boot_id};

/// The lifetime of a cluster; unlimited by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lifetime {
    /// The time at which it ends.
    pub until: Option<Timestamp>,
    /// The same time on a clock that nobody sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_boot_clock: Option<BootTime>,
    /// The process with which it ends.
    pub process: Option<ProcessId>,
}

/// A time on the clock of one boot of this host (CLOCK_BOOTTIME, clock_gettime(2)), which goes on while the host sleeps and
/// which nobody sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootTime {
    /// The boot, by the kernel's random number for it.
    pub boot: String,
    /// The time since its begin, in seconds.
    pub seconds: u64,
}

/// The end of a lifetime, as far as it can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It is proven.
    Over,
    /// It has not come.
    Ahead,
    /// It cannot be known here, for this reason.
    Unknown(String),
}

impl Lifetime {
    /// Returns a lifetime that ends after a time, or nothing for a time beyond all calendars.
    pub fn of(time: Duration) -> Option<Self> {
        let until = Timestamp::now().checked_add(time).ok()?;
        let seconds = boot_clock().as_secs().checked_add(time.as_secs())?;
        let on_boot_clock = boot_id().map(|boot| BootTime { boot, seconds });
        Some(Lifetime { until: Some(until), on_boot_clock, process: None })
    }

    /// Returns true if nothing ends it.
    pub fn is_unlimited(&self) -> bool {
        *self == Lifetime::default()
    }

    /// Returns the time that is left until its time, by the clock of this boot if it began in it; else by the wall clock.
    pub fn left(&self) -> Option<Duration> {
        let until = self.until?;
        let boot = self.on_boot_clock.as_ref().filter(|time| boot_id().is_some_and(|boot| boot == time.boot));
        Some(match boot {
            Some(time) => Duration::from_secs(time.seconds).saturating_sub(boot_clock()),
            None => Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default(),
        })
    }

    /// Returns its end, as far as it can be known.
    pub fn end(&self) -> End {
        if self.left().is_some_and(|left| left.is_zero()) {
            return End::Over;
        }
        match self.process.as_ref().map(ProcessId::find) {
            Some(Found::Ended) => End::Over,
            Some(Found::Unknown(why)) => End::Unknown(why),
            Some(Found::Running(_)) | None => End::Ahead,
        }
    }

    /// Returns true if it is proven that it is over.
    pub fn is_over(&self) -> bool {
        self.end() == End::Over
    }
}

/// Returns the time since the host's start.
fn boot_clock() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.until, &self.process) {
            (None, None) => Ok(()),
            // Whole seconds are precise enough.
            (Some(until), None) => write!(f, "{}", until.strftime("%Y-%m-%dT%H:%M:%SZ")),
            (None, Some(process)) => write!(f, "with process {}", process.pid),
            (Some(until), Some(process)) => {
                write!(f, "{} or with process {}", until.strftime("%Y-%m-%dT%H:%M:%SZ"), process.pid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_lifetime_is_over_at_its_time() {
        assert!(!Lifetime::default().is_over() && Lifetime::default().is_unlimited());
        assert!(Lifetime::of(Duration::ZERO).unwrap().is_over());
        assert!(!Lifetime::of(Duration::from_secs(60)).unwrap().is_over());
        assert_eq!(Lifetime::of(Duration::from_secs(300_000_000_000)), None);
        assert_eq!(Lifetime::of(Duration::MAX), None);
    }

    #[test]
    fn a_clock_that_jumps_ends_nothing_in_the_boot_in_which_the_lifetime_began() {
        let mut lifetime = Lifetime::of(Duration::from_secs(3600)).unwrap();
        // As if the wall clock had been set two hours ahead since.
        lifetime.until = Some(Timestamp::now() - Duration::from_secs(3600));
        assert!(!lifetime.is_over());
        assert!(lifetime.left().unwrap() > Duration::from_secs(3000));
        // After a reboot there is only the wall clock, and so it is for an older kcl's.
        lifetime.on_boot_clock.as_mut().unwrap().boot = "another".to_owned();
        assert!(lifetime.is_over());
        lifetime.on_boot_clock = None;
        assert!(lifetime.is_over());
    }

    #[test]
    fn a_lifetime_is_over_with_its_process() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let lifetime = Lifetime { process: Some(ProcessId::of(child.id()).unwrap()), ..Lifetime::default() };
        assert_eq!(lifetime.end(), End::Ahead);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lifetime.is_over());
    }

    #[test]
    fn a_lifetime_reads_as_when() {
        let until = Some(Timestamp::from_second(0).unwrap());
        let process = ProcessId { pid: 7, started: 1, origin: None };
        assert_eq!(Lifetime { until, ..Lifetime::default() }.to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Lifetime { process: Some(process), ..Lifetime::default() }.to_string(), "with process 7");
    }
}
