//! Waiting for what cannot be watched.

use std::time::{Duration, Instant};

/// The time after which a test gives up. Not an expectation: machines differ.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// The interval between checks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks until there is what is looked for; `Err` says what there is instead, and the last one is shown at the end.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) if Instant::now() > end => panic!("not within {LIMIT:?}: {what}; last: {instead}"),
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}
