//! Rules for single words: names, labels, domains.

use crate::error::{Error, Family, Result};

/// The longest name of a cluster, so that node names and link names made of it fit.
const MAX_NAME: usize = 40;

/// Checks the name of a cluster: a DNS label of at most 40 characters.
pub fn check_name(name: &str) -> Result<()> {
    if is_dns_label(name) && name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(Error::new(Family::Usage, format!("\"{name}\" is not a name for a cluster"))
        .hint(format!("use 1 to {MAX_NAME} lower-case letters, digits and '-', with no '-' at either end")))
}

/// A label as of RFC 1123.
pub(super) fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
