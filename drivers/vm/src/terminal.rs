//! kcl's own terminal, joined to one in a machine.

use std::io::{IsTerminal, stdin};

use kcl_node_spec::guest::TerminalSize;
use nix::libc;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// The terminal without its own handling of keys. Dropped, it is as before.
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    pub(crate) fn enter() -> Raw {
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            // A terminal that refuses only shows keys twice.
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, &raw);
        }
        Raw(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
        }
    }
}

nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, nix::pty::Winsize);

/// The size of kcl's terminal; that of a plain one where there is none.
#[allow(unsafe_code)]
pub(crate) fn size() -> TerminalSize {
    let mut size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    if stdin().is_terminal() {
        // SAFETY: the size lives for the call.
        let _ = unsafe { window_size(0, &mut size) };
    }
    TerminalSize { rows: size.ws_row, columns: size.ws_col }
}
