//! `kcl completion`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

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
    clap_complete::generate(args.shell, &mut C::command(), "kcl", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
