//! The interface to `kcl-node`'s other commands: a Unix socket with one JSON document a line.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Doing, Result};
use crate::paths::SOCKET;
use crate::state::State;
use crate::{files, listen};

/// A request to the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Returns the status, once.
    Status,
    /// Returns the status now and after each change.
    Watch,
    /// Restarts a component.
    Restart {
        /// The name of the component.
        component: String,
    },
    /// Stops the node. The only reply is the end of the connection.
    Stop,
    /// Reads the node spec again.
    Reload,
}

/// The reply to an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The reason why the order failed.
    pub error: Option<String>,
}

/// An order for the agent, and the sender of its reply.
pub(crate) type Order = (Request, oneshot::Sender<Answer>);

/// Serves for as long as the agent runs.
pub(crate) fn serve(state: Rc<State>, orders: mpsc::Sender<Order>) -> Result<()> {
    let path = Path::new(SOCKET);
    if let Some(dir) = path.parent() {
        files::create_private_dir(dir)?;
    }
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path).doing(|| format!("make the socket {SOCKET}"))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).doing(|| format!("set the mode of {SOCKET}"))?;
    tokio::task::spawn_local(async move {
        let serve = |(stream, _)| drop(tokio::task::spawn_local(answer(stream, state.clone(), orders.clone())));
        listen::forever("the agent's socket", || listener.accept(), serve).await;
    });
    Ok(())
}

async fn answer(stream: UnixStream, state: Rc<State>, orders: mpsc::Sender<Order>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.ok()?;
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => return send(&mut write, &Answer { error: Some(error.to_string()) }).await,
    };
    match request {
        Request::Status => send(&mut write, &state.now()).await,
        Request::Watch => {
            let mut changes = state.subscribe();
            while changes.changed().await.is_ok() {
                changes.mark_unchanged();
                send(&mut write, &state.now()).await?;
            }
            None
        }
        order => {
            let (sender, answer) = oneshot::channel();
            orders.send((order, sender)).await.ok()?;
            send(&mut write, &answer.await.ok()?).await
        }
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), value: &impl Serialize) -> Option<()> {
    let mut line = serde_json::to_vec(value).ok()?;
    line.push(b'\n');
    write.write_all(&line).await.ok()
}
