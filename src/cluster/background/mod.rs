//! kcl in the background: a process of the same program that outlives the one that starts it.
//!
//! Processes that belong to a cluster are found by a file: the process holds a lock on it, which the kernel releases
//! when the process ends, and writes a note into it. The kcl that starts a process takes the lock and passes it on, so
//! there is never a second one, whichever process is killed at any moment.

pub(super) mod dashboard;
pub(super) mod guard;
pub(super) mod loopback;
pub(super) mod renewal;

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kcl_driver_local::{lock, process};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::process::{Signal, pidfd_send_signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::cluster::drivers;
use crate::state::{Found, ProcessId};

/// The time that a killed process has to end.
const GRACE: Duration = Duration::from_secs(5);
/// The interval between two looks for the note of a process that was just started.
const INTERVAL: Duration = Duration::from_millis(5);

/// The note that a kcl in the background writes into its file.
#[derive(Serialize, Deserialize)]
pub(super) struct Note<T> {
    /// The process that wrote it.
    pub process: ProcessId,
    /// The task of the process.
    pub what: T,
}

/// Returns a command that runs kcl with these words; it finds the same home, cache and kubeconfig from any directory.
pub(super) fn command<'a>(app: &App, words: impl IntoIterator<Item = &'a str>) -> io::Result<Command> {
    let paths = app.store.paths();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).env("KCL_HOME", &paths.home).env("KCL_CACHE", &paths.cache).stdout(Stdio::null());
    // It takes it out of its environment at once, as this process did.
    command.envs(drivers::sudo_password().map(|password| (drivers::SUDO_PASSWORD, password)));
    if let Some(files) = std::env::var_os("KUBECONFIG") {
        let files = std::env::split_paths(&files).filter_map(|file| std::path::absolute(file).ok());
        command.env("KUBECONFIG", std::env::join_paths(files).map_err(io::Error::other)?);
    }
    Ok(command)
}

/// Detaches this process from its terminal and directory, so that Ctrl-C or a closed terminal does not end it.
pub(super) fn detach() {
    // An error means that this process already leads a process group.
    let _ = nix::unistd::setsid();
    let _ = std::env::set_current_dir("/");
}

/// Starts a kcl in the background with these words, unless another kcl is just doing so. Its standard error goes to
/// [`log`].
///
/// # Errors
/// The process cannot be started.
pub(super) fn start<'a>(app: &App, file: &Path, words: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let lock = options.open(file)?;
    kcl_files::hand_over(file)?;
    // An open file description lock (fcntl_locking(2)) belongs to the open file, as flock(2)'s does, but can be
    // queried.
    match fcntl(&lock, FcntlArg::F_OFD_SETLK(&lock::whole_file())) {
        Err(Errno::EAGAIN | Errno::EACCES) => return Ok(()),
        locked => locked?,
    };
    lock.set_len(0)?;
    let path = log(file);
    let log = options.clone().truncate(true).open(&path)?;
    kcl_files::hand_over(&path)?;
    command(app, words)?.stdin(lock).stderr(log).spawn().map(drop)
}

/// Returns the path of the log of a process in the background.
fn log(file: &Path) -> PathBuf {
    file.with_extension("log")
}

/// Returns the error message of a process that has ended or does not write its note.
pub(super) fn complaint(file: &Path) -> String {
    let said = fs::read_to_string(log(file)).unwrap_or_default();
    said.trim().trim_start_matches("error: ").to_owned()
}

/// Writes the note of this process into the locked file that is its standard input.
///
/// # Errors
/// The note cannot be written.
pub(super) fn say<T: Serialize>(what: T) -> io::Result<()> {
    let note = Note { process: ProcessId::own()?, what };
    File::from(io::stdin().as_fd().try_clone_to_owned()?).write_all(&serde_json::to_vec(&note)?)
}

/// Returns the note of the process that holds this file, if there is one. A new process has the time `patience` to
/// write its note.
pub(super) async fn note<T: DeserializeOwned>(file: &Path, patience: Duration) -> Option<Note<T>> {
    let mut file = File::options().read(true).write(true).open(file).ok()?;
    let begun = std::time::Instant::now();
    loop {
        // Queried, not acquired: a look must not keep another kcl from starting a process.
        let mut lock = lock::whole_file();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
        if lock::is_free(&lock) {
            return None;
        }
        let mut text = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
        match serde_json::from_str(&text) {
            Ok(note) => return Some(note),
            Err(_) if begun.elapsed() < patience => tokio::time::sleep(INTERVAL).await,
            Err(_) => return None,
        }
    }
}

/// Kills a process in the background and waits for its end. Returns false if it does not end. If it is this process,
/// nothing happens.
pub(super) async fn end<T>(note: Note<T>) -> bool {
    let process = note.process;
    if process.pid == std::process::id() {
        return true;
    }
    let descriptor = match process.find() {
        Found::Running(descriptor) => descriptor,
        Found::Ended => return true,
        // It is in another container.
        Found::Unknown(_) => return false,
    };
    let ended = tokio::task::spawn_blocking(move || {
        let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        process::wait(&descriptor, process.pid as i32, GRACE)
    });
    matches!(ended.await, Ok(Ok(true)))
}
