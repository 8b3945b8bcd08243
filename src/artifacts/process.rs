//! Child processes that die with kcl, and with the future that waits for them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use kcl_driver_local::process::tie;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::cache::trouble;
use crate::error::{Error, Id, Result};

/// A child and its descendants: one process group, which is killed if this is dropped before the child has ended.
#[derive(Debug)]
pub struct Running {
    /// The child process itself.
    pub child: Child,
    program: String,
    group: Option<Pid>,
}

impl Running {
    /// Starts a command in a process group of its own. With `private_mounts` it also gets its own mount namespace, so
    /// that its mounts end with it; that needs root.
    pub fn spawn(mut command: Command, private_mounts: bool) -> Result<Running> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        command.process_group(0).kill_on_drop(true);
        tie(command.as_std_mut());
        let apart = || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
            Ok(())
        };
        if private_mounts {
            // SAFETY: only calls that are safe between fork and exec: system calls with constant arguments.
            #[allow(unsafe_code)]
            unsafe {
                command.pre_exec(apart)
            };
        }
        let child = command
            .spawn()
            .map_err(|error| Error::new(Id::HostFailed, format!("cannot start {program}: {error}")).source(error))?;
        let group = child.id().map(|id| Pid::from_raw(i32::try_from(id).expect("a process id")));
        Ok(Running { child, program, group })
    }

    /// Waits until the child ends.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await.map_err(|error| {
            Error::new(Id::Internal, format!("cannot wait for {}: {error}", self.program)).source(error)
        })?;
        self.group = None;
        Ok(status)
    }

    /// Sends SIGTERM to the child and waits until it ends.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        if let Some(group) = self.group {
            // It may have ended just now.
            let _ = nix::sys::signal::kill(group, Signal::SIGTERM);
        }
        self.wait().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs a command and writes the lines of its output for which `line` returns true to a log file. The error of a failed
/// command contains the last lines and the name of the log.
pub async fn run_logged(mut command: Command, log: &Path, mut line: impl FnMut(&str) -> bool) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut file = File::options().append(true).create(true).open(log).map_err(|error| trouble("open", log, error))?;
    let shown = format!("{:?}", command.as_std());
    let mut write = |text: &str| writeln!(file, "{text}").map_err(|error| trouble("write", log, error));
    write(&format!("$ {shown}"))?;
    let mut running = Running::spawn(command, false)?;
    let mut out = lines(running.child.stdout.take());
    let mut err = lines(running.child.stderr.take());
    let mut tail = std::collections::VecDeque::new();
    let (mut out_ended, mut err_ended) = (false, false);
    while !(out_ended && err_ended) {
        let read = tokio::select! {
            read = out.next_line(), if !out_ended => { out_ended = !matches!(read, Ok(Some(_))); read }
            read = err.next_line(), if !err_ended => { err_ended = !matches!(read, Ok(Some(_))); read }
        };
        if let Ok(Some(text)) = read
            && line(&text)
        {
            write(&text)?;
            tail.push_back(text);
            if tail.len() > 12 {
                tail.pop_front();
            }
        }
    }
    let status = running.wait().await?;
    if status.success() {
        return Ok(());
    }
    let tail: Vec<_> = tail.iter().map(|text| format!("  {text}")).collect();
    let message = format!("{} failed ({status}); its last output:\n{}", running.program, tail.join("\n"));
    Err(Error::new(Id::ArtifactBuild, message).hint(format!("its output is in {}", log.display())))
}

type Lines = tokio::io::Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>;

fn lines(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> Lines {
    let pipe: Box<dyn AsyncRead + Send + Unpin> = match pipe {
        Some(pipe) => Box::new(pipe),
        None => Box::new(tokio::io::empty()),
    };
    BufReader::new(pipe).lines()
}

/// Runs a short command and returns its output.
pub async fn output(mut command: Command) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .await
        .map_err(|error| Error::new(Id::HostFailed, format!("cannot start {program}: {error}")).source(error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let shown = format!("{:?}", command.as_std());
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(Id::ArtifactBuild, format!("{program} failed ({}): {words}", output.status))
        .hint(format!("the command was {shown}")))
}

/// Finds a program in `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_tells_the_last_words_and_the_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo cause >&2; exit 3"]);
        let mut seen = Vec::new();
        let error = run_logged(command, &log, |line| {
            seen.push(line.to_owned());
            true
        })
        .await
        .expect_err("it fails");
        seen.sort_unstable();
        assert_eq!(seen, ["cause", "out"]);
        assert!(error.message.contains("exit status: 3") && error.message.contains("  cause"), "{error}");
        assert!(error.hints[0].contains("log"));
        assert!(std::fs::read_to_string(&log).expect("the log").contains("cause"));
    }

    #[tokio::test]
    async fn dropped_it_takes_its_children_along() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; wait"]).stdout(Stdio::piped());
        let mut running = Running::spawn(command, false).expect("spawn");
        let mut out = lines(running.child.stdout.take());
        out.next_line().await.expect("read").expect("the child runs");
        drop(running);
        // Both processes hold the pipe, so its end is the end of both.
        assert_eq!(out.next_line().await.expect("read"), None);
    }
}
