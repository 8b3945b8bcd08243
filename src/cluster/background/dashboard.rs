//! The process that serves the console of a cluster: found by its socket, which only the user can reach. A kcl that
//! starts one holds a lock and passes it on to the new process, which returns it when it listens: so there is never a
//! second one, whichever process is killed at any moment.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use kcl_console::{Reply, Request, Running};
use kcl_driver_local::process;
use kcl_files::Lock;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::cluster::drivers;
use crate::cluster::interrupt::interruptible;
use crate::error::{Error, Id, Result};

/// The time that the console has to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// The line that the console prints when it listens.
pub(crate) const READY: &str = "ready";

/// Ends the console of a cluster, if there is one. A failure is only a warning, as it is no reason to keep a cluster.
pub(crate) async fn end(app: &App, cluster: &str) {
    let place = Place::of(app, cluster);
    if let Err(error) = place.end().await {
        app.progress.warn(error.to_string());
    }
}

/// Removes the lock of a deleted cluster. A process that waits for the lock looks for the cluster next.
pub(crate) fn forget(app: &App, cluster: &str) {
    if let Err(error) = fs::remove_file(Place::of(app, cluster).lock)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!("the console's lock stays: {error}");
    }
}

/// The files of a cluster's console.
pub(crate) struct Place {
    /// A directory that only the user can enter, which a reboot empties.
    run: PathBuf,
    lock: PathBuf,
}

impl Place {
    /// Returns the files of a cluster's console.
    pub(crate) fn of(app: &App, cluster: &str) -> Self {
        let paths = app.store.paths();
        let mut sha = Sha256::new();
        sha.update(paths.home.as_os_str().as_encoded_bytes());
        sha.update([0]);
        sha.update(cluster);
        let hash = base16ct::lower::encode_string(&sha.finalize()[..8]);
        Place {
            run: drivers::user_run(paths).join(format!("console-{hash}")),
            lock: paths.locks().join(format!("{cluster}.console")),
        }
    }

    /// Returns the path of the socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join("socket")
    }

    /// Returns the path of the page that leads to a link.
    pub(crate) fn page(&self) -> PathBuf {
        self.run.join("open.html")
    }

    fn log(&self) -> PathBuf {
        self.run.join("log")
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Display) -> Error {
        Error::new(Id::BackgroundFailed, format!("the console's {what}: {error}"))
    }

    /// Acquires the right to start the console. Waits while another kcl holds it.
    pub(crate) async fn lock(&self) -> Result<Lock> {
        let failed = |error: io::Error| self.failed(&format!("lock {} cannot be taken", self.lock.display()), &error);
        Lock::exclusive(&self.lock, |_| {}).await.map_err(failed)
    }

    /// Sends a request to the console; returns `None` if no console runs.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Option<Reply>> {
        match Running::find(&self.socket()).await {
            Ok(running) => match running.ask(request).await {
                Ok(reply) => Ok(Some(reply)),
                // The console was about to end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Reply::Outdated)),
                Err(error) => Err(self.failed("process does not answer", &error)),
            },
            Err(error) if nobody(&error) => Ok(None),
            Err(error) => Err(self.failed(&format!("socket {} cannot be used", self.socket().display()), &error)),
        }
    }

    /// Starts the console and returns once it listens.
    pub(crate) async fn start(&self, app: &App, cluster: &str, lock: Lock, port: Option<u16>) -> Result<()> {
        let failed = |error: io::Error| self.failed("process cannot be started", &error);
        kcl_files::private_dir(&self.run).map_err(failed)?;
        let log =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(self.log()).map_err(failed)?;
        let mut command = super::command(app, ["-p", cluster, "dashboard", "--serve"]).map_err(failed)?;
        command.args(port.map(|port| format!("--port={port}")));
        let mut child = command.stdin(lock.into_file()).stdout(Stdio::piped()).stderr(log).spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        // Not one of the runtime's blocking threads: the runtime would wait for it on shutdown.
        let (said, says) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line).map(|_| line);
            if !matches!(&read, Ok(line) if line.trim() == READY) {
                // The process ends by itself, or is of no use.
                let _ = child.kill();
                let _ = child.wait();
            }
            let _ = said.send(read);
        });
        match interruptible(async { Ok(says.await) }).await? {
            Ok(Ok(line)) if line.trim() == READY => Ok(()),
            _ => {
                let said = fs::read_to_string(self.log()).unwrap_or_default();
                self.clear();
                let said = said.trim().trim_start_matches("error: ");
                Err(Error::new(Id::BackgroundFailed, format!("the console of \"{cluster}\" does not start: {said}")))
            }
        }
    }

    /// Ends the console and waits until its process is gone.
    pub(crate) async fn end(&self) -> Result<()> {
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
        // The number belongs to the process that was found: no other one can get it before that one answers.
        let process = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())).transpose();
        let process = process.map_err(|error| failed(error.into()))?;
        // A process that does not answer is killed below.
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

    /// Removes the console's files. Files that stay do no harm, just as after a crash.
    pub(crate) fn clear(&self) {
        if let Err(error) = fs::remove_dir_all(&self.run)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("{} stays: {error}", self.run.display());
        }
    }
}

/// Returns true if an error says that no process listens.
fn nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
