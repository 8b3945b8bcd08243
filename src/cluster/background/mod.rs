//! kcl in the background: a process of the same program that outlives the one that starts it.
//!
//! Those that belong to a cluster are found by a file: the process holds a lock on it, which the kernel takes away with
//! the process, and writes there who it is. Who starts one takes the lock and passes it on, so there is never a second
//! one, whoever is killed when.

pub mod dashboard;
pub mod guard;
pub mod loopback;

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
use crate::state::ProcessId;

/// How long one that was ended may take to go.
const GRACE: Duration = Duration::from_secs(5);
/// How often is looked whether one that was just started has said who it is.
const INTERVAL: Duration = Duration::from_millis(5);

/// What the file of a kcl in the background says.
#[derive(Serialize, Deserialize)]
pub struct Note<T> {
    /// The process.
    pub process: ProcessId,
    /// What it does.
    pub what: T,
}

/// kcl with these words, to be started; it finds the same home, cache and kubeconfig from any directory.
pub fn command<'a>(app: &App, words: impl IntoIterator<Item = &'a str>) -> io::Result<Command> {
    let paths = app.store.paths();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).env("KCL_HOME", &paths.home).env("KCL_CACHE", &paths.cache).stdout(Stdio::null());
    if let Some(files) = std::env::var_os("KUBECONFIG") {
        let files = std::env::split_paths(&files).filter_map(|file| std::path::absolute(file).ok());
        command.env("KUBECONFIG", std::env::join_paths(files).map_err(io::Error::other)?);
    }
    Ok(command)
}

/// Makes this process one of no terminal and of no directory: Ctrl-C there, or its end, is not meant.
pub fn detach() {
    // An error says that it is so already.
    let _ = nix::unistd::setsid();
    let _ = std::env::set_current_dir("/");
}

/// Starts one with these words, unless another kcl is just doing so. What it says on its standard error is in [`log`].
///
/// # Errors
/// It cannot be started.
pub fn start<'a>(app: &App, file: &Path, words: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let lock = options.open(file)?;
    // It belongs to the open file, as flock(2)'s does, but can be asked for ("open file description locks").
    match fcntl(&lock, FcntlArg::F_OFD_SETLK(&lock::whole_file())) {
        Err(Errno::EAGAIN | Errno::EACCES) => return Ok(()),
        locked => locked?,
    };
    lock.set_len(0)?;
    let log = options.clone().truncate(true).open(log(file))?;
    command(app, words)?.stdin(lock).stderr(log).spawn().map(drop)
}

/// Where one writes what goes wrong.
fn log(file: &Path) -> PathBuf {
    file.with_extension("log")
}

/// What one said that has ended, or does not say who it is.
pub fn complaint(file: &Path) -> String {
    let said = fs::read_to_string(log(file)).unwrap_or_default();
    said.trim().trim_start_matches("error: ").to_owned()
}

/// Says who this process is and what it does, under the lock that is its standard input.
///
/// # Errors
/// It cannot be written.
pub fn say<T: Serialize>(what: T) -> io::Result<()> {
    let note = Note { process: ProcessId::own()?, what };
    File::from(io::stdin().as_fd().try_clone_to_owned()?).write_all(&serde_json::to_vec(&note)?)
}

/// The one of this file, if there is one. One that was just started may take as long as `patience` to say who it is.
pub async fn note<T: DeserializeOwned>(file: &Path, patience: Duration) -> Option<Note<T>> {
    let mut file = File::options().read(true).write(true).open(file).ok()?;
    let begun = std::time::Instant::now();
    loop {
        // Asked, not tried: who looks does not stand in the way of who starts one.
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

/// Ends one, and waits for its end. False where it stays. This process, if it is that, goes on.
pub async fn end<T>(note: Note<T>) -> bool {
    let process = note.process;
    if process.pid == std::process::id() {
        return true;
    }
    // It has ended already.
    let Ok(descriptor) = process.open() else { return true };
    let ended = tokio::task::spawn_blocking(move || {
        let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        process::wait(&descriptor, process.pid as i32, GRACE)
    });
    matches!(ended.await, Ok(Ok(true)))
}
