//! Data for people or as JSON. Data goes to stdout, everything else to stderr.

use std::io::Write;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::error::{Error, Family, Result};

/// The format of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Text for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Family::Internal, format!("the output cannot be written as JSON: {error}")))?;
    line(&text);
    Ok(())
}

/// Prints a line of data. If the reader has closed its end, as `head` does, kcl ends silently like other programs.
pub fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a table.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for row in table.lines() {
        line(row.trim());
    }
}
