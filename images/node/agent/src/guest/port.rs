//! A virtio serial port as a stream of lines.
//!
//! The kernel reports that the host has closed the port by empty reads and by a hang-up that lasts until the host is
//! back. So the port is polled by edges (`EPOLLET` of epoll(7)), which come with each change. The report comes on
//! another queue than the data, and so may follow the first lines of the next host: only a host that stays away has
//! closed the port.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kcl_node_spec::guest::Reply;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// The number of lines that may wait for the host.
const WAITING: usize = 16;

/// The time without a host after which it is considered gone.
const AWAY: Duration = Duration::from_secs(3);

/// An event of the host.
pub(super) enum Incoming {
    /// A line, without its end.
    Line(Vec<u8>),
    /// The host closed the port and has not opened it again.
    Gone,
}

/// The port and the lines to be written to it.
pub(super) struct Port {
    file: File,
    epoll: Epoll,
    wake: Arc<EventFd>,
    outgoing: Receiver<Vec<u8>>,
    waiting: Arc<Waiting>,
    pending: Vec<u8>,
    incoming: Vec<u8>,
    /// The time since which the host is away, until that is reported.
    away: Option<Instant>,
    told: bool,
}

/// A sender of replies, for any thread.
#[derive(Clone)]
pub(super) struct Replies {
    sender: Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
    wake: Arc<EventFd>,
}

/// The number of waiting lines, and a condition for their decrease.
#[derive(Default)]
struct Waiting {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Replies {
    /// Sends a reply of a session; blocks while too many are waiting. The port's own thread must not call this, as it
    /// is the one that sends them.
    pub(super) fn send(&self, session: &str, reply: &Reply) {
        let count = self.waiting.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.waiting.fewer.wait_while(count, |count| *count >= WAITING));
        self.at_once(session, reply);
    }

    /// Sends a reply without waiting.
    pub(super) fn at_once(&self, session: &str, reply: &Reply) {
        let mut line = serde_json::to_vec(&(session, reply)).expect("a reply is plain data");
        line.push(b'\n');
        *self.waiting.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        // Without the port's thread the machine is about to end.
        if self.sender.send(line).is_ok() {
            let _ = self.wake.write(1);
        }
    }
}

impl Port {
    /// Opens a port; returns it with the sender of its replies.
    pub(super) fn open(path: &Path) -> io::Result<(Port, Replies)> {
        let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLHUP | EpollFlags::EPOLLET;
        epoll.add(&file, EpollEvent::new(edges, 0))?;
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 1))?;
        let (sender, outgoing) = channel();
        let waiting = Arc::new(Waiting::default());
        let replies = Replies { sender, waiting: waiting.clone(), wake: wake.clone() };
        let (pending, incoming) = (Vec::new(), Vec::new());
        Ok((Port { file, epoll, wake, outgoing, waiting, pending, incoming, away: None, told: true }, replies))
    }

    /// Moves lines both ways until the machine ends.
    pub(super) fn serve(&mut self, mut take: impl FnMut(Incoming)) -> io::Result<()> {
        loop {
            self.read(&mut take)?;
            self.write()?;
            let left = self.away.map(|since| AWAY.saturating_sub(since.elapsed()));
            // The time is rounded up, as a remainder below a millisecond would spin.
            let timeout = left.and_then(|left| EpollTimeout::try_from(left + Duration::from_millis(1)).ok());
            let mut events = [EpollEvent::empty(); 2];
            match self.epoll.wait(&mut events, timeout.unwrap_or(EpollTimeout::NONE)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let _ = self.wake.read();
        }
    }

    /// Notes that there is no host.
    fn nobody(&mut self, take: &mut impl FnMut(Incoming)) {
        if self.told {
            return;
        }
        if self.away.get_or_insert_with(Instant::now).elapsed() >= AWAY {
            (self.away, self.told) = (None, true);
            take(Incoming::Gone);
        }
    }

    fn read(&mut self, take: &mut impl FnMut(Incoming)) -> io::Result<()> {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => {
                    self.nobody(take);
                    return Ok(());
                }
                Ok(count) => {
                    self.told = false;
                    self.incoming.extend_from_slice(&buffer[..count]);
                    while let Some(end) = self.incoming.iter().position(|byte| *byte == b'\n') {
                        let mut line: Vec<u8> = self.incoming.drain(..=end).collect();
                        line.pop();
                        take(Incoming::Line(line));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.away = None;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes waiting lines. While the host is away nothing can be written; the lines then go to the next host, which
    /// skips them.
    fn write(&mut self) -> io::Result<()> {
        loop {
            if self.pending.is_empty() {
                match self.outgoing.try_recv() {
                    Ok(line) => {
                        *self.waiting.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
                        self.waiting.fewer.notify_all();
                        self.pending = line;
                    }
                    Err(_) => return Ok(()),
                }
            }
            match self.file.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
