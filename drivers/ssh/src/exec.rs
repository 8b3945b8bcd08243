//! Runs a command in a machine of a host, with its streams.

use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, Result};
use kcl_driver_local::streams::{Output, Streams};
use kcl_driver_local::terminal::WindowSize;
use kcl_ssh_host::protocol::{Failure, Name, Request};
use russh::ChannelMsg;

use crate::host::{Host, Pty, With, lost};

/// The bytes of a command's input that are sent at a time.
const PIECE: usize = 32 << 10;

/// The exit code that a shell gives for a program that cannot be run.
const NOT_RUNNABLE: i32 = 126;

/// Runs a command and waits for its end.
pub(crate) async fn exec(host: &Host, with: &With, name: &Name, request: Exec) -> Result<ExecOutput> {
    if request.argv.is_empty() {
        return Err(Error::new(ErrorKind::State, "there is no command to run"));
    }
    // A mark that no command writes by chance.
    let random = getrandom::u64().map_err(|error| Error::engine(format!("could not get random bytes: {error}")))?;
    let mark = format!("kcl-{random:x}:");
    let wanted = Request::Exec {
        name: name.clone(),
        argv: request.argv.clone(),
        env: request.env.clone(),
        tty: request.tty,
        mark: mark.clone(),
    };
    let pty = request.tty.then(|| Pty {
        terminal: std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()),
        size: WindowSize::current().unwrap_or_default(),
    });
    let channel = host.begin(with, &wanted, pty).await?;
    let Streams { mut input, output, mut terminal } =
        Streams::open(request.stdin, &request.stdout, request.tty, PIECE)?;
    let (mut reader, writer) = channel.split();
    let mut output = MarkedOutput { output, mark, failure: Vec::new() };
    let feed = async {
        // A command may end before it has read all.
        while let Some(piece) = input.next().await {
            if writer.data_bytes(piece).await.is_err() {
                break;
            }
        }
        let _ = writer.eof().await;
        std::future::pending::<()>().await
    };
    let resize = async {
        loop {
            let WindowSize { columns, rows } = terminal.resized().await;
            let _ = writer.window_change(columns.into(), rows.into(), 0, 0).await;
        }
    };
    let read = async {
        let mut code = None;
        while let Some(message) = reader.wait().await {
            match message {
                ChannelMsg::Data { data } => output.stdout(&data).await,
                ChannelMsg::ExtendedData { data, .. } => output.stderr(&data).await,
                ChannelMsg::ExitStatus { exit_status } => code = i32::try_from(exit_status).ok(),
                ChannelMsg::ExitSignal { .. } => code = code.or(Some(NOT_RUNNABLE)),
                _ => {}
            }
        }
        code
    };
    let code = tokio::select! {
        code = read => code,
        () = feed => None,
        () = resize => None,
    };
    output.end(code).map_err(|error| host.at(error))
}

/// The output of a command, or an error of kcl's own part on the host, which begins with the mark.
struct MarkedOutput {
    output: Output,
    mark: String,
    /// The error, from its mark on.
    failure: Vec<u8>,
}

impl MarkedOutput {
    // The reader of the output may close it early; the command still runs to its end.
    async fn stdout(&mut self, data: &[u8]) {
        if !self.is_failure(data) {
            let _ = self.output.stdout(data).await;
        }
    }

    async fn stderr(&mut self, data: &[u8]) {
        if !self.is_failure(data) {
            let _ = self.output.stderr(data).await;
        }
    }

    /// Keeps the bytes of an error of kcl's own: nothing else comes before its mark.
    fn is_failure(&mut self, data: &[u8]) -> bool {
        let ours = !self.failure.is_empty() || data.starts_with(self.mark.as_bytes());
        if ours {
            self.failure.extend_from_slice(data);
        }
        ours
    }

    fn end(self, code: Option<i32>) -> Result<ExecOutput> {
        if !self.failure.is_empty() {
            let text = String::from_utf8_lossy(&self.failure).into_owned();
            let json = text.strip_prefix(&self.mark).unwrap_or(&text);
            let failure: std::result::Result<Failure, _> = serde_json::from_str(json.trim());
            return Err(failure.map_or_else(|_| Error::engine(text.clone()), Error::from));
        }
        code.map(|code| self.output.end(code)).ok_or_else(|| lost(&russh::Error::Disconnect))
    }
}
