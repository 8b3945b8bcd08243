//! Running a command in a machine of a host, with its streams.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;

use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, Result, Stdin, Stdout};
use kcl_ssh_host::protocol::{Failure, Request};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use russh::ChannelMsg;
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::host::{Terminal, lost};
use crate::machine::SshMachine;

/// What a shell says where a program is not there.
const NOT_RUNNABLE: i32 = 126;

/// Runs a command and waits for its end.
pub(crate) async fn exec(machine: &SshMachine, request: Exec) -> Result<ExecOutput> {
    if request.argv.is_empty() {
        return Err(Error::new(ErrorKind::State, "there is no command to run"));
    }
    // What no command writes by chance.
    let mark = format!("kcl-{:x}{:x}:", std::process::id(), rand());
    let wanted = Request::Exec {
        name: machine.name.clone(),
        argv: request.argv.clone(),
        env: request.env.clone(),
        tty: request.tty,
        mark: mark.clone(),
    };
    let terminal = request.tty.then(|| Terminal {
        kind: std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()),
        size: size().unwrap_or((80, 24)),
    });
    let raw = if request.tty { Raw::set() } else { None };
    let channel = machine.host.begin(&machine.context.with, &wanted, terminal).await?;
    let (mut reader, writer) = channel.split();
    let file = match &request.stdout {
        Stdout::To(fd) => Some(tokio::fs::File::from_std(File::from(fd.try_clone()?))),
        _ => None,
    };
    let inherit = matches!(request.stdout, Stdout::Inherit);
    let mut output = Output { inherit, file, mark, ..Output::default() };
    let mut input = input(&request.stdin)?;
    let mut resized = signal(SignalKind::window_change())?;
    let feed = async {
        // A command may end before it has read all.
        while let Some(piece) = input.recv().await {
            if writer.data_bytes(piece).await.is_err() {
                break;
            }
        }
        let _ = writer.eof().await;
        std::future::pending::<()>().await
    };
    let resize = async {
        while resized.recv().await.is_some() {
            if let Some((columns, rows)) = size().filter(|_| request.tty) {
                let _ = writer.window_change(columns, rows, 0, 0).await;
            }
        }
        std::future::pending::<()>().await
    };
    let read = async {
        let mut code = None;
        while let Some(message) = reader.wait().await {
            match message {
                ChannelMsg::Data { data } => output.stdout(&data).await,
                ChannelMsg::ExtendedData { data, .. } => output.stderr(&data),
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
    drop(raw);
    output.end(code).map_err(|error| machine.host.at(error))
}

fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// What the command reads, in pieces.
fn input(stdin: &Stdin) -> Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(4);
    match stdin {
        Stdin::Null => {}
        Stdin::Bytes(bytes) => {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                for piece in bytes.chunks(64 << 10) {
                    if sender.send(piece.to_vec()).await.is_err() {
                        break;
                    }
                }
            });
        }
        Stdin::Inherit => read_pieces(std::io::stdin(), sender),
        Stdin::From(fd) => read_pieces(File::from(fd.try_clone()?), sender),
    }
    Ok(receiver)
}

/// In a thread of its own, which nobody waits for: a read of a terminal cannot be given up.
fn read_pieces(mut from: impl Read + Send + 'static, sender: mpsc::Sender<Vec<u8>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 32 << 10];
        while let Ok(read) = from.read(&mut buffer) {
            if read == 0 || sender.blocking_send(buffer[..read].to_vec()).is_err() {
                break;
            }
        }
    });
}

/// What the command writes.
#[derive(Default)]
struct Output {
    inherit: bool,
    file: Option<tokio::fs::File>,
    mark: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// An error of ours, from its mark on.
    failure: Vec<u8>,
}

impl Output {
    async fn stdout(&mut self, data: &[u8]) {
        if self.failed(data) {
            return;
        }
        if let Some(file) = &mut self.file {
            // Who reads may have enough.
            if file.write_all(data).await.is_ok() {
                let _ = file.flush().await;
            }
        } else if self.inherit {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(data).and_then(|()| out.flush());
        } else {
            self.stdout.extend_from_slice(data);
        }
    }

    fn stderr(&mut self, data: &[u8]) {
        if self.failed(data) {
            return;
        }
        if self.inherit {
            let _ = std::io::stderr().lock().write_all(data);
        } else {
            self.stderr.extend_from_slice(data);
        }
    }

    /// Whether this is an error of ours: nothing else comes before it.
    fn failed(&mut self, data: &[u8]) -> bool {
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
        let code = code.ok_or_else(|| lost(&russh::Error::Disconnect))?;
        Ok(ExecOutput { code, stdout: self.stdout, stderr: self.stderr })
    }
}

/// Columns and rows of our terminal.
fn size() -> Option<(u32, u32)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some((size.ws_col.into(), size.ws_row.into()))
}

/// Our terminal hands on every key as it is, as long as this is there.
struct Raw(Termios);

impl Raw {
    fn set() -> Option<Raw> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(stdin.as_fd()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}
