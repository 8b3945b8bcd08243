//! The choice of the renderer, and the place of log lines beside it.

use std::io::IsTerminal;
use std::sync::Arc;

use indicatif::MultiProgress;
use tracing_indicatif::writer::{IndicatifWriter, Stderr};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, time};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::progress::json::Json;
use crate::progress::plain::Plain;
use crate::progress::terminal::Terminal;
use crate::progress::{Progress, Renderer};

/// The capabilities of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Surroundings {
    /// Stderr is a terminal that can draw.
    live: bool,
    /// Colours are welcome.
    color: bool,
}

/// Sets up the output, once a process: CloudEvents on stdout with `output_json`, otherwise lines on stderr, live on a
/// terminal unless `CI` is set. `verbosity` counts `-v`; the variable `RUST_LOG` takes precedence over it. Log lines go
/// to stderr and do not break the live lines.
pub fn choose(output_json: bool, verbosity: u8) -> Progress {
    let surroundings = surroundings(std::io::stderr().is_terminal(), |name| {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    });
    let bars = MultiProgress::new();
    let rust_log = std::env::var("RUST_LOG").ok();
    let wanted = filter(verbosity, rust_log.as_deref()).parse::<Targets>();
    let lines = fmt::layer()
        .with_writer(IndicatifWriter::<Stderr>::new(bars.clone()))
        .with_ansi(surroundings.color)
        .with_timer(time::uptime());
    let filter = wanted.as_ref().ok().cloned().unwrap_or_else(|| targets(filter(verbosity, None)));
    // An error means that there is a subscriber already, such as a test's, which is kept.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    let verbose = verbosity > 0;
    let renderer: Arc<dyn Renderer> = match (output_json, surroundings.live) {
        (true, _) => Arc::new(Json::new(Box::new(std::io::stdout()))),
        (false, true) => Arc::new(Terminal::new(bars, surroundings.color, verbose)),
        (false, false) => Arc::new(Plain::new(Box::new(std::io::stderr()), verbose)),
    };
    let progress = Progress::new(renderer);
    if let Err(error) = wanted {
        progress.warn(format!("RUST_LOG is not taken over: {error}; it is a list of target=level, such as kcl=debug"));
    }
    progress
}

/// A filter by targets alone. One by spans and their fields (`EnvFilter`) compiles regular expressions in each run of
/// kcl.
fn targets(filter: &str) -> Targets {
    filter.parse().expect("our own filters are right")
}

fn surroundings(is_terminal: bool, var: impl Fn(&str) -> Option<String>) -> Surroundings {
    let ci = var("CI").is_some_and(|value| value != "false" && value != "0");
    let dumb = var("TERM").is_none_or(|value| value == "dumb");
    Surroundings { live: is_terminal && !ci && !dumb, color: is_terminal && !dumb && var("NO_COLOR").is_none() }
}

/// Our own crates are called `kcl…`, so one word names them all.
fn filter(verbosity: u8, rust_log: Option<&str>) -> &str {
    match (rust_log.filter(|value| !value.is_empty()), verbosity) {
        (Some(rust_log), _) => rust_log,
        // A refused connection while an API server starts is not news for a user.
        (None, 0) => "warn,kube_client=off",
        (None, 1) => "warn,kube_client=off,kcl=info",
        (None, 2) => "info,kcl=debug",
        (None, _) => "debug,kcl=trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(is_terminal: bool, vars: &[(&str, &str)]) -> Surroundings {
        surroundings(is_terminal, |name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn drawing_is_for_terminals_that_someone_looks_at() {
        let term = ("TERM", "xterm");
        assert_eq!(with(true, &[term]), Surroundings { live: true, color: true });
        assert_eq!(with(true, &[term, ("NO_COLOR", "1")]), Surroundings { live: true, color: false });
        assert_eq!(with(true, &[term, ("CI", "true")]), Surroundings { live: false, color: true });
        assert_eq!(with(true, &[term, ("CI", "false")]), Surroundings { live: true, color: true });
        assert_eq!(with(true, &[("TERM", "dumb")]), Surroundings { live: false, color: false });
        assert_eq!(with(true, &[]), Surroundings { live: false, color: false });
        assert_eq!(with(false, &[term]), Surroundings { live: false, color: false });
    }

    #[test]
    fn rust_log_wins_over_v() {
        assert_eq!(filter(3, Some("off")), "off");
        assert_eq!(filter(0, Some("")), "warn,kube_client=off");
        assert_eq!(filter(1, None), "warn,kube_client=off,kcl=info");
        for verbosity in 0..5 {
            targets(filter(verbosity, None));
        }
    }
}
