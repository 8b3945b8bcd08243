//! Clusters that end by themselves: a kcl in the background, one for such a cluster, waits for the time or the process
//! that ends it, and deletes it. It costs nothing while it waits.
//!
//! One that is gone, as after a reboot, is made up for by the next `start`, which deletes what is over.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::background::{self, Note};
use super::{App, delete};
use crate::error::{Error, Family, Result};
use crate::state::{ClusterState, Lifetime, ProcessId};

/// How long a guard may take to say who it is.
const GRACE: Duration = Duration::from_secs(5);

/// Sees to it that a cluster has the guard that its lifetime wants. The caller has the cluster's lock.
///
/// # Errors
/// It cannot be started.
pub async fn follow(app: &App, state: &ClusterState) -> Result<()> {
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
    background::start(app, &file(app, cluster), ["-p", cluster, "guard"]).map_err(|error| {
        Error::new(Family::Host, format!("what is to delete \"{cluster}\" by itself cannot be started: {error}"))
    })
}

/// Ends the guard of a cluster, if there is one: it only waits, for the lock that the caller has at most.
pub async fn end(app: &App, cluster: &str) {
    let Some(note) = note(app, cluster).await else { return };
    let pid = note.process.pid;
    if !background::end(note).await {
        app.progress.warn(format!("process {pid}, which waits for the end of \"{cluster}\", stays"));
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
    background::say(&state.lifetime).map_err(failed)?;
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
async fn note(app: &App, cluster: &str) -> Option<Note<Lifetime>> {
    background::note(&file(app, cluster), GRACE).await
}

/// Where a guard says who it is.
fn file(app: &App, cluster: &str) -> PathBuf {
    app.store.paths().cluster(cluster).join("guard")
}
