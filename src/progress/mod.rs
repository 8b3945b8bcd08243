//! What is going on, as events; how it is shown (a terminal, a pipe, JSON) is a renderer's business.

mod json;
#[cfg(test)]
mod page;
mod plain;
mod setup;
mod terminal;
mod text;

pub use setup::choose;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Family};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A step began.
    Started {
        /// Counts up from 1 within a run.
        step: usize,
        /// How many there will be, where that is known.
        total: Option<usize>,
        /// A stable name: `artifacts`, `machines`, …
        name: &'static str,
        /// What is being done, for people.
        title: String,
    },
    /// A step went on.
    Progress {
        /// The step.
        step: usize,
        /// What it does now or waits for.
        message: String,
        /// Done and total, in any unit, where they are known.
        position: Option<(u64, u64)>,
    },
    /// A step ended well.
    Finished {
        /// The step.
        step: usize,
        /// What was reached, for people.
        message: String,
        /// How long it took.
        elapsed: Duration,
    },
    /// A step ended badly; the error itself follows.
    Failed {
        /// The step.
        step: usize,
        /// How long it took.
        elapsed: Duration,
    },
    /// Something the user should know.
    Warning(String),
    /// A line for the user.
    Info(String),
    /// Why the command failed, at its end.
    Error {
        /// What kind of failure it is: its id and exit code.
        family: Family,
        /// What was tried and what was found.
        message: String,
        /// What the user can do, one line each.
        hints: Vec<String>,
        /// The causes below, from the nearest.
        causes: Vec<String>,
    },
}

/// Shows events.
pub trait Renderer: Send + Sync {
    /// Shows one.
    fn event(&self, event: &Event);
}

/// Shows nothing.
pub struct Silent;

impl Renderer for Silent {
    fn event(&self, _: &Event) {}
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    renderer: Arc<dyn Renderer>,
    steps: Arc<AtomicUsize>,
    // 0: not known.
    total: Arc<AtomicUsize>,
}

impl Progress {
    /// Events go to `renderer`.
    pub fn new(renderer: Arc<dyn Renderer>) -> Self {
        Progress { renderer, steps: Arc::default(), total: Arc::default() }
    }

    /// Events go nowhere.
    pub fn silent() -> Self {
        Progress::new(Arc::new(Silent))
    }

    /// How many steps there will be in all, those that have begun included.
    pub fn expect(&self, total: usize) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// Begins a step. Dropped without [`Step::finish`], it has failed.
    pub fn step(&self, name: &'static str, title: impl Into<String>) -> Step {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        let total = Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0).map(|total| total.max(step));
        self.renderer.event(&Event::Started { step, total, name, title: title.into() });
        Step { renderer: self.renderer.clone(), step, begun: Instant::now(), done: false }
    }

    /// Something the user should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.renderer.event(&Event::Warning(message.into()));
    }

    /// A line for the user.
    pub fn info(&self, message: impl Into<String>) {
        self.renderer.event(&Event::Info(message.into()));
    }

    /// Why the command failed; the last event.
    pub fn error(&self, error: &Error) {
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        self.renderer.event(&Event::Error {
            family: error.family,
            message: error.message.clone(),
            hints: error.hints.clone(),
            causes: causes.map(ToString::to_string).collect(),
        });
    }
}

/// A step that is going on.
pub struct Step {
    renderer: Arc<dyn Renderer>,
    step: usize,
    begun: Instant,
    done: bool,
}

impl Step {
    /// What it does now or waits for.
    pub fn message(&self, message: impl Into<String>) {
        self.renderer.event(&Event::Progress { step: self.step, message: message.into(), position: None });
    }

    /// What it does now, and how far it is.
    pub fn position(&self, message: impl Into<String>, done: u64, total: u64) {
        self.renderer.event(&Event::Progress {
            step: self.step,
            message: message.into(),
            position: Some((done, total)),
        });
    }

    /// It ended well.
    pub fn finish(mut self, message: impl Into<String>) {
        self.done = true;
        self.renderer.event(&Event::Finished {
            step: self.step,
            message: message.into(),
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
