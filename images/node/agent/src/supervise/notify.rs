//! Readiness that components report themselves: sd_notify(3).

use std::fs;
use std::path::{Path, PathBuf};

use tokio::net::UnixDatagram;

use crate::error::{Doing, Result};
use crate::paths;

/// The notification socket of one component.
pub(super) struct Socket {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Socket {
    /// Creates the socket, replacing that of an earlier run.
    pub(super) fn bind(component: &str) -> Result<Socket> {
        let path = Path::new(paths::NOTIFY).join(component);
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).doing(|| format!("make the socket {}", path.display()))?;
        Ok(Socket { path, socket })
    }

    /// Returns once the component is ready.
    pub(super) async fn ready(&self) {
        let mut buffer = [0; 512];
        while let Ok(length) = self.socket.recv(&mut buffer).await {
            if buffer[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return;
            }
        }
        std::future::pending().await
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
