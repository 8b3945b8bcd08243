//! `kcl completion`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::line;
use crate::error::Result;

/// The options of `completion`.
#[derive(clap::Args)]
#[command(after_help = "For bash: source <(kcl completion bash)")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run<C: CommandFactory>(args: &Args) -> Result<ExitCode> {
    // The generator panics on an error of what it writes to.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "kcl", &mut script);
    line(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}
