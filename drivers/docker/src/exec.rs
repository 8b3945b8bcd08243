//! Runs a command in a machine.

use std::fmt::Display;
use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{EventMessageTypeEnum, ExecConfig};
use bollard::query_parameters::{EventsOptionsBuilder, ResizeExecOptionsBuilder};
use futures::{Stream, TryStreamExt};
use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, Result, Stdin};
use kcl_driver_local::streams::{Input, Output, Streams};
use kcl_driver_local::terminal::{Terminal, WindowSize};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::engine::{Engine, EngineContext as _, status};
use crate::names::MachineNames;
use crate::power;

/// The exit codes that a shell gives for a program that does not exist, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUNNABLE: i32 = 126;

/// The bytes of a command's input that are sent at a time.
const PIECE: usize = 32 << 10;

/// The stream of what a command writes.
type Written = Pin<Box<dyn Stream<Item = std::result::Result<LogOutput, bollard::errors::Error>> + Send>>;

/// Runs a command and waits for its end.
pub(crate) async fn exec(engine: &Engine, names: &MachineNames, request: Exec) -> Result<ExecOutput> {
    let Some(program) = request.argv.first().cloned() else {
        return Err(Error::new(ErrorKind::State, "there is no command to run"));
    };
    let what = || format!("run {program} in machine {}", names.name);
    let config = ExecConfig {
        attach_stdin: Some(!matches!(request.stdin, Stdin::Null)),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(request.tty),
        env: Some(request.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: Some(request.argv.clone()),
        working_dir: Some("/".to_owned()),
        ..ExecConfig::default()
    };
    let made = match engine.docker.create_exec(&names.container(), config).await {
        Err(error) if status(&error) == Some(404) => return Err(power::broken(names)),
        // Docker answers 409, Podman 500.
        Err(_) if !power::running(engine, names).await? => return Err(not_running(names)),
        result => result.with_context(what)?,
    };
    let started = StartExecOptions { tty: request.tty, ..StartExecOptions::default() };
    let (output, input) = match engine.docker.start_exec(&made.id, Some(started)).await {
        Ok(StartExecResults::Attached { output, input }) => (output, input),
        Ok(StartExecResults::Detached) => {
            return Err(Error::engine(format!("could not {}: it was not attached", what())));
        }
        Err(error) if status(&error) == Some(409) && !power::running(engine, names).await? => {
            return Err(not_running(names));
        }
        // Newer engines refuse what older ones start and let fail.
        Err(error) => return not_started(error).map_or_else(|error| Err(error).with_context(what), Ok),
    };
    let Streams { input: own, output: mut to, terminal } =
        Streams::open(request.stdin, &request.stdout, request.tty, PIECE)?;
    let size = request.tty.then(WindowSize::current).flatten();
    tokio::select! {
        passed = pass_on(output, &mut to, what) => passed?,
        () = feed(input, own) => {}
        () = follow_size(engine, &made.id, size, terminal) => {}
    }
    let mut collected = to.end(code(engine, &made.id).await?);
    if matches!(collected.code, NOT_FOUND | NOT_RUNNABLE) {
        collected.code = not_runnable(&collected);
    }
    Ok(collected)
}

fn not_running(names: &MachineNames) -> Error {
    Error::new(ErrorKind::State, format!("machine {} is not running", names.name))
}

/// Converts an engine's refusal of a program that does not exist, or cannot be run, to a shell's result.
fn not_started(error: bollard::errors::Error) -> std::result::Result<ExecOutput, bollard::errors::Error> {
    let bollard::errors::Error::DockerResponseServerError { message, .. } = &error else { return Err(error) };
    let code = match message {
        message if is_missing(message) => NOT_FOUND,
        message if message.contains("permission denied") || message.contains("exec format error") => NOT_RUNNABLE,
        _ => return Err(error),
    };
    Ok(ExecOutput { code, stdout: Vec::new(), stderr: format!("{message}\n").into_bytes() })
}

fn is_missing(said: &str) -> bool {
    said.contains("executable file not found") || said.contains("no such file or directory")
}

/// Returns the exit code of a command that could not be run: engines give 126 for a missing program, too.
fn not_runnable(output: &ExecOutput) -> i32 {
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let by_runtime = said.contains("OCI runtime exec failed");
    if output.code == NOT_RUNNABLE && by_runtime && is_missing(&said) { NOT_FOUND } else { output.code }
}

/// Sends the command its input, then the end of it. Never returns, as the command may still write.
async fn feed(mut to: Pin<Box<dyn AsyncWrite + Send>>, mut input: Input) {
    // A command may end before it has read all.
    while let Some(piece) = input.next().await {
        if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
            return std::future::pending().await;
        }
    }
    let _ = to.shutdown().await;
    std::future::pending().await
}

/// Tells the engine the size of the terminal, at first and when it changes. Never returns.
async fn follow_size(engine: &Engine, exec: &str, mut size: Option<WindowSize>, mut terminal: Terminal) {
    loop {
        if let Some(WindowSize { columns, rows }) = size {
            let options = ResizeExecOptionsBuilder::default().w(columns.into()).h(rows.into()).build();
            // A command that has ended needs no size.
            let _ = engine.docker.resize_exec(exec, options).await;
        }
        size = Some(terminal.resized().await);
    }
}

async fn pass_on<D: Display>(mut from: Written, to: &mut Output, what: impl Fn() -> D) -> Result<()> {
    while let Some(piece) = from.try_next().await.with_context(&what)? {
        match piece {
            LogOutput::StdErr { message } => to.stderr(&message).await?,
            piece => to.stdout(&piece.into_bytes()).await?,
        }
    }
    Ok(())
}

/// Returns the exit code of a command whose streams have ended. The engine may need a moment to notice its end.
async fn code(engine: &Engine, id: &str) -> Result<i32> {
    let what = || "ask how a command ended";
    let mut events = None;
    loop {
        let found = engine.docker.inspect_exec(id).await.with_context(what)?;
        if let (Some(false), Some(code)) = (found.running, found.exit_code) {
            return Ok(code as i32);
        }
        let Some(watched) = &mut events else {
            // Watch from the earliest event that the engine remembers, so that the end is not missed; then inspect once
            // more.
            let filters = [
                ("type".to_owned(), vec![EventMessageTypeEnum::CONTAINER.to_string()]),
                ("container".to_owned(), found.container_id.into_iter().collect()),
                ("event".to_owned(), vec!["exec_die".to_owned(), "die".to_owned()]),
            ];
            let options = EventsOptionsBuilder::default().since("0").filters(&filters.into()).build();
            events = Some(Box::pin(engine.docker.events(Some(options))));
            continue;
        };
        if watched.try_next().await.with_context(what)?.is_none() {
            return Err(Error::engine(format!("could not {}: the engine ended", what())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_differs_from_one_that_failed() {
        let output = |stdout: &str| ExecOutput { code: 126, stdout: stdout.into(), stderr: Vec::new() };
        let runtime = "OCI runtime exec failed: exec failed: unable to start container process: ";
        assert_eq!(
            not_runnable(&output(&format!("{runtime}exec: \"x\": executable file not found in $PATH\r\n"))),
            127
        );
        assert_eq!(not_runnable(&output(&format!("{runtime}exec: \"/etc/passwd\": permission denied\r\n"))), 126);
        assert_eq!(not_runnable(&output("no such file or directory")), 126, "the command's own words and code");
    }
}
