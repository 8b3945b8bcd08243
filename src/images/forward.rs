//! A socket on this host that is forwarded to one in a node while it is held.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcl_driver_api::Machine;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::containerd::dial;
use crate::error::{Error, Id, Result};

/// The socket, in a directory that only this user can enter.
pub struct Forward {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Forward {
    /// Forwards connections to `path` to `socket` in a node.
    pub fn open(path: &Path, machine: Arc<dyn Machine>, socket: &str) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(Id::FileUnwritable, format!("cannot create the socket {}: {error}", path.display()))
                .source(error)
        };
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = socket.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let (machine, socket) = (machine.clone(), socket.clone());
                tokio::spawn(async move {
                    if let Ok((mut there, _end)) = dial(machine, &socket) {
                        // Either end may close at any time.
                        let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                    }
                });
            }
        });
        Ok(Forward { path: path.to_owned(), task })
    }

    /// Returns the socket's URL: `unix:///…`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path.display())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}
