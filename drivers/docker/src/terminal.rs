//! kcl's own terminal, joined to one of a command in a machine.

use std::io::{IsTerminal, stdin};

use bollard::Docker;
use bollard::query_parameters::ResizeExecOptionsBuilder;
use kcl_driver_api::Result;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::Engine;

/// A terminal that passes everything on, until this is dropped.
pub(crate) struct Terminal {
    before: Option<Termios>,
    follow: tokio::task::JoinHandle<()>,
}

nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, nix::libc::winsize);

impl Terminal {
    /// Passes keys on as they are typed, and the size of the window, now and when it changes.
    pub(crate) fn join(engine: &Engine, exec: &str) -> Result<Self> {
        let follow = tokio::spawn(follow_size(engine.docker.clone(), exec.to_owned()));
        let before = if stdin().is_terminal() { tcgetattr(stdin()).ok() } else { None };
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            tcsetattr(stdin(), SetArg::TCSADRAIN, &raw).map_err(std::io::Error::from)?;
        }
        Ok(Terminal { before, follow })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.follow.abort();
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

async fn follow_size(docker: Docker, exec: String) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((width, height)) = size() {
            let options = ResizeExecOptionsBuilder::default().w(width.into()).h(height.into()).build();
            // One that has ended needs no size.
            let _ = docker.resize_exec(&exec, options).await;
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

/// Columns and rows of the window; none without a terminal.
#[allow(unsafe_code)]
fn size() -> Option<(u16, u16)> {
    let mut found = nix::libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: ioctl_tty(2): TIOCGWINSZ writes a winsize to where it is told.
    unsafe { window_size(nix::libc::STDIN_FILENO, &raw mut found) }.ok()?;
    (found.ws_col > 0 && found.ws_row > 0).then_some((found.ws_col, found.ws_row))
}
