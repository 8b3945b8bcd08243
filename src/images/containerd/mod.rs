//! A client of a node's containerd, in the namespace of Kubernetes: gRPC over the machine's exec, so it is the same for
//! every driver and nothing listens on a network.

mod api;
pub mod content;
pub mod records;
pub mod snapshots;
mod transfer;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use kcl_driver_api::{Exec, Machine, Stdin, Stdout};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub use api::containerd::types::Descriptor;
pub use api::runtime::v1::{AuthConfig as CriAuth, Image as CriImage};

use crate::error::{Error, Id, Result};

/// The path of containerd's socket in every node.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// The namespace of Kubernetes' images.
const NAMESPACE: &str = "k8s.io";

/// The number of bytes that are sent or read at once: above HTTP/2's frames, below containerd's limit for a message.
pub const PIECE: usize = 1 << 20;

/// The number of bytes that may be in flight before the receiver has to acknowledge them.
const WINDOW: u32 = 8 << 20;

/// The maximum size of an answer in bytes.
const LARGEST: usize = 32 << 20;

/// A result of a call of containerd.
pub type Answer<T> = std::result::Result<T, Status>;

/// A connection to the containerd of a node.
#[derive(Clone)]
pub struct Containerd {
    /// The node's name.
    pub node: String,
    channel: Channel,
    scope: Scope,
    /// Ends the connection's command with the last clone.
    _end: Arc<oneshot::Sender<()>>,
}

/// Adds the namespace and the lease to each request.
#[derive(Clone, Default)]
struct Scope {
    lease: Option<String>,
}

/// The channel of a client whose requests have a scope.
type Scoped = InterceptedService<Channel, Scope>;

impl Interceptor for Scope {
    fn call(&mut self, mut request: Request<()>) -> Answer<Request<()>> {
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", AsciiMetadataValue::from_static(NAMESPACE));
        if let Some(lease) = self.lease.as_deref().and_then(|lease| lease.parse().ok()) {
            metadata.insert("containerd-lease", lease);
        }
        Ok(request)
    }
}

impl Descriptor {
    /// Returns the descriptor of a blob without annotations.
    pub fn new(media_type: impl Into<String>, digest: impl Into<String>, size: i64) -> Self {
        Descriptor { media_type: media_type.into(), digest: digest.into(), size, ..Descriptor::default() }
    }
}

impl Containerd {
    /// Connects to the containerd of a running node.
    pub async fn connect(machine: Arc<dyn Machine>) -> Result<Self> {
        let node = machine.name().to_owned();
        let (stream, end) = dial(machine, SOCKET)?;
        // The address is never used, and there is one connection.
        let mut stream = Some(stream);
        let connector = tower::service_fn(move |_: http::Uri| {
            let stream = stream.take();
            async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("the connection has ended")) }
        });
        let endpoint = Endpoint::from_static("http://containerd")
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let channel = endpoint.connect_with_connector(connector).await.map_err(|error| {
            Error::new(Id::ContainerdFailed, format!("containerd of node {node} is unreachable: {error}"))
                .hint("check the node with: kcl status")
                .source(error)
        })?;
        Ok(Containerd { node, channel, scope: Scope::default(), _end: Arc::new(end) })
    }

    fn scoped(&self) -> Scoped {
        InterceptedService::new(self.channel.clone(), self.scope.clone())
    }

    /// Returns kcl's error for one of containerd's.
    pub fn failed(&self, action: &str, status: &Status) -> Error {
        let message = format!("could not {action} on node {}: {}", self.node, status.message());
        Error::new(Id::ContainerdFailed, message)
    }
}

/// Connects to a Unix socket in a node by a command that joins its own streams with it. Returns this end, and a sender
/// that ends the command when it is dropped.
pub fn dial(machine: Arc<dyn Machine>, socket: &str) -> Result<(UnixStream, oneshot::Sender<()>)> {
    let failed = |error: std::io::Error| {
        Error::new(Id::HostFailed, format!("cannot connect to node {}: {error}", machine.name())).source(error)
    };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let ours = UnixStream::from_std(ours).map_err(failed)?;
    let theirs = Arc::new(OwnedFd::from(theirs));
    let exec = Exec {
        stdin: Stdin::From(theirs.clone()),
        stdout: Stdout::To(theirs),
        ..Exec::new(["socat", "-b", "262144", "STDIO", &format!("UNIX-CONNECT:{socket}")])
    };
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        tokio::select! {
            output = machine.exec(exec) => match output {
                Ok(output) if output.code != 0 => {
                    tracing::debug!("{}: {}", machine.name(), String::from_utf8_lossy(&output.stderr).trim());
                }
                Ok(_) => {}
                Err(error) => tracing::debug!("{}: {error}", machine.name()),
            },
            _ = ended => {}
        }
    });
    Ok((ours, end))
}
