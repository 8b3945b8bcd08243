//! Clusters that end by themselves: a kcl in the background, one for such a cluster, waits for the time or the process
//! that ends it, and deletes it. It costs nothing while it waits.
//!
//! It holds a lock on a file of the cluster's, which says who it is. Who starts it takes the lock and passes it on, so
//! there is never a second one, whoever is killed when. One that is gone, as after a reboot, is made up for by the next
//! `start`, which deletes what is over.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use kcl_driver_local::process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{App, background, delete};
use crate::error::{Error, Family, Result};
use crate::state::{ClusterState, Lifetime, ProcessId};

/// How long a guard may take to say who it is, and to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often is looked whether one that was just started has said so. It takes milliseconds.
const INTERVAL: Duration = Duration::from_millis(5);

/// What the file of a guard says.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The guard.
    process: ProcessId,
    /// What it waits for.
    lifetime: Lifetime,
}

/// Sees to it that a cluster has the guard that its lifetime wants. The caller has the cluster's lock.
///
/// # Errors
/// It cannot be started.
pub async fn follow(app: &App, state: &ClusterState) -> Result<()> {
    let cluster = &state.spec.name;
    if let Some(note) = note(app, cluster).await {
        if note.lifetime == state.lifetime {
            return Ok(());
        }
        end(app, cluster).await;
    }
    if state.lifetime.is_unlimited() {
        return Ok(());
    }
    let failed = |error: io::Error| {
        Error::new(Family::Host, format!("what is to delete \"{cluster}\" by itself cannot be started: {error}"))
    };
    let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let lock = options.open(file(app, cluster)).map_err(failed)?;
    lock.try_lock().map_err(|error| failed(error.into()))?;
    lock.set_len(0).map_err(failed)?;
    let log = options.clone().truncate(true).open(file(app, cluster).with_extension("log")).map_err(failed)?;
    let mut command = background::command(app, ["-p", cluster, "guard"]).map_err(failed)?;
    command.stdin(lock).stderr(log).spawn().map(drop).map_err(failed)
}

/// Ends the guard of a cluster, if there is one. The caller has the cluster's lock.
pub async fn end(app: &App, cluster: &str) {
    let Some(note) = note(app, cluster).await.filter(|note| note.process.pid != std::process::id()) else { return };
    let Ok(descriptor) = note.process.open() else { return };
    let ended = tokio::task::spawn_blocking(move || {
        // It only waits: for the lock that the caller has, at most.
        let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        process::wait(&descriptor, note.process.pid as i32, GRACE)
    });
    if !matches!(ended.await, Ok(Ok(true))) {
        app.progress.warn(format!("process {}, which waits for the end of \"{cluster}\", stays", note.process.pid));
    }
}

/// Is the guard of a cluster. Standard input is the lock under which it was started.
///
/// # Errors
/// The cluster cannot be deleted.
pub async fn guard(app: &App, cluster: &str) -> Result<()> {
    let failed =
        |error: io::Error| Error::new(Family::Internal, format!("the guard of \"{cluster}\" cannot wait: {error}"));
    background::detach();
    let Some(state) = app.store.load(cluster)? else { return Ok(()) };
    let note = Note { process: ProcessId::own().map_err(failed)?, lifetime: state.lifetime.clone() };
    let mut lock = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    lock.write_all(&serde_json::to_vec(&note).map_err(|error| failed(error.into()))?).map_err(failed)?;
    wait(&state.lifetime).map_err(failed)?;
    delete_over(app, cluster).await
}

/// Deletes the clusters that are over and that nobody deletes: their guards are gone. What goes wrong is told.
pub async fn sweep(app: &App) {
    let clusters = app.store.list().unwrap_or_default();
    for (name, _) in clusters.into_iter().filter(|(_, state)| state.as_ref().is_ok_and(is_over)) {
        if let Err(error) = delete_over(app, &name).await {
            app.progress.warn(format!("\"{name}\" is over and cannot be deleted: {error}"));
        }
    }
}

async fn delete_over(app: &App, cluster: &str) -> Result<()> {
    // Who was waited for may have prolonged it, or made it anew.
    delete::delete_where(app, cluster, is_over).await.map(drop)
}

fn is_over(state: &ClusterState) -> bool {
    state.lifetime.is_over()
}

/// Waits until a lifetime is over.
fn wait(lifetime: &Lifetime) -> io::Result<()> {
    // Of the wall clock: it goes on while the host sleeps.
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC)?;
    if let Some(until) = lifetime.until {
        let time = TimeSpec::new(until.as_second().max(1), i64::from(until.subsec_nanosecond()));
        timer.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    }
    let process = match lifetime.process.map(ProcessId::open).transpose() {
        Ok(process) => process,
        // It has ended already.
        Err(_) => return Ok(()),
    };
    let wanted = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
    let mut descriptors: Vec<PollFd<'_>> =
        [Some(timer.as_fd()), process.as_ref().map(AsFd::as_fd)].into_iter().flatten().map(wanted).collect();
    while let Err(error) = poll(&mut descriptors, PollTimeout::NONE) {
        if error != nix::errno::Errno::EINTR {
            return Err(error.into());
        }
    }
    Ok(())
}

/// The guard of a cluster, if there is one.
async fn note(app: &App, cluster: &str) -> Option<Note> {
    let mut file = File::options().read(true).write(true).open(file(app, cluster)).ok()?;
    let begun = std::time::Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            // Nobody holds it.
            _ => return None,
        }
        let mut text = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
        match serde_json::from_str(&text) {
            Ok(note) => return Some(note),
            // Started by a kcl that was killed at once, it has not said yet who it is.
            Err(_) if begun.elapsed() < GRACE => tokio::time::sleep(INTERVAL).await,
            Err(_) => return None,
        }
    }
}

/// Where a guard says who it is.
fn file(app: &App, cluster: &str) -> PathBuf {
    app.store.paths().cluster(cluster).join("guard")
}
