//! Logs of the components.
//!
//! A component writes directly to its file: no byte passes through the agent, and nothing is lost if the agent fails.
//! In return the file cannot be renamed while it is open, so a file that has grown too large is copied and truncated,
//! at most once a minute. It is opened for appending, so the next line is written at its new end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::console::say;
use crate::paths;

/// The size above which a file is truncated.
const LIMIT: u64 = 10 << 20;
/// The number of earlier pieces that are kept.
const KEPT: u32 = 3;
/// The interval at which sizes are checked.
const INTERVAL: Duration = Duration::from_secs(60);

/// Rotates the logs of `components` for as long as the agent runs.
pub async fn rotate_forever(components: Vec<&'static str>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for name in &components {
            if let Err(error) = rotate(&paths::log(name), LIMIT) {
                say(format_args!("rotate the log of {name}: {error}"));
            }
        }
    }
}

fn rotate(path: &Path, limit: u64) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.len() > limit => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(()),
    }
    for index in (1..KEPT).rev() {
        let _ = fs::rename(piece(path, index), piece(path, index + 1));
    }
    let mut log = OpenOptions::new().read(true).write(true).open(path)?;
    let mut copy = File::create(piece(path, 1))?;
    // Lines written during the copy are copied too; only those between the last read and the truncation can be lost.
    while io::copy(&mut log, &mut copy)? > 0 {}
    log.set_len(0)
}

fn piece(path: &Path, index: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// Returns the last `lines` lines of a component's log.
pub fn tail(component: &str, lines: usize) -> io::Result<String> {
    const ENOUGH: u64 = 16 << 10;
    let mut file = File::open(paths::log(component))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_goes_on_after_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        for round in 0..6 {
            writeln!(log, "round {round}").unwrap();
            rotate(&path, 4).unwrap();
        }
        writeln!(log, "end").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "end\n");
        for (index, round) in [(1, 5), (2, 4), (3, 3)] {
            assert_eq!(fs::read_to_string(piece(&path, index)).unwrap(), format!("round {round}\n"));
        }
        assert!(!piece(&path, 4).exists());
    }
}
