//! A host: a connection that is kept, and requests to the program of kcl there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_local::terminal::WindowSize;
use kcl_ssh_client::Handle;
use kcl_ssh_host::protocol::{self, HOME, Request, frame};
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::connect::{Identity, connect};
use crate::route::{Hop, UserConfig};
use crate::sudo::{self, Sudo};
use crate::target::Target;

/// The exit code of kcl's scripts if the program is not there yet.
const ABSENT: u32 = 97;
/// The commands at a time on a connection: sshd allows ten (`MaxSessions`), and some are left for others.
const COMMANDS: usize = 8;

/// The hosts of a driver by how they are reached. Their connections last as long as the driver.
#[derive(Default)]
pub(crate) struct Pool(Mutex<HashMap<Target, Arc<Host>>>);

impl Pool {
    /// Returns the host of a target.
    pub(crate) fn get(&self, target: &Target) -> Arc<Host> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Host { target: target.clone(), connection: tokio::sync::Mutex::new(None) });
        hosts.entry(target.clone()).or_insert_with(new).clone()
    }
}

/// A host of the driver.
pub(crate) struct Host {
    /// The path to the host.
    pub target: Target,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

/// A connection that is logged in.
pub(crate) struct Connection {
    handle: Handle,
    /// The connection leads through other hosts.
    pub jumped: bool,
    commands: Semaphore,
    sudo: Sudo,
    /// The output of `uname -s -m`.
    pub system: String,
    /// The addresses of this connection as the host sees them: that of this computer, and its own.
    pub addresses: Option<(std::net::IpAddr, std::net::IpAddr)>,
}

/// The treatment of a host that has nothing of kcl yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The program is installed.
    Install,
    /// The program is put into a directory that is removed when the request ends.
    Try,
}

/// The result of a command.
pub(crate) struct Ended {
    pub code: Option<u32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// The program for hosts, by its digest.
#[derive(Clone)]
pub(crate) struct Program {
    /// The content of a static executable: the node agent.
    pub content: Arc<Vec<u8>>,
    path: String,
}

impl Program {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        let digest = base16ct::lower::encode_string(&Sha256::digest(&content)[..8]);
        Program { content: Arc::new(content), path: format!("{HOME}/bin/kcl-node-{digest}") }
    }

    /// Returns the script that runs the program if it is there.
    fn run(&self) -> String {
        format!("[ -x {0} ] || exit {ABSENT}; exec {0} host", self.path)
    }

    /// Returns the script that installs its first input as the program and runs it. `wc` detects a truncated input.
    fn install(&self) -> String {
        format!(
            "set -e; umask 077; mkdir -p {HOME}/bin; t={path}.new.$$; trap 'rm -f $t' EXIT; head -c {size} > $t; \
             [ $(wc -c < $t) = {size} ] || exit 98; chmod 755 $t; mv -f $t {path}; exec {path} host",
            path = self.path,
            size = self.content.len()
        )
    }

    /// Returns the script that runs the program from a directory that it removes afterwards.
    fn try_out(&self) -> String {
        format!(
            "umask 077; d=$(mktemp -d /run/kcl-look.XXXXXX) || d=$(mktemp -d) || exit 98; trap 'rm -rf $d' EXIT; \
             head -c {size} > $d/kcl-node && chmod 700 $d/kcl-node && $d/kcl-node host",
            size = self.content.len()
        )
    }
}

impl Host {
    /// Returns the host's name in messages.
    pub(crate) fn name(&self) -> String {
        self.target.host.to_string()
    }

    /// Returns the route to the host.
    pub(crate) fn route(&self, identity: &Identity) -> Result<Vec<Hop>> {
        UserConfig::read(identity.ssh.as_deref(), &identity.user)?.route(&self.target)
    }

    /// Returns the connection, reopened if it was lost.
    pub(crate) async fn connection(&self, identity: &Identity) -> Result<Arc<Connection>> {
        let mut connection = self.connection.lock().await;
        if let Some(there) = connection.as_ref().filter(|there| !there.handle.is_closed()) {
            return Ok(there.clone());
        }
        *connection = None;
        let made = Arc::new(self.open(identity).await?);
        *connection = Some(made.clone());
        Ok(made)
    }

    async fn open(&self, identity: &Identity) -> Result<Connection> {
        let route = self.route(identity)?;
        let handle = connect(&route, identity).await?;
        let mut connection = Connection {
            handle,
            jumped: route.len() > 1,
            commands: Semaphore::new(COMMANDS),
            sudo: Sudo::Root,
            system: String::new(),
            addresses: None,
        };
        let look =
            "uname -s -m; id -u; echo \"$SSH_CONNECTION\"; sudo -n true 2>/dev/null && echo free || command -v sudo";
        let output =
            connection.command(&format!("sh -c {}", sudo::quoted(look)), &[]).await.map_err(|error| self.at(error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        connection.system = lines.next().unwrap_or_default().to_owned();
        let user = lines.next().unwrap_or_default().to_owned();
        connection.addresses = lines.next().and_then(|line| {
            let mut words = line.split(' ');
            let ours = words.next()?.parse().ok()?;
            Some((ours, words.nth(1)?.parse().ok()?))
        });
        let sudo = lines.next().unwrap_or_default();
        if user.parse::<u32>().is_err() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let message = format!("host {} does not run commands: it wrote {:?} {stderr:?}", self.name(), text.trim());
            return Err(Error::new(ErrorKind::Host, message).hint("kcl needs a POSIX shell there"));
        }
        connection.sudo = match (user.as_str(), sudo) {
            ("0", _) => Sudo::Root,
            (_, "free") => Sudo::Free,
            (_, "") => {
                let message = format!("host {} has no sudo, and its user is not root", self.name());
                return Err(Error::new(ErrorKind::Host, message).hint("log in as root, or install sudo there"));
            }
            _ => self.with_password(&connection, identity).await?,
        };
        Ok(connection)
    }

    async fn with_password(&self, connection: &Connection, identity: &Identity) -> Result<Sudo> {
        let sudo = Sudo::Password(match &identity.sudo_password {
            Some(password) => password.clone(),
            None => sudo::ask_for_password(&identity.asked_password, &self.name()).await?,
        });
        let output = connection.command(&sudo.command("true"), &sudo.input()).await.map_err(|error| self.at(error))?;
        if output.code == Some(0) {
            return Ok(sudo);
        }
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let message = format!("host {} does not let its user become root: {stderr}", self.name());
        Err(Error::new(ErrorKind::Host, message)
            .hint(format!("check the password in {}, or the rules in /etc/sudoers", sudo::VARIABLE)))
    }

    /// Adds the host to an error.
    pub(crate) fn at(&self, error: Error) -> Error {
        let name = self.name();
        if error.message.contains(&name) {
            return error;
        }
        Error { message: format!("host {name}: {}", error.message), ..error }
    }

    /// Sends a request to the host if kcl has something there; none if it has nothing.
    pub(crate) async fn ask_if_there<T: DeserializeOwned>(&self, with: &With, request: &Request) -> Result<Option<T>> {
        let connection = self.connection(&with.identity).await?;
        let look = format!("[ -d {HOME} ] || exit {ABSENT}; true");
        let ended = self.run(&connection, &with.program.run(), &frame(request)).await?;
        if ended.code != Some(ABSENT) {
            return self.answer(&ended).map(Some);
        }
        if self.run(&connection, &look, &[]).await?.code == Some(ABSENT) {
            return Ok(None);
        }
        // Another version of kcl, or one that is half removed.
        self.ask(with, request, Absent::Try).await.map(Some)
    }

    /// Sends a request to the host.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, with: &With, request: &Request, absent: Absent) -> Result<T> {
        let connection = self.connection(&with.identity).await?;
        let ended = self.run(&connection, &with.program.run(), &frame(request)).await?;
        if ended.code != Some(ABSENT) {
            return self.answer(&ended);
        }
        let script = match absent {
            Absent::Install => with.program.install(),
            Absent::Try => with.program.try_out(),
        };
        let input = [with.program.content.as_slice(), &frame(request)].concat();
        let ended = self.run(&connection, &script, &input).await?;
        self.answer(&ended)
    }

    async fn run(&self, connection: &Connection, script: &str, input: &[u8]) -> Result<Ended> {
        let input = [&connection.sudo.input(), input].concat();
        connection.command(&connection.sudo.command(script), &input).await.map_err(|error| self.at(error))
    }

    fn answer<T: DeserializeOwned>(&self, ended: &Ended) -> Result<T> {
        if ended.stdout.is_empty() {
            let stderr = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
            let code = ended.code.map_or("by a signal".to_owned(), |code| format!("with code {code}"));
            return Err(Error::engine(format!("host {}: the command of kcl ended {code}: {stderr}", self.name())));
        }
        protocol::parse(&ended.stdout).map_err(|error| self.at(error))
    }

    /// Starts a command that keeps running: returns its channel, with the request written.
    pub(crate) async fn begin(&self, with: &With, request: &Request, pty: Option<Pty>) -> Result<Channel<Msg>> {
        let connection = self.connection(&with.identity).await?;
        let begin = async {
            let channel = connection.handle.channel_open_session().await?;
            if let Some(Pty { terminal, size }) = pty {
                channel.request_pty(true, &terminal, size.columns.into(), size.rows.into(), 0, 0, RAW).await?;
            }
            channel.exec(true, connection.sudo.command(&with.program.run())).await?;
            channel.data_bytes([connection.sudo.input(), frame(request)].concat()).await?;
            Ok::<_, russh::Error>(channel)
        };
        begin.await.map_err(|error| self.at(lost(&error)))
    }
}

/// The modes of a terminal that passes everything on as it is: the one in the machine does the rest.
const RAW: &[(russh::Pty, u32)] = &[
    (russh::Pty::ECHO, 0),
    (russh::Pty::ICANON, 0),
    (russh::Pty::ISIG, 0),
    (russh::Pty::ICRNL, 0),
    (russh::Pty::OPOST, 0),
];

/// A terminal that is requested on the host.
pub(crate) struct Pty {
    /// The kind of the user's terminal, from `TERM`.
    pub terminal: String,
    /// The size of the user's terminal.
    pub size: WindowSize,
}

/// The identity and the program for all hosts.
pub(crate) struct With {
    /// The identity of the user.
    pub identity: Identity,
    /// The program that runs on hosts.
    pub program: Program,
}

/// Closes a channel even if its command is dropped, which would wait for its input otherwise.
struct Closing(std::sync::Arc<russh::ChannelWriteHalf<Msg>>);

impl Drop for Closing {
    fn drop(&mut self) {
        let writer = self.0.clone();
        tokio::spawn(async move { writer.close().await });
    }
}

impl Connection {
    /// Runs a command with this input to its end.
    async fn command(&self, command: &str, input: &[u8]) -> Result<Ended> {
        let _one = self.commands.acquire().await.map_err(|error| Error::engine(error.to_string()))?;
        let channel = self.handle.channel_open_session().await.map_err(|error| lost(&error))?;
        channel.exec(false, command).await.map_err(|error| lost(&error))?;
        let (mut reader, writer) = channel.split();
        let writer = std::sync::Arc::new(writer);
        let _closing = Closing(writer.clone());
        let input = input.to_vec();
        let feed = async {
            // A command may end before it has read all.
            if writer.data_bytes(input).await.is_ok() {
                let _ = writer.eof().await;
            }
            std::future::pending::<()>().await
        };
        let read = async {
            let mut ended = Ended { code: None, stdout: Vec::new(), stderr: Vec::new() };
            let mut closed = false;
            while let Some(message) = reader.wait().await {
                match message {
                    ChannelMsg::Data { data } => protocol::collect(&mut ended.stdout, &data)?,
                    ChannelMsg::ExtendedData { data, .. } => protocol::collect(&mut ended.stderr, &data)?,
                    ChannelMsg::ExitStatus { exit_status } => ended.code = Some(exit_status),
                    ChannelMsg::ExitSignal { .. } => closed = true,
                    ChannelMsg::Close => closed = true,
                    _ => {}
                }
            }
            Ok::<_, Error>((ended, closed))
        };
        let (ended, closed) = tokio::select! { read = read => read?, () = feed => unreachable!("it never ends") };
        if ended.code.is_none() && !closed {
            return Err(Error::engine("the connection was cut"));
        }
        Ok(ended)
    }
}

/// Returns the error of a connection that failed after it was made.
pub(crate) fn lost(error: &russh::Error) -> Error {
    Error::engine(format!("the connection was cut: {error}"))
}
