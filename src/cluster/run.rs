//! `run`: runs a command with a new cluster of its own, which is deleted when the command ends, however that happens.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use kcl_driver_local::process::with_users_umask;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::archive::archive;
use super::delete::delete;
use super::interrupt::{Ending, Signals};
use super::kubectl::kubectl;
use super::pool;
use super::start::{StartOptions, start};
use crate::app::App;
use crate::config::Overrides;
use crate::error::{Error, Id, Result};
use crate::state::{Lifetime, ProcessId};

/// The options of `run`.
pub struct RunOptions {
    /// The cluster to start. If it names no profile, a spare cluster may serve, and a new one gets a random name.
    pub start: StartOptions,
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// The cluster is kept after a failure, for inspection.
    pub keep: bool,
    /// The archive for logs after a failure; none: `<cluster>-logs.tar.gz` in the working directory.
    pub logs: Option<PathBuf>,
}

/// Starts a new cluster, runs the command and deletes the cluster. Returns the command's exit code; as env(1), 128 plus
/// the number of the signal that ended it, 127 if there is no such command, or 126 if it cannot be run.
///
/// # Errors
/// A cluster of that name already exists, or it cannot be started or deleted.
pub async fn run(app: &App, options: &RunOptions) -> Result<u8> {
    let given = options.start.overrides.profile.clone();
    if let Some(cluster) = given.as_deref()
        && app.store.load(cluster)?.is_some()
    {
        return Err(Error::new(
            Id::ClusterExists,
            format!("there is a cluster \"{cluster}\" already; run makes its own"),
        )
        .hint("name another one with -p, or none")
        .hint(format!("or use that one: KUBECONFIG=... from kcl kubectl -p {cluster} -- config view --raw")));
    }
    // Before the cluster starts, so that no signal ends kcl without cleaning up.
    let mut signals = Signals::listen()?;
    let own = ProcessId::own().map_err(|error| {
        Error::new(Id::Internal, format!("this process cannot be told from others by /proc: {error}"))
    })?;
    let lifetime = Lifetime { process: Some(own), ..options.start.lifetime.clone().unwrap_or_default() };
    let spare = match given {
        Some(_) => None,
        None => pool::take(app, &options.start.overrides, &lifetime).await?,
    };
    let (cluster, taken) = match spare {
        Some(state) => (state.spec.name.clone(), Some(state.spec)),
        None => (given.unwrap_or_else(|| pool::fresh_name("run")), None),
    };
    let own = StartOptions {
        overrides: Overrides { profile: Some(cluster.clone()), ..options.start.overrides.clone() },
        lifetime: Some(lifetime),
        ..options.start.clone()
    };
    if taken.is_none()
        && let Err(trouble) = start(app, &own).await?.whole()
    {
        delete(app, &cluster).await?;
        return Err(trouble);
    }
    let code = command(app, &cluster, &options.command, &mut signals).await;
    if !matches!(code, Ok(0)) {
        let logs = options.logs.clone().unwrap_or_else(|| format!("{cluster}-logs.tar.gz").into());
        match archive(app, &cluster, &logs).await {
            Ok(()) => app.progress.info(format!("The logs of all nodes are in {}", logs.display())),
            Err(error) => app.progress.warn(format!("logs cannot be kept: {error}")),
        }
        if options.keep {
            start(app, &StartOptions { lifetime: Some(Lifetime::default()), ..own }).await?;
            app.progress.info(format!("\"{cluster}\" is kept for a look; then: kcl delete -p {cluster}"));
            return code;
        }
    }
    delete(app, &cluster).await?;
    if let Some(spec) = taken {
        // The command is done, and its result stands.
        pool::refill(app, &spec).unwrap_or_else(|error| app.progress.warn(error.to_string()));
    }
    code
}

/// Runs the command until it ends and returns its exit code.
async fn command(app: &App, cluster: &str, command: &[OsString], signals: &mut Signals) -> Result<u8> {
    let tools = kubectl(app, cluster)?;
    let paths = app.store.paths();
    let (program, arguments) =
        command.split_first().ok_or_else(|| Error::new(Id::FlagInvalid, "no command is given"))?;
    let mut child = Command::new(program);
    child.args(arguments).envs(tools.environment.iter().cloned()).env("KCL_PROFILE", cluster);
    with_users_umask(child.as_std_mut());
    child.env("KCL_HOME", &paths.home).env("KCL_CACHE", &paths.cache);
    // Last in the search path, so that the user's own kubectl comes first.
    let own = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&own).chain(tools.program.parent().map(PathBuf::from));
    if let Ok(path) = std::env::join_paths(directories) {
        child.env("PATH", path);
    }
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            app.progress.warn(format!("{} cannot be run: {error}", program.display()));
            return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let mut asked = false;
    loop {
        tokio::select! {
            status = child.wait() => return status.map(code).map_err(|error| {
                Error::new(Id::Internal, format!("{} cannot be waited for: {error}", program.display()))
            }),
            signal = signals.next() => pass_on(&mut child, signal, std::mem::replace(&mut asked, true)),
        }
    }
}

/// Passes a signal on to the command, which may end in its own time. On a second signal the command is killed.
fn pass_on(child: &mut Child, signal: Ending, again: bool) {
    let signal = match signal {
        _ if again => Signal::SIGKILL,
        // A terminal sends SIGINT to both processes.
        Ending::Interrupt if io::stdin().is_terminal() => return,
        Ending::Interrupt => Signal::SIGINT,
        Ending::Terminate => Signal::SIGTERM,
        Ending::HangUp => Signal::SIGHUP,
    };
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // The process has not been waited for yet, so no other one can have its number.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Returns the exit code in the convention of shells.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
