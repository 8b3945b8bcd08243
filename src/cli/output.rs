//! Data for people or as JSON. Data goes to stdout, everything else to stderr.

use std::io::{ErrorKind, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::error::{Error, Id, Result};

/// The format of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// Text for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Id::Internal, format!("the output cannot be written as JSON: {error}")))?;
    line(&text);
    Ok(())
}

/// Prints a line of data. If the reader has closed its end, as `head` does, kcl ends silently like other programs; data
/// that is lost otherwise, as on a full disk, ends it with an error.
pub(super) fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        std::process::exit(i32::from(lost(&error)));
    }
}

/// Reports that data could not be printed, and returns the exit code for it.
pub(super) fn lost(error: &std::io::Error) -> u8 {
    if error.kind() == ErrorKind::BrokenPipe {
        return 0;
    }
    let error = Error::new(Id::FileUnwritable, format!("standard output cannot be written: {error}"));
    // If nobody hears of it, there is the exit code.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    error.id.exit_code()
}

/// Prints a table.
pub(super) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for row in table.lines() {
        line(row.trim());
    }
}
