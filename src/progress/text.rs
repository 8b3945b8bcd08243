//! Durations, marks and rate limits, which the renderers for people share.

use std::time::{Duration, Instant};

/// Returns a text without characters that control a terminal (ECMA-48, C0 and C1), which hosts, nodes and programs may have
/// put into what they say. Lines and tabs stay.
pub(super) fn printable(text: String) -> String {
    let controls = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(controls) { text.replace(controls, "\u{fffd}") } else { text }
}

/// Formats a duration: `0.8s`, `12.3s`, `2m05s`.
pub(super) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1}s", duration.as_secs_f64().min(59.9)),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

/// Returns whole per cent, if the total is known.
pub(super) fn percent(position: Option<(u64, u64)>) -> Option<u64> {
    let (done, total) = position.filter(|(_, total)| *total > 0)?;
    Some((u128::from(done.min(total)) * 100 / u128::from(total)) as u64)
}

/// Returns the lines of an error: the cause, the causes below it if `verbose`, and the remedies.
pub(super) fn error(message: &str, hints: &[String], causes: &[String], verbose: bool) -> Vec<String> {
    let causes = causes.iter().filter(|_| verbose).map(|cause| format!("  caused by: {cause}"));
    let hints = hints.iter().map(|hint| format!("  -> {hint}"));
    std::iter::once(message.to_owned()).chain(causes).chain(hints).collect()
}

/// A filter for messages that passes new ones at an interval.
#[derive(Debug)]
pub(super) struct Throttle {
    interval: Duration,
    since: Instant,
    last: String,
}

impl Throttle {
    /// Passes the first message after `interval` from `now`.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Throttle { interval, since: now, last: String::new() }
    }

    /// Returns true if `message` is to be shown now.
    pub(super) fn lets(&mut self, message: &str, now: Instant) -> bool {
        let lets = message != self.last && now.duration_since(self.since) >= self.interval;
        if lets {
            self.since = now;
            message.clone_into(&mut self.last);
        }
        lets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_controls_no_terminal() {
        assert_eq!(printable("a\tb\nc é".to_owned()), "a\tb\nc é");
        assert_eq!(printable("\u{1b}]0;x\u{7}\u{9b}2J\r".to_owned()), "\u{fffd}]0;x\u{fffd}\u{fffd}2J\u{fffd}");
    }

    #[test]
    fn durations_are_short() {
        for (millis, text) in [(0, "0.0s"), (812, "0.8s"), (59_999, "59.9s"), (60_000, "1m00s"), (125_000, "2m05s")] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn per_cent_of_what_is_known() {
        assert_eq!(percent(None), None);
        assert_eq!(percent(Some((3, 0))), None);
        assert_eq!(percent(Some((1, 3))), Some(33));
        assert_eq!(percent(Some((5, 3))), Some(100));
        assert_eq!(percent(Some((u64::MAX, u64::MAX))), Some(100));
    }

    #[test]
    fn a_throttle_lets_news_through_once_in_a_while() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut throttle = Throttle::new(second * 3, now);
        assert!(!throttle.lets("a", now + second));
        assert!(throttle.lets("a", now + second * 3));
        assert!(!throttle.lets("b", now + second * 4));
        assert!(!throttle.lets("a", now + second * 9));
        assert!(throttle.lets("b", now + second * 9));
    }

    #[test]
    fn causes_are_for_the_curious() {
        let (hints, causes) = (["do this".to_owned()], ["below".to_owned()]);
        assert_eq!(error("it", &hints, &causes, false), ["it", "  -> do this"]);
        assert_eq!(error("it", &hints, &causes, true), ["it", "  caused by: below", "  -> do this"]);
    }
}
