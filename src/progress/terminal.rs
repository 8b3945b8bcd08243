//! The renderer for terminals: a line with a mark for each step, and live lines for running steps below them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::progress::{Event, Renderer, text};

/// The interval of the live lines' animation.
const TICK: Duration = Duration::from_millis(120);

/// Draws lines and bars.
pub(super) struct Terminal {
    bars: MultiProgress,
    color: bool,
    verbose: bool,
    running: Mutex<HashMap<usize, Running>>,
}

/// A running step.
struct Running {
    title: String,
    bar: ProgressBar,
    has_length: bool,
}

/// The colours, as codes of ECMA-48.
#[derive(Clone, Copy)]
enum Color {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Grey = 90,
}

impl Terminal {
    /// Draws with `bars`, which every other writer to the terminal has to share.
    pub(super) fn new(bars: MultiProgress, color: bool, verbose: bool) -> Self {
        Terminal { bars, color, verbose, running: Mutex::default() }
    }

    fn paint(&self, color: Color, text: &str) -> String {
        match self.color {
            true => format!("\x1b[{}m{text}\x1b[0m", color as u8),
            false => text.to_owned(),
        }
    }

    fn print(&self, line: &str) {
        // The terminal may be gone; that does not stop the work.
        let _ = self.bars.println(line);
    }

    fn end(&self, step: usize, color: Color, mark: &str, message: &str, elapsed: Duration) {
        let running = self.running().remove(&step);
        let title = running.as_ref().map_or("", |running| running.title.as_str());
        let message = if message.is_empty() { title } else { message };
        let elapsed = self.paint(Color::Grey, &text::duration(elapsed));
        let line = format!("{} {message} {elapsed}", self.paint(color, mark));
        if let Some(running) = running {
            running.bar.finish_and_clear();
            self.bars.remove(&running.bar);
        }
        self.print(&line);
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Running>> {
        // A panic elsewhere is no reason to lose the lines that explain it.
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Renderer for Terminal {
    fn event(&self, event: &Event) {
        match event {
            Event::Started { step, title, .. } => {
                let bar = self.bars.add(ProgressBar::new_spinner());
                bar.set_style(style(false));
                bar.set_prefix(title.clone());
                bar.enable_steady_tick(TICK);
                self.running().insert(*step, Running { title: title.clone(), bar, has_length: false });
            }
            Event::Progress { step, message, position } => {
                let mut running = self.running();
                let Some(running) = running.get_mut(step) else { return };
                let known = position.is_some_and(|(_, total)| total > 0);
                if known != running.has_length {
                    running.has_length = known;
                    running.bar.set_style(style(known));
                }
                if let Some((done, total)) = position.filter(|_| known) {
                    running.bar.set_length(total);
                    running.bar.set_position(done);
                }
                running.bar.set_message(message.clone());
            }
            Event::Finished { step, message, elapsed } => self.end(*step, Color::Green, "✓", message, *elapsed),
            Event::Failed { step, elapsed } => self.end(*step, Color::Red, "✗", "", *elapsed),
            Event::Warning(message) => self.print(&format!("{} {message}", self.paint(Color::Yellow, "!"))),
            Event::Trouble { message, hints, causes, .. } => {
                let message = format!("{} {message}", self.paint(Color::Yellow, "!"));
                for line in text::error(&message, hints, causes, self.verbose) {
                    self.print(&line);
                }
            }
            Event::Info(message) => self.print(message),
            Event::Error { message, hints, causes, .. } => {
                let message = format!("{} {message}", self.paint(Color::Red, "error:"));
                for line in text::error(&message, hints, causes, self.verbose) {
                    self.print(&line);
                }
            }
        }
    }
}

/// Returns a live line: the activity and its duration, with a bar if the end is known. Without colours.
fn style(with_bar: bool) -> ProgressStyle {
    let template = match with_bar {
        true => "{spinner} {prefix} [{bar:20}] {percent}% {wide_msg} {elapsed}",
        false => "{spinner} {prefix} {wide_msg} {elapsed}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ").progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;
    use indicatif::ProgressDrawTarget;
    use std::sync::Arc;

    fn hidden(color: bool) -> Arc<Terminal> {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Arc::new(Terminal::new(bars, color, false))
    }

    #[test]
    fn the_templates_are_valid() {
        for with_bar in [true, false] {
            let _ = style(with_bar);
        }
        assert!(ProgressStyle::with_template("{spinner} {prefix} [{bar:20}] {percent}% {wide_msg} {elapsed}").is_ok());
    }

    #[test]
    fn no_color_means_no_codes() {
        assert_eq!(hidden(false).paint(Color::Red, "x"), "x");
        assert_eq!(hidden(true).paint(Color::Red, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn steps_come_and_go() {
        let terminal = hidden(false);
        let progress = Progress::new(terminal.clone());
        let step = progress.step("a", "A");
        let other = progress.step("b", "B");
        step.position("x", 1, 2);
        assert_eq!(terminal.running()[&1].bar.length(), Some(2));
        step.message("y");
        assert!(!terminal.running()[&1].has_length);
        step.finish("done");
        assert_eq!(terminal.running().len(), 1);
        drop(other);
        assert!(terminal.running().is_empty());
    }
}
