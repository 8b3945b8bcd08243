//! Progress as events. A renderer shows them: on a terminal, in a pipe, or as JSON.

mod json;
#[cfg(test)]
mod page;
mod plain;
mod setup;
mod terminal;
mod text;

pub use setup::choose;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Id};

/// An event of a run.
#[derive(Clone, Debug)]
pub enum Event {
    /// A step began.
    Started {
        /// The number of the step, from 1 within a run.
        step: usize,
        /// The number of steps in the run, if it is known.
        total: Option<usize>,
        /// A stable name: `artifacts`, `machines`, …
        name: &'static str,
        /// The text for people.
        title: String,
    },
    /// A step made progress.
    Progress {
        /// The number of the step.
        step: usize,
        /// The current activity.
        message: String,
        /// The finished part and the total, in any unit, if they are known.
        position: Option<(u64, u64)>,
    },
    /// A step ended well.
    Finished {
        /// The number of the step.
        step: usize,
        /// The result, for people.
        message: String,
        /// The time that it took.
        elapsed: Duration,
    },
    /// A step failed; the error itself follows.
    Failed {
        /// The number of the step.
        step: usize,
        /// The time until it failed.
        elapsed: Duration,
    },
    /// A warning for the user.
    Warning(String),
    /// A part failed and the rest goes on. The command ends with the exit code of its id.
    Trouble {
        /// The id of the failure, which has an exit code.
        id: Id,
        /// The failed action and the finding.
        message: String,
        /// The remedies, one line each.
        hints: Vec<String>,
        /// The causes below, from the nearest.
        causes: Vec<String>,
    },
    /// A line for the user.
    Info(String),
    /// The command failed; this is the last event.
    Error {
        /// The id of the failure, which has an exit code.
        id: Id,
        /// The failed action and the finding.
        message: String,
        /// The remedies, one line each.
        hints: Vec<String>,
        /// The causes below, from the nearest.
        causes: Vec<String>,
    },
}

/// Shows events to the user.
pub trait Renderer: Send + Sync {
    /// Shows an event.
    fn event(&self, event: &Event);

    /// Returns the first error by which events for programs were lost.
    fn lost(&self) -> Option<io::Error> {
        None
    }
}

/// A renderer that shows nothing.
pub struct Silent;

impl Renderer for Silent {
    fn event(&self, _: &Event) {}
}

/// The sender of events. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    renderer: Arc<dyn Renderer>,
    steps: Arc<AtomicUsize>,
    // 0: not known.
    total: Arc<AtomicUsize>,
}

impl Progress {
    /// Returns a sender that sends events to `renderer`.
    pub fn new(renderer: Arc<dyn Renderer>) -> Self {
        Progress { renderer, steps: Arc::default(), total: Arc::default() }
    }

    /// Returns a sender that discards all events.
    pub fn silent() -> Self {
        Progress::new(Arc::new(Silent))
    }

    /// Returns the first error by which events for programs were lost.
    pub fn lost(&self) -> Option<io::Error> {
        self.renderer.lost()
    }

    /// Sets the number of steps in the run, including those that have begun.
    pub fn expect(&self, total: usize) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// Begins a step. A step that is dropped without [`Step::finish`] has failed.
    pub fn step(&self, name: &'static str, title: impl Into<String>) -> Step {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        let total = Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0).map(|total| total.max(step));
        self.renderer.event(&Event::Started { step, total, name, title: title.into() });
        Step { renderer: self.renderer.clone(), step, begun: Instant::now(), done: false }
    }

    /// Warns the user.
    pub fn warn(&self, message: impl Into<String>) {
        self.renderer.event(&Event::Warning(text::printable(message.into())));
    }

    /// Shows a line to the user.
    pub fn info(&self, message: impl Into<String>) {
        self.renderer.event(&Event::Info(text::printable(message.into())));
    }

    /// Reports the failure of a part while the rest goes on.
    pub fn trouble(&self, error: &Error) {
        self.renderer.event(&Event::Trouble {
            id: error.id,
            message: text::printable(error.message.clone()),
            hints: error.hints.iter().cloned().map(text::printable).collect(),
            causes: causes(error),
        });
    }

    /// Reports an error that ends the command; this is the last event.
    pub fn error(&self, error: &Error) {
        self.renderer.event(&Event::Error {
            id: error.id,
            message: text::printable(error.message.clone()),
            hints: error.hints.iter().cloned().map(text::printable).collect(),
            causes: causes(error),
        });
    }
}

/// Returns the causes below an error, from the nearest.
fn causes(error: &Error) -> Vec<String> {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.map(|cause| text::printable(cause.to_string())).collect()
}

/// A running step.
pub struct Step {
    renderer: Arc<dyn Renderer>,
    step: usize,
    begun: Instant,
    done: bool,
}

impl Step {
    /// Sets the current activity.
    pub fn message(&self, message: impl Into<String>) {
        self.renderer.event(&Event::Progress {
            step: self.step,
            message: text::printable(message.into()),
            position: None,
        });
    }

    /// Sets the current activity and its progress.
    pub fn position(&self, message: impl Into<String>, done: u64, total: u64) {
        self.renderer.event(&Event::Progress {
            step: self.step,
            message: text::printable(message.into()),
            position: Some((done, total)),
        });
    }

    /// Ends the step with its result.
    pub fn finish(mut self, message: impl Into<String>) {
        self.done = true;
        self.renderer.event(&Event::Finished {
            step: self.step,
            message: text::printable(message.into()),
            elapsed: self.begun.elapsed(),
        });
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.done {
            self.renderer.event(&Event::Failed { step: self.step, elapsed: self.begun.elapsed() });
        }
    }
}
