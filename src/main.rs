//! The `kcl` command: parses, dispatches and sets the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    kcl::cli::main()
}
