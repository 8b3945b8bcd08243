//! A node's containerd, by its own API, in the namespace of Kubernetes: gRPC over the machine's exec, so it works the
//! same with every driver and nothing listens on a network.

pub mod content;
mod messages;
pub mod records;
pub mod snapshots;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use kcl_driver_api::{Exec, Machine, Stdin, Stdout};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

pub use messages::{CriAuth, CriImage, Descriptor};

use crate::error::{Error, Family, Result};

/// Where containerd answers in every node.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// Kubernetes' images are in it.
const NAMESPACE: &str = "k8s.io";

/// How much is sent or read at once, in bytes: above HTTP/2's frames, below what containerd takes as a message.
pub const PIECE: usize = 1 << 20;

/// How much may be under way before who reads has to say that he has read it, in bytes.
const WINDOW: u32 = 8 << 20;

/// The largest answer that is taken, in bytes.
const LARGEST: usize = 32 << 20;

/// A result of containerd's.
pub type Answer<T> = std::result::Result<T, Status>;

/// A connection to the containerd of a node.
#[derive(Clone)]
pub struct Containerd {
    /// The node's name.
    pub node: String,
    channel: Channel,
    lease: Option<String>,
    /// Ends the connection's command with the last clone.
    _end: Arc<oneshot::Sender<()>>,
}

impl Containerd {
    /// Connects to the containerd of a node that runs.
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
            Error::new(Family::Cluster, format!("containerd of node {node} cannot be reached: {error}"))
                .hint("see how the node is with: kcl status")
                .source(error)
        })?;
        Ok(Containerd { node, channel, lease: None, _end: Arc::new(end) })
    }

    /// A method that is asked once and answers once.
    async fn call<Q, A>(&self, method: &'static str, question: Q) -> Answer<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.ready().await?;
        let path = PathAndQuery::from_static(method);
        grpc.unary(self.about(question), path, ProstCodec::<Q, A>::default()).await.map(tonic::Response::into_inner)
    }

    /// A method that is asked by a stream of messages, and answers by one.
    async fn stream<Q, A>(
        &self,
        method: &'static str,
        questions: impl futures::Stream<Item = Q> + Send + 'static,
    ) -> Answer<Streaming<A>>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.ready().await?;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        grpc.streaming(self.about(questions), path, codec).await.map(tonic::Response::into_inner)
    }

    async fn ready(&self) -> Answer<Grpc<Channel>> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }

    fn about<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", AsciiMetadataValue::from_static(NAMESPACE));
        if let Some(lease) = self.lease.as_deref().and_then(|lease| lease.parse().ok()) {
            metadata.insert("containerd-lease", lease);
        }
        request
    }

    /// An error of containerd's as kcl's.
    pub fn failed(&self, what: &str, status: &Status) -> Error {
        let message = format!("could not {what} on node {}: {}", self.node, status.message());
        Error::new(Family::Cluster, message)
    }
}

/// Connects to a Unix socket in a node, by a command that joins its own streams with it. Returns our end, and what ends
/// the command when it is dropped.
pub fn dial(machine: Arc<dyn Machine>, socket: &str) -> Result<(UnixStream, oneshot::Sender<()>)> {
    let failed = |error: std::io::Error| {
        Error::new(Family::Host, format!("no connection to node {} can be made: {error}", machine.name())).source(error)
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
