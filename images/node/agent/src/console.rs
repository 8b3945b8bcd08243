//! The agent's own messages, on the machine's console.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Instant;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time at which the agent started, or of the first call.
pub fn started() -> Instant {
    *STARTED
}

/// Prints a message with the seconds since the start of the agent, as the kernel does.
pub fn say(text: impl Display) {
    println!("[{:>9.3}] {text}", started().elapsed().as_secs_f64());
}
