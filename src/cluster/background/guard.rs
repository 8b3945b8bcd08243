//! Clusters with a limited lifetime: a kcl in the background, one for each such cluster, waits until the lifetime is
//! over and deletes the cluster. It costs nothing while it waits.
//!
//! If a guard is gone, as after a reboot, the next `start` deletes the clusters whose lifetime is over.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::Note;
use crate::app::App;
use crate::error::{Error, Family, Result};
use crate::state::{ClusterState, Lifetime, ProcessId};

/// The time that a guard has to write its note.
const GRACE: Duration = Duration::from_secs(5);

/// Ensures that a cluster has the guard that its lifetime requires. The caller holds the cluster's lock.
///
/// # Errors
/// The guard cannot be started.
pub async fn follow(app: &App, state: &ClusterState) -> Result<()> {
    let cluster = &state.spec.name;
    if let Some(note) = note(app, cluster).await {
        if note.what == state.lifetime {
            return Ok(());
        }
        end(app, cluster).await;
    }
    if state.lifetime.is_unlimited() {
        return Ok(());
    }
    super::start(app, &file(app, cluster), ["-p", cluster, "guard"]).map_err(|error| {
        Error::new(Family::Host, format!("what is to delete \"{cluster}\" by itself cannot be started: {error}"))
    })
}

/// Ends the guard of a cluster, if there is one. That is safe: at most, the guard waits for the lock that the caller
/// holds.
pub async fn end(app: &App, cluster: &str) {
    let Some(note) = note(app, cluster).await else { return };
    let pid = note.process.pid;
    if !super::end(note).await {
        app.progress.warn(format!("process {pid}, which waits for the end of \"{cluster}\", stays"));
    }
}

/// Runs as a cluster's guard: writes its note, and returns once the lifetime is over. Standard input is the lock under
/// which this process was started.
///
/// # Errors
/// The process cannot write its note, or cannot wait.
pub fn stand(lifetime: &Lifetime) -> io::Result<()> {
    super::say(lifetime)?;
    wait(lifetime)
}

/// Waits until a lifetime is over.
fn wait(lifetime: &Lifetime) -> io::Result<()> {
    // The wall clock goes on while the host sleeps.
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC)?;
    if let Some(until) = lifetime.until {
        let time = TimeSpec::new(until.as_second().max(1), i64::from(until.subsec_nanosecond()));
        timer.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    }
    let process = match lifetime.process.map(ProcessId::open).transpose() {
        Ok(process) => process,
        // The process has ended already.
        Err(_) => return Ok(()),
    };
    let wanted = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
    let mut descriptors: Vec<PollFd<'_>> =
        [Some(timer.as_fd()), process.as_ref().map(AsFd::as_fd)].into_iter().flatten().map(wanted).collect();
    while let Err(error) = poll(&mut descriptors, PollTimeout::NONE) {
        if error != nix::errno::Errno::EINTR {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Returns the note of a cluster's guard, if there is one.
async fn note(app: &App, cluster: &str) -> Option<Note<Lifetime>> {
    super::note(&file(app, cluster), GRACE).await
}

/// Returns the path of a guard's note.
fn file(app: &App, cluster: &str) -> PathBuf {
    app.store.paths().cluster(cluster).join("guard")
}
