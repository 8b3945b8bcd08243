//! The agent's messages: its own, on the machine's console, and those of its commands.
//!
//! The console is a file of the host if a driver of containers made the machine, and its disk may be full. Then a message
//! is lost, and nothing else: the agent is process 1, whose end is the end of the node.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::time::Instant;

use crate::error::{Doing, Result};

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The size in bytes above which the console's file is cut.
const LIMIT: u64 = 10 << 20;
/// The number of bytes at its end that are kept.
const KEPT: u64 = 1 << 20;

/// Returns the time at which the agent started, or of the first call.
pub(crate) fn started() -> Instant {
    *STARTED
}

/// Prints a message with the seconds since the start of the agent, as the kernel does.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "[{:>9.3}] {text}", started().elapsed().as_secs_f64());
}

/// Prints the output of a command.
pub(crate) fn print(text: impl Display) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}").doing(|| "write to standard output".to_owned())
}

/// Prints the reason why a command failed, which its exit code says too.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Cuts the console if it is a file that has grown too large. Nobody else can: the host's side has no process that runs
/// for as long as the machine.
pub(crate) fn cut_if_large() -> io::Result<()> {
    let console = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    cut(&console, LIMIT, KEPT)
}

/// Cuts a file that is open for appending to its last lines, which are at most `kept` bytes.
fn cut(file: &File, limit: u64, kept: u64) -> io::Result<()> {
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() <= limit {
        return Ok(());
    }
    // The file may be outside of the machine's file systems, and is open for writing only: it is reached by its descriptor.
    let mut reader = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)))?;
    reader.seek(SeekFrom::Start(meta.len() - kept))?;
    let mut tail = Vec::new();
    reader.take(kept).read_to_end(&mut tail)?;
    let first = tail.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    file.set_len(0)?;
    (&*file).write_all(&tail[first..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_console_keeps_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let mut console = File::options().create(true).append(true).open(&path).unwrap();
        for line in 0..100 {
            writeln!(console, "line {line:02}").unwrap();
        }
        cut(&console, 800, 20).unwrap();
        assert_eq!(console.metadata().unwrap().len(), 800, "it is not too large");
        cut(&console, 799, 20).unwrap();
        writeln!(console, "next").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line 98\nline 99\nnext\n");
    }

    #[test]
    fn what_is_not_a_file_is_left_alone() {
        let null = File::options().append(true).open("/dev/null").unwrap();
        cut(&null, 0, 0).unwrap();
    }
}
