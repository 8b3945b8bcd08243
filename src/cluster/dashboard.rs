//! The dashboard: kcl's console of a cluster, served by a kcl in the background, one for a cluster and user.
//!
//! It is found by its socket, which only the user can reach. Who starts one holds a lock, and passes it on to the new
//! process, which gives it back when it listens: so there is never a second one, whoever is killed when.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_console::{Config, Console, Identity, Reply, Request, Running};
use kcl_driver_api::Power;
use kcl_driver_local::process;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sha2::{Digest as _, Sha256};

use super::addons::{AddonOptions, AddonRow, ENABLED, addons, disable, enable};
use super::{App, access, background, drivers, observe};
use crate::artifacts::Way;
use crate::error::{Error, Family, Result};
use crate::kubernetes::Access;

/// How long the console lives without a request or an open page.
const IDLE: Duration = Duration::from_secs(8 * 60 * 60);

/// How long it may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How long an addon may take to become ready, or to go.
const SWITCH: Duration = Duration::from_secs(6 * 60);

/// What it says when it listens.
const READY: &str = "ready";

/// What kind of console is wanted.
pub struct DashboardOptions {
    /// For whom.
    pub identity: Identity,
    /// The port on loopback; none: any.
    pub port: Option<u16>,
}

/// A link to the console of a running cluster, which signs in once. Starts the console where there is none.
pub async fn dashboard(app: &App, cluster: &str, options: DashboardOptions) -> Result<String> {
    let place = Place::of(app, cluster);
    let access = running(app, cluster).await?;
    let lock = place.lock().await?;
    let request = Request::Link {
        identity: options.identity,
        server: access.server,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        port: options.port,
    };
    match place.ask(&request).await? {
        Some(Reply::Link(url)) => return Ok(url),
        Some(_) => place.end().await?,
        None => {}
    }
    // Who was waited for may have deleted the cluster.
    app.existing(cluster)?;
    place.start(app, cluster, lock, options.port).await?;
    match place.ask(&request).await? {
        Some(Reply::Link(url)) => Ok(url),
        other => Err(Error::new(Family::Internal, format!("the console gives no link: {other:?}"))),
    }
}

/// Ends the console of a cluster, if there is one. What goes wrong is told, and is no reason to keep a cluster.
pub async fn end(app: &App, cluster: &str) {
    let place = Place::of(app, cluster);
    if let Err(error) = place.end().await {
        app.progress.warn(error.to_string());
    }
}

/// Removes the lock of a cluster that is deleted. Who waits for it looks for the cluster next.
pub fn forget(app: &App, cluster: &str) {
    if let Err(error) = fs::remove_file(Place::of(app, cluster).lock)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!("the console's lock stays: {error}");
    }
}

/// Is the console of a cluster, until it is not needed any more. Standard input is the lock under which it was started.
pub async fn serve_dashboard(app: &App, cluster: &str, port: Option<u16>) -> Result<()> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::new(Family::Host, format!("the console of \"{cluster}\" {what}: {error}"))
    };
    background::detach();
    let place = Place::of(app, cluster);
    let state = app.existing(cluster)?;
    let Access { server, credentials } = access(app, &state)?;
    let shown = kcl_console::Cluster {
        name: cluster.to_owned(),
        server,
        ca_pem: credentials.ca_pem,
        cert_pem: credentials.cert_pem,
        key_pem: credentials.key_pem,
        kcl_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let socket = place.socket();
    if let Err(error) = fs::remove_file(&socket)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed("cannot listen", &error));
    }
    let switches = Switches { app: app.clone(), cluster: cluster.to_owned() };
    let addons: Option<Arc<dyn kcl_console::Addons>> = Some(Arc::new(switches));
    let config = Config { cluster: shown, port: port.unwrap_or(0), socket: &socket, addons, idle: IDLE };
    let console = Console::bind(config).await.map_err(|error| match port {
        Some(port) => {
            failed(&format!("cannot listen on port {port}"), &error).hint("name another one, or none, with --port")
        }
        None => failed("cannot listen", &error),
    })?;
    // Who started it may have been killed: then nobody knows of it, and it goes.
    writeln!(io::stdout(), "{READY}").map_err(|error| failed("is not wanted", &error))?;
    let null =
        File::options().read(true).write(true).open("/dev/null").map_err(|error| failed("cannot start", &error))?;
    nix::unistd::dup2_stdout(&null)
        .and_then(|()| nix::unistd::dup2_stdin(&null))
        .map_err(|error| failed("cannot start", &error))?;
    let files = app.store.paths().cluster(cluster);
    console.serve(move || files.exists()).await;
    place.clear();
    Ok(())
}

/// The cluster's addons, as the console shows and switches them.
struct Switches {
    app: App,
    cluster: String,
}

impl Switches {
    /// Changes an addon on a thread of its own: the work of verbs stays on one.
    async fn apart<W>(&self, name: &str, work: W) -> std::result::Result<(), String>
    where
        W: AsyncFnOnce(&App, &str, &[String], &AddonOptions) -> Result<bool> + Send + 'static,
    {
        let (app, cluster, names) = (self.app.clone(), self.cluster.clone(), [name.to_owned()]);
        let options = AddonOptions { artifacts: Default::default(), way: Way::Auto, wait_timeout: SWITCH };
        let runtime = tokio::runtime::Handle::current();
        let done = tokio::task::spawn_blocking(move || runtime.block_on(work(&app, &cluster, &names, &options)));
        match done.await {
            Ok(done) => done.map(drop).map_err(told),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[async_trait]
impl kcl_console::Addons for Switches {
    async fn list(&self) -> std::result::Result<Vec<kcl_console::Addon>, String> {
        let rows = addons(&self.app, &self.cluster).map_err(told)?;
        let addon = |row: AddonRow| kcl_console::Addon {
            name: row.name,
            title: row.title,
            version: row.version,
            enabled: row.status == ENABLED,
            needs: row.needs,
        };
        Ok(rows.into_iter().map(addon).collect())
    }

    async fn enable(&self, name: &str) -> std::result::Result<(), String> {
        self.apart(name, async |app, cluster, names, options| enable(app, cluster, names, options).await).await
    }

    async fn disable(&self, name: &str) -> std::result::Result<(), String> {
        self.apart(name, async |app, cluster, names, options| disable(app, cluster, names, false, options).await).await
    }
}

/// An error with what to do next, as a text.
fn told(error: Error) -> String {
    let hints = error.hints.iter().map(|hint| format!("\n{hint}"));
    std::iter::once(error.message.clone()).chain(hints).collect()
}

/// The API of a cluster that runs.
async fn running(app: &App, cluster: &str) -> Result<Access> {
    let state = app.existing(cluster)?;
    let machines = observe::driver_of(app, &state)?.list(Some(cluster)).await?;
    if !machines.iter().any(|machine| machine.power == Power::Running) {
        return Err(Error::new(Family::NotFound, format!("the cluster \"{cluster}\" does not run"))
            .hint(format!("start it with: kcl start -p {cluster}")));
    }
    access(app, &state)
}

/// Where the console of a cluster has its files.
struct Place {
    /// A directory that only the user can enter, which a reboot empties.
    run: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn of(app: &App, cluster: &str) -> Self {
        let paths = app.store.paths();
        let mut sha = Sha256::new();
        sha.update(paths.home.as_os_str().as_encoded_bytes());
        sha.update([0]);
        sha.update(cluster);
        let hash: String = sha.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Place {
            run: drivers::user_run(paths).join(format!("console-{hash}")),
            lock: paths.locks().join(format!("{cluster}.console")),
        }
    }

    fn socket(&self) -> PathBuf {
        self.run.join("socket")
    }

    fn log(&self) -> PathBuf {
        self.run.join("log")
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Display) -> Error {
        Error::new(Family::Host, format!("the console's {what}: {error}"))
    }

    /// The right to start it. Waits while another kcl does.
    async fn lock(&self) -> Result<File> {
        let failed = |error: io::Error| self.failed(&format!("lock {} cannot be taken", self.lock.display()), &error);
        let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let path = self.lock.clone();
        let locked = tokio::task::spawn_blocking(move || {
            let file = options.open(path)?;
            file.lock().map(|()| file)
        });
        locked.await.map_err(io::Error::other).flatten().map_err(failed)
    }

    /// Asks the console; none where there is none.
    async fn ask(&self, request: &Request) -> Result<Option<Reply>> {
        match Running::find(&self.socket()).await {
            Ok(running) => match running.ask(request).await {
                Ok(reply) => Ok(Some(reply)),
                // It was about to end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Reply::Outdated)),
                Err(error) => Err(self.failed("process does not answer", &error)),
            },
            Err(error) if nobody(&error) => Ok(None),
            Err(error) => Err(self.failed(&format!("socket {} cannot be used", self.socket().display()), &error)),
        }
    }

    /// Starts it, and returns once it listens.
    async fn start(&self, app: &App, cluster: &str, lock: File, port: Option<u16>) -> Result<()> {
        let failed = |error: io::Error| self.failed("process cannot be started", &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.run).map_err(failed)?;
        let log =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(self.log()).map_err(failed)?;
        let mut command = background::command(app, ["-p", cluster, "dashboard", "--serve"]).map_err(failed)?;
        command.args(port.map(|port| format!("--port={port}")));
        let mut child = command.stdin(lock).stdout(Stdio::piped()).stderr(log).spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        // Another thread than the runtime's, which would wait for it when it ends.
        let (said, says) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line).map(|_| line);
            if !matches!(&read, Ok(line) if line.trim() == READY) {
                // It ends by itself, or is of no use.
                let _ = child.kill();
                let _ = child.wait();
            }
            let _ = said.send(read);
        });
        match super::interruptible(async { Ok(says.await) }).await? {
            Ok(Ok(line)) if line.trim() == READY => Ok(()),
            _ => {
                let said = fs::read_to_string(self.log()).unwrap_or_default();
                self.clear();
                let said = said.trim().trim_start_matches("error: ");
                Err(Error::new(Family::Host, format!("the console of \"{cluster}\" does not start: {said}")))
            }
        }
    }

    /// Ends it and waits for its end.
    async fn end(&self) -> Result<()> {
        let failed = |error: io::Error| self.failed("process cannot be ended", &error);
        let running = match Running::find(&self.socket()).await {
            Ok(running) => running,
            Err(error) if nobody(&error) => {
                self.clear();
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        let pid = running.process().map_err(failed)?.unwrap_or(0);
        // Its number was its own when it was asked for; nobody else can have got it before it answers.
        let process = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())).transpose();
        let process = process.map_err(|error| failed(error.into()))?;
        // One that does not answer is killed below.
        let _ = tokio::time::timeout(GRACE, running.ask(&Request::End)).await;
        if let Some(process) = process {
            let ended = tokio::task::spawn_blocking(move || {
                if process::wait(&process, pid, GRACE)? {
                    return Ok(());
                }
                let _ = pidfd_send_signal(&process, Signal::KILL);
                process::wait(&process, pid, GRACE).map(drop)
            });
            ended.await.map_err(|error| failed(io::Error::other(error)))??;
        }
        self.clear();
        Ok(())
    }

    /// Removes its files. What stays is no harm: it is as after a crash.
    fn clear(&self) {
        if let Err(error) = fs::remove_dir_all(&self.run)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("{} stays: {error}", self.run.display());
        }
    }
}

/// Whether an error says that no process listens.
fn nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
