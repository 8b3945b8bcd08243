//! The private socket through which kcl requests a link from its console, or ends it: a line of JSON each way.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::identity::Identity;
use crate::shared::{PAUSE, Shared};

/// A request to a running console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Creates a link that works once.
    Link {
        /// The user of the session.
        identity: Identity,
        /// The URL of the API server that the console must show.
        server: String,
        /// The version of kcl whose page the console must serve.
        version: String,
        /// The port that the console must have; `None` for any.
        port: Option<u16>,
    },
    /// Ends the server.
    End,
}

/// The reply of a running console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// The link to open.
    Link(String),
    /// The console belongs to another version of kcl or a former cluster, or has another port.
    Outdated,
    /// The console ends now.
    Ending,
}

/// A running console, at the other end of its socket.
pub struct Running {
    stream: UnixStream,
}

impl Running {
    /// Connects to a console. If none listens, the error is `NotFound` (no socket) or `ConnectionRefused` (the socket
    /// of a process that died).
    pub async fn find(socket: &Path) -> io::Result<Running> {
        Ok(Running { stream: UnixStream::connect(socket).await? })
    }

    /// Returns the process id of the console, which is certain to be alive as long as it responds.
    pub fn process(&self) -> io::Result<Option<i32>> {
        Ok(self.stream.peer_cred()?.pid())
    }

    /// Sends a request and returns the reply. The error is `UnexpectedEof` if the console ended instead.
    pub async fn ask(mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line).await?;
        let mut answer = String::new();
        match BufReader::new(self.stream).read_line(&mut answer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(serde_json::from_str(&answer)?),
        }
    }
}

/// Serves every process that can reach the socket.
pub(crate) async fn serve(shared: Arc<Shared>, listener: UnixListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many files are open. Without this socket nobody would find the console any more.
                tracing::warn!("a request cannot be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(&shared, stream).await {
                tracing::debug!("a request was not understood: {error}");
            }
        });
    }
}

async fn answer(shared: &Shared, mut stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).await?;
    let request: Request = serde_json::from_str(&line)?;
    let reply = match &request {
        Request::Link { identity, server, version, port } => {
            let same = *server == shared.cluster.server && *version == shared.cluster.kcl_version;
            if same && port.is_none_or(|port| port == shared.port) {
                Reply::Link(shared.link(identity.clone()))
            } else {
                Reply::Outdated
            }
        }
        Request::End => Reply::Ending,
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    if request == Request::End {
        shared.end.notify_one();
    }
    Ok(())
}
