//! Logs of the components.
//!
//! A component writes directly to its file: no byte passes through the agent, and nothing is lost if the agent fails.
//! In return the file cannot be renamed while it is open, so the end of a file that has grown too large is copied, and
//! the file is truncated. It is opened for appending, so the next line is written at its new end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::console::{self, say};
use crate::paths;

/// The size above which a file is truncated, and the size of the pieces that are kept.
const LIMIT: u64 = 10 << 20;
/// The number of bytes that are copied at a time, between which the agent's other tasks run.
const CHUNK: u64 = 256 << 10;
/// The number of earlier pieces that are kept.
const KEPT: u32 = 3;
/// The interval at which sizes are checked.
const INTERVAL: Duration = Duration::from_secs(10);

/// Rotates the logs of `components` for as long as the agent runs.
pub(crate) async fn rotate_forever(components: Vec<&'static str>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for name in &components {
            if let Err(error) = rotate(&paths::log(name), LIMIT).await {
                say(format_args!("rotate the log of {name}: {error}"));
            }
        }
        if let Err(error) = console::cut_if_large() {
            say(format_args!("cut the console: {error}"));
        }
    }
}

/// Truncates a log that is too large, also if its end cannot be kept because the disk is full: that is when it matters.
async fn rotate(path: &Path, limit: u64) -> io::Result<()> {
    let length = match fs::metadata(path) {
        Ok(found) if found.len() > limit => found.len(),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(()),
    };
    let mut log = OpenOptions::new().read(true).write(true).open(path)?;
    let copy = piece(path, 0);
    let copied = copy_end(&mut log, &copy, length, limit).await;
    log.set_len(0)?;
    if copied.is_err() {
        let _ = fs::remove_file(&copy);
        return copied;
    }
    for index in (0..KEPT).rev() {
        let _ = fs::rename(piece(path, index), piece(path, index + 1));
    }
    Ok(())
}

/// Copies the last `limit` of `length` bytes, and what is written meanwhile, up to as much again: whoever writes faster
/// than it is copied must not keep this busy.
async fn copy_end(log: &mut File, copy: &Path, length: u64, limit: u64) -> io::Result<()> {
    let mut copy = File::create(copy)?;
    log.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut left = 2 * limit;
    while left > 0 {
        let count = io::copy(&mut log.take(CHUNK.min(left)), &mut copy)?;
        if count == 0 {
            break;
        }
        left -= count;
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn piece(path: &Path, index: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// Returns the last `lines` lines of a component's log that report errors, or else the last ones. A component that does not
/// understand its flags prints the error before or after pages of help.
pub(crate) fn errors(component: &str, lines: usize) -> io::Result<Vec<String>> {
    const ENOUGH: u64 = 64 << 10;
    let mut file = File::open(paths::log(component))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
    let mut bytes = Vec::new();
    file.take(ENOUGH).read_to_end(&mut bytes)?;
    Ok(errors_in(&String::from_utf8_lossy(&bytes), lines))
}

fn errors_in(text: &str, lines: usize) -> Vec<String> {
    let mut errors: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| is_error(line)) {
        // Each restart repeats them, with another time.
        errors.retain(|earlier| message(earlier) != message(line));
        errors.push(line);
    }
    let found = if errors.is_empty() { text.lines().collect() } else { errors };
    found[found.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
}

/// Returns a line without the header of klog.
fn message(line: &str) -> &str {
    line.split_once("] ").map_or(line, |(_, message)| message)
}

/// Recognizes an error in the formats of the components: klog's, those of Go's flag packages and of a panic, JSON (etcd),
/// and logfmt (containerd).
fn is_error(line: &str) -> bool {
    let klog = line.starts_with(['E', 'F']) && line[1..].bytes().take_while(u8::is_ascii_digit).count() == 4;
    let begins = ["Error:", "error:", "panic:", "fatal error:", "flag provided but not defined", "invalid value"];
    let holds = ["\"level\":\"error\"", "\"level\":\"fatal\"", "level=error", "level=fatal", ": flag provided but not"];
    klog || begins.iter().any(|begin| line.starts_with(begin)) || holds.iter().any(|part| line.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn rotated(path: &Path, limit: u64) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(rotate(path, limit))
    }

    #[test]
    fn a_log_goes_on_after_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        for round in 0..6 {
            writeln!(log, "round {round}").unwrap();
            rotated(&path, 7).unwrap();
        }
        writeln!(log, "end").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "end\n");
        for (index, round) in [(1, 5), (2, 4), (3, 3)] {
            assert_eq!(fs::read_to_string(piece(&path, index)).unwrap(), format!("ound {round}\n"));
        }
        assert!(!piece(&path, 0).exists() && !piece(&path, 4).exists());
    }

    #[test]
    fn only_the_end_of_a_large_log_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "0123456789".repeat(100)).unwrap();
        rotated(&path, 25).unwrap();
        assert_eq!(fs::read_to_string(piece(&path, 1)).unwrap(), "5678901234567890123456789");
    }

    #[test]
    fn a_log_is_cut_if_its_end_cannot_be_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "much").unwrap();
        fs::write(piece(&path, 1), "earlier").unwrap();
        // A directory of this name cannot be written to, as a file on a full disk cannot.
        fs::create_dir(piece(&path, 0)).unwrap();
        rotated(&path, 2).unwrap_err();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(fs::read_to_string(piece(&path, 1)).unwrap(), "earlier");
    }

    #[test]
    fn the_error_is_found_in_pages_of_help() {
        let help = "  -h, --help   help for it\n".repeat(20);
        let of = |text: &str| errors_in(text, 2);
        assert_eq!(
            of(&format!("flag provided but not defined: -foo\nUsage:\n{help}")),
            ["flag provided but not defined: -foo"]
        );
        assert_eq!(of(&format!("{help}\nError: unknown flag: --foo\n")), ["Error: unknown flag: --foo"]);
        let klog = "E1130 10:28:56.644883    4117 run.go:72] \"command failed\" err=\"unknown flag: --foo\"";
        assert_eq!(of(&format!("I1130 10:28:56.644883 one\n{klog}\nEnd\n")), [klog]);
        let earlier = klog.replace(":56", ":55");
        assert_eq!(of(&format!("{earlier}\n{klog}\n")), [klog]);
        assert_eq!(of("one\ntwo\nthree\n"), ["two", "three"]);
    }
}
