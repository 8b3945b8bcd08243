//! The work on one artifact, as the user sees it.

use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{Error, Family, Result};
use crate::progress::{Progress, Step};

/// One artifact of those that have to be got.
pub struct Job<'a> {
    /// For warnings and remarks.
    pub progress: &'a Progress,
    step: &'a Step,
    title: String,
    verb: &'static str,
    begun: Instant,
    said: Mutex<Said>,
}

/// What was said last, and when a message was last shown.
#[derive(Default)]
struct Said {
    shown: Option<Instant>,
    what: String,
    position: Option<(u64, u64)>,
}

/// Not more often than this is a step's message changed.
const RATE: Duration = Duration::from_millis(200);

impl<'a> Job<'a> {
    /// Work on `title`, number `number` of `of`.
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

    /// What it does now, and how far it is. Called often, it speaks seldom.
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

    /// Waits for something, and meanwhile tells every second how long it takes.
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

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Seconds for people: `42s`, `6m05s`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        _ => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

/// Does what would block the runtime elsewhere.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Family::Internal, format!("a task ended early: {error}")).source(error))?
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_short() {
        assert_eq!(super::duration(59), "59s");
        assert_eq!(super::duration(365), "6m05s");
    }
}
