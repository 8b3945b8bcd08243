//! The host's side of the channel to a guest: see [`kcl_node_spec::guest`].
//!
//! A hypervisor lets one process talk to a serial port at a time, so a guest has [`PORTS`] of them, and each session
//! takes the lock of a free one.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::streams::{Input, Streams};
use kcl_driver_local::task::blocking;
use kcl_driver_local::terminal::{Terminal, WindowSize};
use kcl_node_spec::guest::{CHUNK, Reason, Reply, Request, TerminalSize, WINDOW};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;

use crate::layout::MachineNames;

/// The number of serial ports that a guest has for its host.
pub const PORTS: usize = 16;

/// The longest line of a guest in bytes: a [`CHUNK`] in base64, or a message for the user.
const LONGEST_LINE: u64 = 1 << 20;

/// The largest file that is read from a guest as a whole, in bytes; also from its disk.
pub(crate) const LARGEST_FILE: u64 = 256 << 20;

/// A session with a guest.
struct Session {
    id: String,
    machine: String,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The lock of the port, held by this session.
    _lock: File,
}

/// Waits until the machine's first process runs. Returns the milliseconds since its kernel started.
///
/// # Errors
/// `State` if the machine ends, `Engine` if the first process cannot be run.
pub async fn wait(names: &MachineNames) -> Result<u64> {
    let mut session = Session::open(names).await?;
    session.send(&Request::Ping).await?;
    match session.receive().await? {
        Reply::Running { after_ms } => Ok(after_ms),
        other => Err(session.unexpected(other)),
    }
}

/// Tells the machine's first process to end.
///
/// # Errors
/// `State` if the machine does not run.
pub async fn end(names: &MachineNames) -> Result<()> {
    let mut session = Session::open(names).await?;
    session.send(&Request::End).await?;
    match session.receive().await {
        Ok(Reply::Done) => Ok(()),
        // The machine ended before it could answer.
        Err(error) if error.kind == ErrorKind::State => Ok(()),
        Ok(other) => Err(session.unexpected(other)),
        Err(error) => Err(error),
    }
}

/// Waits for the machine's end, which closes its ports.
///
/// # Errors
/// `Host` if a port cannot be locked.
pub async fn closed(names: &MachineNames) -> Result<()> {
    let mut session = match Session::open(names).await {
        Err(error) if error.kind == ErrorKind::State => return Ok(()),
        session => session?,
    };
    loop {
        // Other messages are skipped.
        if let Err(error) = session.receive().await
            && error.kind == ErrorKind::State
        {
            return Ok(());
        }
    }
}

/// Writes a file: whole or not at all, and on the machine's disk when this returns.
///
/// # Errors
/// `State` if the machine does not run, `Engine` if it refuses.
pub async fn put(names: &MachineNames, file: &kcl_driver_api::File) -> Result<()> {
    let mut session = Session::open(names).await?;
    session.send(&Request::Put { path: path(&file.path)?, mode: file.mode }).await?;
    let mut window = 0;
    for chunk in file.content.chunks(CHUNK) {
        if window == WINDOW {
            match session.receive().await? {
                Reply::Taken => window -= 1,
                other => return Err(session.unexpected(other)),
            }
        }
        session.send(&Request::Input(BASE64.encode(chunk))).await?;
        window += 1;
    }
    session.send(&Request::InputEnd).await?;
    loop {
        match session.receive().await? {
            Reply::Taken => {}
            Reply::Done => return Ok(()),
            other => return Err(session.unexpected(other)),
        }
    }
}

/// Reads a file of a running machine.
///
/// # Errors
/// `NotFound` if it does not exist, `State` if it is not a file or the machine does not run.
pub async fn get(names: &MachineNames, file: &Path) -> Result<Vec<u8>> {
    let mut session = Session::open(names).await?;
    session.send(&Request::Get { path: path(file)? }).await?;
    let mut content = Vec::new();
    loop {
        match session.receive().await? {
            Reply::Output(text) => {
                content.extend(decode(&text)?);
                check_size(file, content.len() as u64)?;
            }
            Reply::Done => return Ok(content),
            other => return Err(session.unexpected(other)),
        }
    }
}

/// Runs a command and waits for its end. It is killed if the future is dropped.
///
/// # Errors
/// `State` if the machine does not run, or ends meanwhile.
pub async fn exec(names: &MachineNames, request: Exec) -> Result<ExecOutput> {
    let Exec { argv, env, stdin, stdout, tty } = request;
    if argv.is_empty() {
        return Err(Error::new(ErrorKind::State, "there is no command to run"));
    }
    let mut session = Session::open(names).await?;
    let Streams { mut input, mut output, mut terminal } = Streams::open(stdin, &stdout, tty, CHUNK)?;
    let size = tty.then(|| size(WindowSize::current().unwrap_or_default()));
    session.send(&Request::Exec { argv, env, terminal: size }).await?;
    let Session { id, machine, mut reader, writer, _lock } = session;
    let window = Semaphore::new(WINDOW);
    let mut writer = Writer { id: &id, machine: &machine, half: writer };
    let listen = async {
        loop {
            match receive(&mut reader, &id, &machine).await? {
                Reply::Output(text) => output.stdout(&decode(&text)?).await?,
                Reply::Complaint(text) => output.stderr(&decode(&text)?).await?,
                Reply::Taken => window.add_permits(1),
                Reply::Exit(code) => return Ok(code),
                other => return Err(unexpected(&machine, other)),
            }
        }
    };
    // Ends with the command, however much of its input is left.
    let code = tokio::select! {
        code = listen => code?,
        error = talk(&mut writer, &mut input, &mut terminal, &window) => return Err(error),
    };
    Ok(output.end(code))
}

/// Sends a command its input, and the changes of the terminal's size. Returns only if that fails.
async fn talk(writer: &mut Writer<'_>, input: &mut Input, terminal: &mut Terminal, window: &Semaphore) -> Error {
    let mut ended = false;
    loop {
        let sent = tokio::select! {
            changed = terminal.resized() => writer.send(&Request::Resize(size(changed))).await,
            piece = input.next(), if !ended => match piece {
                Some(piece) => {
                    window.acquire().await.expect("it is never closed").forget();
                    writer.send(&Request::Input(BASE64.encode(piece))).await
                }
                None => {
                    ended = true;
                    writer.send(&Request::InputEnd).await
                }
            },
        };
        if let Err(error) = sent {
            return error;
        }
    }
}

fn size(size: WindowSize) -> TerminalSize {
    TerminalSize { rows: size.rows, columns: size.columns }
}

struct Writer<'a> {
    id: &'a str,
    machine: &'a str,
    half: OwnedWriteHalf,
}

impl Writer<'_> {
    async fn send(&mut self, request: &Request) -> Result<()> {
        send(&mut self.half, self.id, self.machine, request).await
    }
}

impl Session {
    async fn open(names: &MachineNames) -> Result<Session> {
        let of_machine = names.clone();
        let (number, lock) = blocking(move || free_port(&of_machine)).await?;
        let machine = names.name.clone();
        let stream = UnixStream::connect(names.port(number)).await.map_err(|_| not_running(&machine))?;
        let (reader, mut writer) = stream.into_split();
        // Ends a message that an earlier session may have sent by half.
        writer.write_all(b"\n").await.map_err(|_| not_running(&machine))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("{:x}-{:x}", std::process::id(), now.as_nanos());
        Ok(Session { id, machine, reader: BufReader::new(reader), writer, _lock: lock })
    }

    async fn send(&mut self, request: &Request) -> Result<()> {
        send(&mut self.writer, &self.id, &self.machine, request).await
    }

    async fn receive(&mut self) -> Result<Reply> {
        receive(&mut self.reader, &self.id, &self.machine).await
    }

    fn unexpected(&self, reply: Reply) -> Error {
        unexpected(&self.machine, reply)
    }
}

/// Takes a free port and its lock; waits for one if all are in use.
fn free_port(names: &MachineNames) -> Result<(usize, File)> {
    let open = |number: usize| {
        let path = names.run.join(format!("c{number}.lock"));
        let file = File::options().create(true).write(true).truncate(false).mode(0o600).open(&path);
        file.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => not_running(&names.name),
            _ => Error::new(ErrorKind::Host, format!("could not open {}: {error}", path.display())).source(error),
        })
    };
    for number in 0..PORTS {
        let file = open(number)?;
        if file.try_lock().is_ok() {
            return Ok((number, file));
        }
    }
    let number = std::process::id() as usize % PORTS;
    let file = open(number)?;
    file.lock().with_context(|| format!("wait for a channel to machine {}", names.name))?;
    Ok((number, file))
}

async fn send(writer: &mut OwnedWriteHalf, id: &str, machine: &str, request: &Request) -> Result<()> {
    let mut line = serde_json::to_vec(&(id, request)).expect("a request is plain data");
    line.push(b'\n');
    writer.write_all(&line).await.map_err(|_| ended(machine))
}

async fn receive(reader: &mut (impl AsyncBufRead + Unpin), id: &str, machine: &str) -> Result<Reply> {
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut *reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return Err(ended(machine)),
            Ok(_) if line.len() as u64 == LONGEST_LINE => {
                return Err(Error::engine(format!("machine {machine} sent a line of {LONGEST_LINE} bytes or more")));
            }
            // A message of another session, or the rest of a line.
            Ok(_) => match serde_json::from_slice::<(String, Reply)>(&line) {
                Ok((session, reply)) if session == id => return Ok(reply),
                _ => {}
            },
        }
    }
}

/// Checks the size of a file that is read into memory.
pub(crate) fn check_size(path: &Path, size: u64) -> Result<()> {
    let message = || format!("{} in the machine has more than {} MiB", path.display(), LARGEST_FILE >> 20);
    if size > LARGEST_FILE { Err(Error::new(ErrorKind::State, message())) } else { Ok(()) }
}

fn path(path: &Path) -> Result<String> {
    crate::spool::check(path)?;
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::new(ErrorKind::State, format!("{} is not UTF-8", path.display())))
}

fn decode(text: &str) -> Result<Vec<u8>> {
    BASE64.decode(text).map_err(|error| Error::engine(format!("the guest did not send base64: {error}")))
}

fn not_running(machine: &str) -> Error {
    Error::new(ErrorKind::State, format!("machine {machine} is not running"))
}

fn ended(machine: &str) -> Error {
    Error::new(ErrorKind::State, format!("machine {machine} ended"))
}

fn unexpected(machine: &str, reply: Reply) -> Error {
    match reply {
        Reply::Failed { reason, message } => {
            let kind = match reason {
                Reason::NotFound => ErrorKind::NotFound,
                Reason::NoFile => ErrorKind::State,
                Reason::Failed => ErrorKind::Engine,
            };
            Error::new(kind, format!("machine {machine}: {message}"))
        }
        other => Error::engine(format!("machine {machine} answered something else than what was asked: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_without_an_end_does_not_fill_the_memory() {
        let reply = b"noise\n[\"other\",\"done\"]\n[\"s\",\"done\"]\n";
        assert_eq!(receive(&mut &reply[..], "s", "m").await.unwrap(), Reply::Done);
        let mut endless = BufReader::new(tokio::io::repeat(b'x'));
        let error = receive(&mut endless, "s", "m").await.unwrap_err();
        assert!(error.message.contains("sent a line of"), "{error}");
        assert_eq!(receive(&mut &b""[..], "s", "m").await.unwrap_err().kind, ErrorKind::State);
    }
}
