//! Values of single flags: they are read by a rule, and an error names the flag.

use super::validate::Checked;
use crate::error::{Error, Id, Result};

/// Makes an error that names the flag or variable whose value breaks a rule.
pub(super) fn said_by(who: &str) -> impl Fn(String) -> Error {
    move |problem| Error::new(Id::FlagInvalid, format!("{who}: {problem}"))
}

/// Reads the value of a flag, if it is given.
pub(super) fn read<T>(text: Option<&str>, flag: &str, rule: impl Fn(&str) -> Checked<T>) -> Result<Option<T>> {
    text.map(rule).transpose().map_err(said_by(flag))
}

/// Reads the values of a flag that may be given several times, with commas or without.
pub(super) fn read_list<T>(texts: &[String], flag: &str, rule: impl Fn(&str) -> Checked<T>) -> Result<Vec<T>> {
    texts.iter().flat_map(|text| text.split(',')).map(|text| rule(text.trim()).map_err(said_by(flag))).collect()
}
