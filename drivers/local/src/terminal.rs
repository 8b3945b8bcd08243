//! kcl's own terminal, joined to that of a command in a machine.

use std::io::{stdin, stdout};

use kcl_driver_api::Result;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::context::Context as _;

/// The size of a terminal's window in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// The width of the window.
    pub columns: u16,
    /// The height of the window.
    pub rows: u16,
}

impl WindowSize {
    /// Returns the size of kcl's own terminal; none without one.
    pub fn current() -> Option<WindowSize> {
        let size = tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout())).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some(WindowSize { columns: size.ws_col, rows: size.ws_row })
    }
}

impl Default for WindowSize {
    /// Returns the size of a plain terminal.
    fn default() -> Self {
        WindowSize { columns: 80, rows: 24 }
    }
}

/// kcl's own terminal in raw mode, in which it passes on every key. Restores the terminal when it is dropped.
pub struct Terminal {
    before: Option<Termios>,
    changes: Option<Signal>,
}

impl Terminal {
    /// Sets the terminal to raw mode and listens for changes of its size; does neither unless `tty`.
    ///
    /// # Errors
    /// `Host` if signals cannot be received.
    pub fn join(tty: bool) -> Result<Terminal> {
        if !tty {
            return Ok(Terminal { before: None, changes: None });
        }
        let changes = signal(SignalKind::window_change()).with_context(|| "listen for SIGWINCH")?;
        let before = tcgetattr(stdin()).ok();
        if let Some(mut raw) = before.clone() {
            raw.make_raw();
            // A terminal that refuses only shows keys twice.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &raw);
        }
        Ok(Terminal { before, changes: Some(changes) })
    }

    /// Waits for the window's next size; never returns without a terminal.
    pub async fn resized(&mut self) -> WindowSize {
        while let Some(changes) = &mut self.changes
            && changes.recv().await.is_some()
        {
            if let Some(size) = WindowSize::current() {
                return size;
            }
        }
        std::future::pending().await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}
