//! The engine's socket, and its report to the node agent that it listens.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use kcl_node_spec::paths::POLICY_SOCKET;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Doing, Result};
use crate::protocol::{Answer, Request};

/// A request, and the sender of its reply.
pub(crate) type Order = (Request, oneshot::Sender<Answer>);

/// The delay after an error of accept(2) for which the process is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens for as long as the program runs, and returns what is asked.
pub(crate) fn listen() -> Result<mpsc::Receiver<Order>> {
    let _ = fs::remove_file(POLICY_SOCKET);
    let listener = UnixListener::bind(POLICY_SOCKET).doing(|| format!("make the socket {POLICY_SOCKET}"))?;
    let private = fs::set_permissions(POLICY_SOCKET, Permissions::from_mode(0o600));
    private.doing(|| format!("set the mode of {POLICY_SOCKET}"))?;
    let (sender, receiver) = mpsc::channel(64);
    tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(serve(stream, sender.clone()))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Ok(receiver)
}

/// Reports to the node agent, by sd_notify(3), that the engine takes requests.
pub(crate) fn notify() -> Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let send = || UnixDatagram::unbound()?.send_to(b"READY=1", path);
    send().map(drop).doing(|| "report to the node agent".to_owned())
}

async fn serve(stream: UnixStream, orders: mpsc::Sender<Order>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.ok()?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => {
            let (sender, answer) = oneshot::channel();
            orders.send((request, sender)).await.ok()?;
            answer.await.ok()?
        }
        Err(error) => Answer { error: Some(error.to_string()) },
    };
    let mut line = serde_json::to_vec(&answer).ok()?;
    line.push(b'\n');
    write.write_all(&line).await.ok()
}
