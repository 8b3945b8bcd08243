//! Reads the console of a machine: what its first process wrote since it was last powered on.
//!
//! An engine keeps one log of a container over all its runs, and distinguishes them only by time. So each run begins
//! its own part of the log with a mark: a shell writes it, and becomes the first process.

use bollard::query_parameters::LogsOptionsBuilder;
use futures::TryStreamExt;
use kcl_driver_api::Result;

use crate::engine::{Engine, EngineContext as _};

/// The first character of a mark: ASCII's record separator, which no console writes.
const MARK: char = '\x1e';

/// The script that writes a mark that no run had before, and becomes the command that it is given.
const SHELL: &str = r#"read -r id </proc/sys/kernel/random/uuid; printf '\036%s\n' "$id"; unset id; exec "$@""#;

/// Returns a command that marks the console first.
pub(crate) fn marked(init: &[String]) -> Vec<String> {
    let shell = ["/bin/sh", "-c", SHELL, "init"].map(str::to_owned);
    shell.into_iter().chain(init.iter().cloned()).collect()
}

/// Returns what was written since the last mark.
pub(crate) async fn read(engine: &Engine, container: &str) -> Result<Vec<u8>> {
    Ok(after_mark(&log(engine, container).await?).to_vec())
}

/// Returns the last mark; none before the first run.
pub(crate) async fn last_mark(engine: &Engine, container: &str) -> Result<Option<String>> {
    Ok(mark(&log(engine, container).await?))
}

/// Waits for another mark than `before`, or for the end of the container: its first process runs, or ran.
pub(crate) async fn wait_for_mark(engine: &Engine, container: &str, before: Option<&str>) -> Result<()> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(true).build();
    let mut pieces = engine.docker.logs(container, Some(options));
    let mut written = Vec::new();
    while let Some(piece) = pieces.try_next().await.with_context(|| format!("watch the console of {container}"))? {
        written.extend_from_slice(&piece.into_bytes());
        if mark(&written).as_deref().is_some_and(|mark| Some(mark) != before) {
            break;
        }
    }
    Ok(())
}

async fn log(engine: &Engine, container: &str) -> Result<Vec<u8>> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let pieces = engine.docker.logs(container, Some(options));
    let whole = pieces.try_fold(Vec::new(), async |mut whole, piece| {
        whole.extend_from_slice(&piece.into_bytes());
        Ok(whole)
    });
    Ok(whole.await.if_found(|| format!("read the console of {container}"))?.unwrap_or_default())
}

/// Returns the last whole line that begins with [`MARK`].
fn mark(log: &[u8]) -> Option<String> {
    let begin = log.iter().rposition(|byte| *byte == MARK as u8)?;
    let line = log[begin + 1..].split_inclusive(|byte| *byte == b'\n').next()?;
    let mark = line.strip_suffix(b"\n")?;
    Some(String::from_utf8_lossy(mark).into_owned())
}

/// Without a mark this is everything: the log has been rotated since.
fn after_mark(log: &[u8]) -> &[u8] {
    let Some(begin) = log.iter().rposition(|byte| *byte == MARK as u8) else { return log };
    let end = log[begin..].iter().position(|byte| *byte == b'\n');
    end.map_or(&[], |end| &log[begin + end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_begins_at_the_last_mark() {
        let log = b"\x1eone\nold\n\x1etwo\nnew\nnewer\n";
        assert_eq!(after_mark(log), b"new\nnewer\n");
        assert_eq!(mark(log).as_deref(), Some("two"));
        assert_eq!(mark(b"\x1eone\nold\n\x1ehalf"), None, "a mark that is not whole yet");
        assert_eq!(mark(b""), None);
        assert_eq!(after_mark(b"cut\n"), b"cut\n");
    }

    #[test]
    fn the_shell_marks_and_becomes_the_command() {
        let line = marked(&["/bin/echo".to_owned(), "a b".to_owned()]);
        let run = || std::process::Command::new(&line[0]).args(&line[1..]).output().unwrap().stdout;
        let (one, two) = (run(), run());
        assert_eq!(after_mark(&one), b"a b\n");
        assert_ne!(mark(&one).unwrap(), mark(&two).unwrap());
    }
}
