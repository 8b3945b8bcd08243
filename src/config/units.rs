//! Sizes of memory and lifetimes as people write them.

use std::time::Duration;

use jiff::fmt::friendly::SpanParser;
use jiff::{SignedDuration, SpanRelativeTo};

/// Units are powers of 1024, and a number without one is in MiB, as in minikube.
const SIZES: parse_size::Config = parse_size::Config::new().with_binary().with_default_factor(1 << 20);

/// Parses bytes from `2g`, `2048m`, `2Gi`, `1.5GB` or, as in minikube, `2048` for MiB. All units are powers of 1024.
/// The error says what is right.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    SIZES.parse_size(text).map_err(|_| {
        format!("\"{text}\" is not a size of memory: write it as \"2g\", \"2048m\", \"2Gi\" or \"2048\" (MiB)")
    })
}

/// Formats a size as the shortest exact text, which [`parse_memory`] reads: `2Gi`, `1536Mi`, `1000b`.
pub fn format_memory(bytes: u64) -> String {
    for (shift, unit) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}b")
}

/// The days of a year of a lifetime.
const YEAR: i64 = 365;

/// The longest lifetime, in seconds.
const LONGEST: u64 = 1000 * YEAR as u64 * 86_400;

/// Parses a lifetime from `26280h`, `30d`, `1y` (365 days), `1h30m`, … The error says what is right.
pub fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = exact(text)
        .ok_or_else(|| format!("\"{text}\" is not a lifetime: write it as \"26280h\", \"30d\" or \"1y\""))?;
    // Later than that calendars end.
    if lifetime.as_secs() > LONGEST {
        return Err(format!("\"{text}\" is too long for a lifetime: at most \"1000y\""));
    }
    Ok(lifetime)
}

/// Parses a span of whole seconds; none for one of months, which differ.
fn exact(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text.trim()).ok()?;
    let years = SignedDuration::from_hours(i64::from(span.get_years()) * YEAR * 24);
    let rest = span.try_years(0).ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    let lifetime = Duration::try_from(years.checked_add(rest)?).ok()?;
    (lifetime.subsec_nanos() == 0).then_some(lifetime)
}

/// Formats a lifetime in whole hours, or else in seconds; [`parse_lifetime`] reads it.
pub fn format_lifetime(lifetime: Duration) -> String {
    match lifetime.as_secs() {
        seconds if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds => format!("{seconds}s"),
    }
}

/// Serializes lifetimes as texts.
pub(super) mod lifetime {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::config) fn serialize<S: Serializer>(lifetime: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_lifetime(*lifetime))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::parse_lifetime(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_all_the_usual_ways() {
        let gib = 1u64 << 30;
        for text in ["2g", "2G", "2gb", "2Gi", "2GiB", "2 g", "2048m", "2048", "2048Mi", "2.0g"] {
            assert_eq!(parse_memory(text), Ok(2 * gib), "{text}");
        }
        assert_eq!(parse_memory("1.5g"), Ok(gib + gib / 2));
        assert_eq!(parse_memory("1.25GB"), Ok(gib + gib / 4));
        assert_eq!(parse_memory("1000b"), Ok(1000));
    }

    #[test]
    fn wrong_memory_says_what_is_right() {
        for text in ["", "g", "lots", "2x", "-2g", "2..0g", "99999999999999999999", "99999999999t"] {
            let error = parse_memory(text).unwrap_err();
            assert!(error.contains(&format!("\"{text}\"")) && error.contains("\"2g\""), "{error}");
        }
    }

    #[test]
    fn memory_goes_round() {
        for bytes in [1, 1000, 1 << 10, 1 << 20, 1536 << 20, 2 << 30, 3 << 40] {
            assert_eq!(parse_memory(&format_memory(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn lifetimes_are_read_and_go_round() {
        let hour = 3600;
        for (text, seconds) in [
            ("26280h", 26_280 * hour),
            ("3y", 26_280 * hour),
            ("30d", 720 * hour),
            ("1h30m", 5400),
            ("90s", 90),
            ("26280h0m0s", 26_280 * hour),
            ("3 years", 26_280 * hour),
            ("1y 2w", 379 * 24 * hour),
        ] {
            let lifetime = parse_lifetime(text).unwrap();
            assert_eq!(lifetime, Duration::from_secs(seconds), "{text}");
            assert_eq!(parse_lifetime(&format_lifetime(lifetime)), Ok(lifetime));
        }
        for text in ["", "h", "3", "3mo", "-1h", "0.5s", "99999999999999999999h", "999999999999999999y", "1µ"] {
            assert!(parse_lifetime(text).unwrap_err().contains("\"26280h\""), "{text}");
        }
        assert!(parse_lifetime("1000y").is_ok());
        assert!(parse_lifetime("1001y").unwrap_err().contains("too long"));
    }
}
