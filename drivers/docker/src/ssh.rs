//! Connects to an engine on a host over SSH: each request goes through a channel of its own to the engine's socket
//! there (`direct-streamlocal@openssh.com`, PROTOCOL of OpenSSH, 2.4). Nothing is run on either host.

use std::path::PathBuf;
use std::sync::Arc;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http::header::HOST;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_ssh_client::{Failure, Handle, KnownHosts, Unknown, authenticate, usual_keys};

use crate::endpoint::SshHost;

impl SshHost {
    fn login(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        }
    }
}

/// Connects to the API of the engine there.
pub(crate) async fn connect(host: &SshHost, answer: u64) -> Result<Docker> {
    let handle = Arc::new(log_in(host).await?);
    let socket = host.socket.to_string_lossy().into_owned();
    let transport = move |request| request_over(handle.clone(), socket.clone(), request);
    Docker::connect_with_custom_transport(transport, Some("http://docker"), answer, API_DEFAULT_VERSION)
        .map_err(|error| failed(host, &error.to_string()))
}

fn failed(host: &SshHost, why: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("could not connect to {} at port {}: {why}", host.login(), host.port))
        .hint(format!("see what fails with: ssh -v -p {} {}", host.port, host.login()))
}

/// Sends one request on a channel of its own.
async fn request_over(
    handle: Arc<Handle>,
    socket: String,
    mut request: BollardRequest,
) -> std::result::Result<http::Response<hyper::body::Incoming>, bollard::errors::Error> {
    let opened = handle.channel_open_direct_streamlocal(&*socket).await;
    let channel = opened.map_err(|error| std::io::Error::other(format!("{socket} is unreachable there: {error}")))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(channel.into_stream())).await?;
    // An upgraded connection, of a command with its streams, continues after the answer.
    tokio::spawn(connection.with_upgrades());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse()?;
    request.headers_mut().insert(HOST, http::HeaderValue::from_static("docker"));
    Ok(sender.send_request(request).await?)
}

async fn log_in(host: &SshHost) -> Result<Handle> {
    let ssh = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(".ssh");
    let known_hosts = KnownHosts { file: ssh.join("known_hosts"), unknown: Unknown::Refuse };
    let connected = async {
        let stream = kcl_ssh_client::reach(&host.host, host.port).await?;
        kcl_ssh_client::connect(stream, &host.host, host.port, &known_hosts).await
    };
    let mut handle = connected.await.map_err(|failure| match failure {
        Failure::Refused(error) => error,
        Failure::Unreachable(why) => failed(host, &why),
    })?;
    let user = host.user.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "root".to_owned());
    let agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    let tried = authenticate(&mut handle, &user, &usual_keys(&ssh), agent.as_deref()).await;
    if tried.map_err(|error| failed(host, &error.to_string()))?.is_none() {
        return Ok(handle);
    }
    let message = format!("the host {} accepts no key of the SSH agent or of ~/.ssh for {user}", host.host);
    let hint = format!("add one with: ssh-copy-id -p {} {}", host.port, host.login());
    Err(Error::new(ErrorKind::Unreachable, message).hint(hint))
}
