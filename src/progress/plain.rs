//! The renderer for pipes, logs and CI: plain lines, no control codes.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::progress::{Event, Renderer, text};

/// The shortest interval between two lines of a running step.
const INTERVAL: Duration = Duration::from_secs(5);

/// Writes events as plain lines.
pub(super) struct Plain {
    verbose: bool,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    running: HashMap<usize, Running>,
}

/// A running step.
struct Running {
    title: String,
    throttle: text::Throttle,
}

impl Plain {
    /// Writes lines to `out`; with `verbose`, the causes of errors too.
    pub(super) fn new(out: Box<dyn Write + Send>, verbose: bool) -> Self {
        Plain { verbose, state: Mutex::new(State { out, running: HashMap::new() }) }
    }
}

impl Renderer for Plain {
    fn event(&self, event: &Event) {
        // A panic elsewhere is no reason to lose the lines that explain it.
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let lines = state.lines(event, self.verbose, Instant::now());
        for line in lines {
            // The reader may be gone; that does not stop the work.
            let _ = writeln!(state.out, "{line}");
        }
        let _ = state.out.flush();
    }
}

impl State {
    fn lines(&mut self, event: &Event, verbose: bool, now: Instant) -> Vec<String> {
        match event {
            Event::Started { step, total, title, .. } => {
                let running = Running { title: title.clone(), throttle: text::Throttle::new(INTERVAL, now) };
                self.running.insert(*step, running);
                let count = total.map_or(String::new(), |total| format!("[{step}/{total}] "));
                vec![format!("{count}{title} ...")]
            }
            Event::Progress { step, message, position } => {
                let message = match text::percent(*position) {
                    Some(percent) => format!("{message} ({percent} %)"),
                    None => message.clone(),
                };
                let Some(running) = self.running.get_mut(step) else { return Vec::new() };
                match running.throttle.lets(&message, now) {
                    true => vec![format!("    {}: {message}", running.title)],
                    false => Vec::new(),
                }
            }
            Event::Finished { step, message, elapsed } => {
                let title = self.running.remove(step).map_or(String::new(), |running| running.title);
                let message = if message.is_empty() { format!("{title}: done") } else { message.clone() };
                vec![format!("    {message} ({})", text::duration(*elapsed))]
            }
            Event::Failed { step, elapsed } => {
                let title = self.running.remove(step).map_or(String::new(), |running| running.title);
                vec![format!("    {title}: failed ({})", text::duration(*elapsed))]
            }
            Event::Warning(message) => vec![format!("warning: {message}")],
            Event::Trouble { message, hints, causes, .. } => {
                text::error(&format!("warning: {message}"), hints, causes, verbose)
            }
            Event::Info(message) => vec![message.clone()],
            Event::Error { message, hints, causes, .. } => {
                text::error(&format!("error: {message}"), hints, causes, verbose)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Id};
    use crate::progress::Progress;
    use crate::progress::page::Page;
    use std::sync::Arc;

    #[test]
    fn a_run_reads_as_lines() {
        let page = Page::default();
        let progress = Progress::new(Arc::new(Plain::new(Box::new(page.clone()), false)));
        progress.expect(2);
        let step = progress.step("machines", "Making machines");
        step.message("too early to be worth a line");
        step.finish("3 machines run");
        drop(progress.step("api", "Starting Kubernetes"));
        progress.warn("little memory");
        progress.trouble(&Error::new(Id::ClusterFailed, "web waits").hint("wait with it"));
        progress.info("bye");
        progress.error(&Error::new(Id::ClusterFailed, "no answer").hint("look at the logs").source(std::fmt::Error));
        let text = page.text();
        // Times differ.
        let lines: Vec<_> = text.lines().map(|line| line.rsplit_once(" (").map_or(line, |(line, _)| line)).collect();
        assert_eq!(
            lines,
            [
                "[1/2] Making machines ...",
                "    3 machines run",
                "[2/2] Starting Kubernetes ...",
                "    Starting Kubernetes: failed",
                "warning: little memory",
                "warning: web waits",
                "  -> wait with it",
                "bye",
                "error: no answer",
                "  -> look at the logs",
            ]
        );
        assert!(text.is_ascii());
    }

    #[test]
    fn a_step_that_goes_on_gets_a_line_now_and_then() {
        let begin = Instant::now();
        let mut state = State { out: Box::new(std::io::sink()), running: HashMap::new() };
        let started = Event::Started { step: 1, total: None, name: "a", title: "Getting files".into() };
        assert_eq!(state.lines(&started, false, begin), ["Getting files ..."]);
        let progress = |done| Event::Progress { step: 1, message: "etcd".into(), position: Some((done, 4)) };
        assert!(state.lines(&progress(1), false, begin).is_empty());
        assert_eq!(state.lines(&progress(2), false, begin + INTERVAL), ["    Getting files: etcd (50 %)"]);
        assert!(state.lines(&progress(3), false, begin + INTERVAL).is_empty());
        assert!(state.lines(&progress(2), false, begin + INTERVAL * 2).is_empty());
        let finished = Event::Finished { step: 1, message: String::new(), elapsed: Duration::ZERO };
        assert_eq!(state.lines(&finished, false, begin), ["    Getting files: done (0.0s)"]);
    }
}
