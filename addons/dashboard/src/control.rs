//! The private socket by which kcl asks its console for a link, or for its end: a line of JSON each way.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::identity::Identity;
use crate::shared::Shared;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// A link that works once.
    Link {
        /// For whom.
        identity: Identity,
        /// Only of a console that shows this API server with the page of this version of kcl.
        server: String,
        /// See there.
        version: String,
        /// Only of one at this port; none: whatever it has.
        port: Option<u16>,
    },
    /// The end of the server.
    End,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// The link.
    Link(String),
    /// This console is of another kcl, of a cluster that is no more, or at another port.
    Outdated,
    /// It ends now.
    Ending,
}

/// A console that runs, at the other end of its socket.
pub struct Running {
    stream: UnixStream,
}

impl Running {
    /// Connects. Nobody listens where there is no file (`NotFound`), or only that of a process that died
    /// (`ConnectionRefused`).
    pub async fn find(socket: &Path) -> io::Result<Running> {
        Ok(Running { stream: UnixStream::connect(socket).await? })
    }

    /// The number of its process; it is alive for certain as long as it answers.
    pub fn process(&self) -> io::Result<Option<i32>> {
        Ok(self.stream.peer_cred()?.pid())
    }

    /// Asks it for something. `UnexpectedEof` where it ended instead of answering.
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

/// Answers all who can reach the socket.
pub(crate) async fn serve(shared: Arc<Shared>, listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
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
