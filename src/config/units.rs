//! Sizes of memory and lifetimes as people write them.

use std::time::Duration;

/// Parses bytes from `2g`, `2048m`, `2Gi`, `2GB` or, as in minikube, `2048` for MiB. All units are powers of 1024.
/// The error says what is right.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("\"{text}\" is not a size of memory: write it as \"2g\", \"2048m\", \"2Gi\" or \"2048\" (MiB)");
    let (number, unit) = split_unit(text.trim());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mi" | "mib" => 20,
        "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let tenths: u64 = match fraction {
        "" if number.ends_with('.') => return Err(wrong()),
        "" => 0,
        digit if digit.len() == 1 => digit.parse().map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    whole
        .checked_mul(10)
        .and_then(|value| value.checked_add(tenths))
        .and_then(|value| value.checked_mul(1 << shift))
        .map(|value| value / 10)
        .ok_or_else(wrong)
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

/// The longest lifetime, in seconds.
const LONGEST: u64 = 1000 * 365 * 86_400;

/// Parses a lifetime from `26280h`, `30d`, `1y` (365 days), `1h30m`, … The error says what is right.
pub fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a lifetime: write it as \"26280h\", \"30d\" or \"1y\"");
    let mut rest = text.trim();
    let mut seconds: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'y' => 365 * 86_400,
            _ => return Err(wrong()),
        };
        seconds = number.checked_mul(factor).and_then(|value| seconds.checked_add(value)).ok_or_else(wrong)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    // Later than that calendars end.
    if seconds > LONGEST {
        return Err(format!("\"{text}\" is too long for a lifetime: at most \"1000y\""));
    }
    Ok(Duration::from_secs(seconds))
}

/// Formats a lifetime in whole hours, or else in seconds; [`parse_lifetime`] reads it.
pub fn format_lifetime(lifetime: Duration) -> String {
    match lifetime.as_secs() {
        seconds if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds => format!("{seconds}s"),
    }
}

/// Splits `2.5g` into its number and its unit.
fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..at], text[at..].trim_start())
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
        assert_eq!(parse_memory("1000b"), Ok(1000));
    }

    #[test]
    fn wrong_memory_says_what_is_right() {
        for text in ["", "g", "lots", "2x", "-2g", "2..0g", "2.g", "1.25g", "99999999999999999999", "99999999999t"] {
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
        ] {
            let lifetime = parse_lifetime(text).unwrap();
            assert_eq!(lifetime, Duration::from_secs(seconds), "{text}");
            assert_eq!(parse_lifetime(&format_lifetime(lifetime)), Ok(lifetime));
        }
        for text in ["", "h", "3", "3 years", "-1h", "99999999999999999999h", "999999999999999999y", "1µ"] {
            assert!(parse_lifetime(text).unwrap_err().contains("\"26280h\""), "{text}");
        }
        assert!(parse_lifetime("1000y").is_ok());
        assert!(parse_lifetime("1001y").unwrap_err().contains("too long"));
    }
}
