//! A connection to a host: the route, the host's key, the login.

use std::path::PathBuf;
use std::sync::Arc;

use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_ssh_client::{Failure, Handle, KnownHosts, authenticate, usual_keys};
use tokio::sync::OnceCell;

use crate::route::Hop;
use crate::target::Place;

/// The user's identity, and the known keys of hosts.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The directory `~/.ssh`.
    pub ssh: Option<PathBuf>,
    /// The socket of an SSH agent.
    pub agent: Option<PathBuf>,
    /// The user who logs in unless a host names another.
    pub user: String,
    /// The password of sudo; if none is given, the user is asked at the terminal.
    pub sudo_password: Option<String>,
    /// The password that the user was asked for.
    pub asked_password: Arc<OnceCell<String>>,
    /// The keys of hosts.
    pub known_hosts: KnownHosts,
}

/// Logs in at the last host of a route, through those before it.
pub(crate) async fn connect(route: &[Hop], identity: &Identity) -> Result<Handle> {
    let no_way = || Error::new(ErrorKind::Host, "the route to the host is empty");
    let (first, rest) = route.split_first().ok_or_else(no_way)?;
    let reached = kcl_ssh_client::reach(&first.place.address, first.place.port()).await;
    let stream = reached.map_err(|failure| failed(&first.place, failure))?;
    let mut handle = log_in(stream, first, identity).await?;
    let mut through = &first.place;
    for hop in rest {
        let place = &hop.place;
        let channel = handle.channel_open_direct_tcpip(place.address.clone(), place.port().into(), "127.0.0.1", 0);
        let channel =
            channel.await.map_err(|error| unreachable(place, &format!("{through} does not reach it: {error}")))?;
        handle = log_in(channel.into_stream(), hop, identity).await?;
        through = place;
    }
    Ok(handle)
}

fn failed(place: &Place, failure: Failure) -> Error {
    match failure {
        Failure::Refused(error) => error,
        Failure::Unreachable(why) => unreachable(place, &why),
    }
}

fn unreachable(place: &Place, why: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("host {place} cannot be reached at port {}: {why}", place.port()))
        .hint(format!("find the reason with: ssh -v -p {} {}", place.port(), user_and_address(place)))
}

fn user_and_address(place: &Place) -> String {
    Place { port: None, ..place.clone() }.to_string()
}

async fn log_in<S>(stream: S, hop: &Hop, identity: &Identity) -> Result<Handle>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Hop { place, user, keys } = hop;
    let connected = kcl_ssh_client::connect(stream, &place.address, place.port(), &identity.known_hosts).await;
    let mut handle = connected.map_err(|failure| failed(place, failure))?;
    let usual = || identity.ssh.as_deref().map(usual_keys).unwrap_or_default();
    let files = if keys.is_empty() { usual() } else { keys.clone() };
    let tried = authenticate(&mut handle, user, &files, identity.agent.as_deref()).await;
    let Some(tried) = tried.map_err(|error| unreachable(place, &error.to_string()))? else { return Ok(handle) };
    let tried = match tried.as_slice() {
        [] => "the keys of an SSH agent (none available), and the usual ones below ~/.ssh (none found)".to_owned(),
        tried => tried.join(", "),
    };
    let (port, address) = (place.port(), &place.address);
    let message = format!("host {place} lets {user} in by none of: {tried}");
    let hint = format!("name a key with --ssh-key, or let one in with: ssh-copy-id -p {port} {user}@{address}");
    Err(Error::new(ErrorKind::Unreachable, message).hint(hint))
}
