//! Requests of the host while the machine runs: commands, files and its end. Each port has a thread.

use std::fs;
use std::io::{PipeReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kcl_node_spec::guest::{CHUNK, PORT, Reason, Reply, Request};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::exec::{self, Running};
use super::files;
use super::port::{Incoming, Port, Replies};
use crate::console::complain;

/// The directory in which the kernel lists the ports, with their names.
const PORTS: &str = "/sys/class/virtio-ports";

/// The result of the first process's start: milliseconds since the kernel started, or the error.
type Life = std::result::Result<u64, String>;

/// Serves until the machine ends. `start` ends when the first process is running, or with a message if it failed.
pub(super) fn run(mut start: PipeReader) -> ! {
    let _ = nix::sys::prctl::set_name(c"kcl-guest");
    let mut trouble = String::new();
    let _ = start.read_to_string(&mut trouble);
    let life = Arc::new(if trouble.is_empty() { Ok(uptime_ms()) } else { Err(trouble) });
    let threads: Vec<_> = ports()
        .into_iter()
        .map(|path| {
            let life = life.clone();
            thread::spawn(move || {
                if let Err(error) = serve(&path, &life) {
                    complain(format_args!("kcl-node: the port {}: {error}", path.display()));
                }
            })
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
    std::process::exit(1)
}

/// Returns the time of CLOCK_BOOTTIME (clock_gettime(2)).
fn uptime_ms() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from);
    time.map(|time| time.as_millis() as u64).unwrap_or_default()
}

fn ports() -> Vec<PathBuf> {
    let entries = fs::read_dir(PORTS).into_iter().flatten().flatten();
    let ours = |path: &Path| fs::read_to_string(path.join("name")).is_ok_and(|name| name.starts_with(PORT));
    entries.filter(|entry| ours(&entry.path())).map(|entry| Path::new("/dev").join(entry.file_name())).collect()
}

/// The state of a session.
enum Task {
    Command(Running),
    File { path: PathBuf, mode: u32, content: Vec<u8> },
}

fn serve(path: &Path, life: &Life) -> std::io::Result<()> {
    let (mut port, replies) = Port::open(path)?;
    let mut current: Option<(String, Task)> = None;
    port.serve(|incoming| match incoming {
        Incoming::Gone => current = None,
        Incoming::Line(line) => {
            // An unreadable line is the rest of an interrupted one.
            if let Ok((session, request)) = serde_json::from_slice::<(String, Request)>(&line) {
                current = obey(current.take(), session, request, life, &replies);
            }
        }
    })
}

/// Serves a request. Returns the session if it continues.
fn obey(
    current: Option<(String, Task)>,
    session: String,
    request: Request,
    life: &Life,
    replies: &Replies,
) -> Option<(String, Task)> {
    if matches!(request, Request::Input(_) | Request::InputEnd | Request::Resize(_)) {
        return match current {
            Some((of, task)) if of == session => go_on(task, &session, request, replies).map(|task| (session, task)),
            current => current,
        };
    }
    // A new session ends the previous one.
    drop(current);
    let reply = |reply| replies.at_once(&session, &reply);
    let failed = |reason, message: String| Reply::Failed { reason, message };
    match request {
        Request::Ping => reply(match life {
            Ok(after_ms) => Reply::Running { after_ms: *after_ms },
            Err(message) => failed(Reason::Failed, message.clone()),
        }),
        Request::Exec { argv, env, terminal } => {
            let running = exec::start(&argv, &env, terminal, &session, replies)?;
            return Some((session, Task::Command(running)));
        }
        Request::Put { path, mode } => {
            return Some((session, Task::File { path: path.into(), mode, content: Vec::new() }));
        }
        Request::Get { path } => {
            let (session, replies) = (session.clone(), replies.clone());
            // Meanwhile the port's thread has to send the lines to the host.
            thread::spawn(move || match files::get(Path::new(&path)) {
                Ok(content) => {
                    for chunk in content.chunks(CHUNK) {
                        replies.send(&session, &Reply::Output(BASE64.encode(chunk)));
                    }
                    replies.send(&session, &Reply::Done);
                }
                Err((reason, message)) => replies.send(&session, &Reply::Failed { reason, message }),
            });
        }
        Request::End => {
            // If the first process just ended, the kernel would panic.
            nix::unistd::sync();
            reply(match kill(Pid::from_raw(1), Signal::SIGTERM) {
                Ok(()) => Reply::Done,
                Err(error) => failed(Reason::Failed, format!("could not signal the first process: {error}")),
            });
        }
        Request::Input(_) | Request::InputEnd | Request::Resize(_) => {}
    }
    None
}

/// Continues a session. Returns `None` at its end.
fn go_on(task: Task, session: &str, request: Request, replies: &Replies) -> Option<Task> {
    match (task, request) {
        (Task::Command(running), Request::Input(text)) => {
            running.input(BASE64.decode(text).unwrap_or_default());
            Some(Task::Command(running))
        }
        (Task::Command(mut running), Request::InputEnd) => {
            running.input_end();
            Some(Task::Command(running))
        }
        (Task::Command(running), Request::Resize(size)) => {
            running.resize(size);
            Some(Task::Command(running))
        }
        (Task::File { path, mode, mut content }, Request::Input(text)) => {
            content.extend(BASE64.decode(text).unwrap_or_default());
            replies.at_once(session, &Reply::Taken);
            Some(Task::File { path, mode, content })
        }
        (Task::File { path, mode, content }, Request::InputEnd) => {
            let result = files::put(&path, mode, &content);
            replies.at_once(
                session,
                &result.map_or_else(
                    |error| Reply::Failed { reason: Reason::Failed, message: error.to_string() },
                    |()| Reply::Done,
                ),
            );
            None
        }
        (task, _) => Some(task),
    }
}
