//! How data is printed: for people or as JSON. Data goes to stdout, everything else to stderr.

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::error::{Error, Family, Result};

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Family::Internal, format!("the output cannot be written as JSON: {error}")))?;
    println!("{text}");
    Ok(())
}

/// Prints a table.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for line in table.lines() {
        println!("{}", line.trim());
    }
}
