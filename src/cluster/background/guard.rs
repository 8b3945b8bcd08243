//! Clusters with a limited lifetime: a kcl in the background, one for each such cluster, waits until the lifetime is
//! over and deletes the cluster. It costs nothing while it waits.
//!
//! If a guard is gone, as after a reboot, the next `start` deletes the clusters whose lifetime is over.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use rustix::fs::inotify;

use super::Note;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::state::{ClusterState, Found, Lifetime, ProcessId};

/// The time that a guard has to write its note.
const GRACE: Duration = Duration::from_secs(5);

/// Ensures that a cluster has the guard that its lifetime requires. The caller holds the cluster's lock.
///
/// # Errors
/// The guard cannot be started.
pub(crate) async fn follow(app: &App, state: &ClusterState) -> Result<()> {
    let cluster = &state.spec.name;
    if let Some(note) = note(app, cluster).await {
        if note.what == state.lifetime {
            return Ok(());
        }
        end(app, cluster).await;
    }
    if state.lifetime.is_unlimited() {
        return Ok(());
    }
    super::start(app, &file(app, cluster), ["-p", cluster, "guard"]).map_err(|error| {
        Error::new(
            Id::BackgroundFailed,
            format!("what is to delete \"{cluster}\" by itself cannot be started: {error}"),
        )
    })
}

/// Ends the guard of a cluster, if there is one. That is safe: at most, the guard waits for the lock that the caller
/// holds.
pub(crate) async fn end(app: &App, cluster: &str) {
    let Some(note) = note(app, cluster).await else { return };
    let pid = note.process.pid;
    // One in another container ends by itself once the cluster is gone.
    let is_here = !matches!(note.process.find(), Found::Unknown(_));
    if !super::end(note).await && is_here {
        app.progress.warn(format!("process {pid}, which waits for the end of \"{cluster}\", stays"));
    }
}

/// Runs as a cluster's guard: writes its note, and returns once the lifetime is over, or false once another kcl has deleted
/// the cluster. Standard input is the lock under which this process was started.
///
/// # Errors
/// The process cannot write its note, or cannot wait.
pub(crate) fn stand(lifetime: &Lifetime, app: &App, cluster: &str) -> io::Result<bool> {
    super::say(lifetime)?;
    wait(lifetime, &file(app, cluster))
}

/// Waits until a lifetime is over and returns true, or false once the guard's file is gone: a kcl in another PID namespace
/// cannot end this process when it deletes the cluster.
fn wait(lifetime: &Lifetime, file: &Path) -> io::Result<bool> {
    // This clock goes on while the host sleeps, and nobody sets it.
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC)?;
    if let Some(left) = lifetime.left() {
        // A timer of zero would never expire.
        let left = left.max(Duration::from_millis(1));
        timer.set(Expiration::OneShot(TimeSpec::from_duration(left)), TimerSetTimeFlags::empty())?;
    }
    let process = match lifetime.process.as_ref().map(ProcessId::find) {
        Some(Found::Running(process)) => Some(process),
        Some(Found::Ended) => return Ok(true),
        Some(Found::Unknown(why)) => {
            return Err(io::Error::other(format!("the process it lives with cannot be seen: {why}")));
        }
        None => None,
    };
    // The removal of a file that is open changes its number of names, an attribute (inotify(7)).
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    match inotify::add_watch(&changes, file, inotify::WatchFlags::ATTRIB | inotify::WatchFlags::DELETE_SELF) {
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        watched => watched?,
    };
    let wanted = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
    let mut descriptors: Vec<PollFd<'_>> =
        [Some(changes.as_fd()), Some(timer.as_fd()), process.as_ref().map(AsFd::as_fd)]
            .into_iter()
            .flatten()
            .map(wanted)
            .collect();
    while file.exists() {
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) if descriptors.iter().skip(1).any(|one| one.any() == Some(true)) => return Ok(true),
            Ok(_) => drop(rustix::io::read(&changes, &mut [0; 4096])?),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Returns true if a cluster has a guard.
pub(crate) async fn is_there(app: &App, cluster: &str) -> bool {
    note(app, cluster).await.is_some()
}

/// Returns the note of a cluster's guard, if there is one.
async fn note(app: &App, cluster: &str) -> Option<Note<Lifetime>> {
    super::note(&file(app, cluster), GRACE).await
}

/// Returns the path of a guard's note.
fn file(app: &App, cluster: &str) -> PathBuf {
    app.store.paths().cluster(cluster).join("guard")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kcl in another container deletes the cluster: it cannot end the guard, which it does not see.
    #[test]
    fn a_guard_ends_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        let held = std::fs::File::create(&path).unwrap();
        let own = Lifetime { process: Some(ProcessId::own().unwrap()), ..Lifetime::default() };
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || wait(&own, &path)
        });
        std::fs::remove_file(&path).unwrap();
        assert!(!waiting.join().unwrap().unwrap());
        drop(held);
    }

    #[test]
    fn a_guard_ends_at_its_time_and_with_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        std::fs::write(&path, "").unwrap();
        assert!(wait(&Lifetime::of(Duration::from_millis(5)).unwrap(), &path).unwrap());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = ProcessId::of(child.id());
        if let Ok(process) = process {
            assert!(wait(&Lifetime { process: Some(process), ..Lifetime::default() }, &path).unwrap());
        }
        child.wait().unwrap();
    }
}
