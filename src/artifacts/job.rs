//! The progress of the work on one artifact.

use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::progress::{Progress, Step};

/// The work on one of several artifacts.
pub struct Job<'a> {
    /// The receiver of warnings and remarks.
    pub progress: &'a Progress,
    step: &'a Step,
    title: String,
    verb: &'static str,
    begun: Instant,
    said: Mutex<Said>,
}

/// The latest message, and the time when a message was last displayed.
#[derive(Default)]
struct Said {
    shown: Option<Instant>,
    what: String,
    position: Option<(u64, u64)>,
}

/// The minimum time between two changes of a step's message.
const RATE: Duration = Duration::from_millis(200);

impl<'a> Job<'a> {
    /// Starts the work on `title`, number `number` of `of`.
    pub fn new(
        progress: &'a Progress,
        step: &'a Step,
        verb: &'static str,
        title: &str,
        number: usize,
        of: usize,
    ) -> Self {
        let title = if of > 1 { format!("{title} ({number} of {of})") } else { title.to_owned() };
        let begun = Instant::now();
        let job = Job { progress, step, title, verb, begun, said: Mutex::default() };
        job.say("", None);
        job
    }

    /// Reports the current activity and position. Most of frequent reports are not displayed.
    pub fn say(&self, what: &str, position: Option<(u64, u64)>) {
        let mut said = self.said.lock().expect("nobody panics while speaking");
        what.clone_into(&mut said.what);
        said.position = position;
        if said.shown.is_none_or(|shown| shown.elapsed() >= RATE) {
            self.show(&mut said);
        }
    }

    fn show(&self, said: &mut Said) {
        said.shown = Some(Instant::now());
        let seconds = self.begun.elapsed().as_secs();
        let mut message = format!("{} {}", self.verb, self.title);
        if !said.what.is_empty() {
            message = format!("{message}: {}", said.what);
        }
        if seconds > 0 {
            message = format!("{message}, {}", duration(seconds));
        }
        match said.position {
            Some((done, total)) => self.step.position(message, done, total),
            None => self.step.message(message),
        }
    }

    /// Waits for `work`, and displays the elapsed time every second.
    pub async fn ticking<T>(&self, work: impl Future<Output = T>) -> T {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => self.show(&mut self.said.lock().expect("nobody panics while speaking")),
            }
        }
    }

    /// Returns the time since the work was started.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Formats seconds for users: `42s`, `6m05s`.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        _ => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_short() {
        assert_eq!(super::duration(59), "59s");
        assert_eq!(super::duration(365), "6m05s");
    }
}
