//! Progress by bytes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::progress::Step;

/// The minimum time between two updates of the display.
const INTERVAL: Duration = Duration::from_millis(100);

/// Counts the bytes of a step.
pub struct Meter<'s> {
    step: &'s Step,
    message: String,
    done: AtomicU64,
    total: AtomicU64,
    shown: Mutex<Option<Instant>>,
}

impl<'s> Meter<'s> {
    /// Creates the meter of a step that displays `message`.
    pub fn new(step: &'s Step, message: impl Into<String>) -> Self {
        Meter { step, message: message.into(), done: 0.into(), total: 0.into(), shown: Mutex::new(None) }
    }

    /// Adds to the total number of bytes.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds to the number of bytes that are done.
    pub fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let total = self.total.load(Ordering::Relaxed);
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if total > 0 && shown.is_none_or(|last| last.elapsed() >= INTERVAL) {
            *shown = Some(Instant::now());
            self.step.position(format!("{}: {} of {}", self.message, size(done), size(total)), done, total);
        }
    }
}

/// Formats a number of bytes in powers of ten, as Docker does.
pub fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_for_people() {
        let sizes = [0, 999, 1_000, 104_857_600, 2_000_000_000].map(super::size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "105 MB", "2.0 GB"]);
    }
}
