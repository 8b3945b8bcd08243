//! `kcl ssh`

use std::io::IsTerminal;
use std::process::ExitCode;

use kcl_driver_api::{Exec, Stdin, Stdout};

use super::candidates;
use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The options of `ssh`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The node [default: the first control plane]
    #[arg(short, long, value_name = "NAME", add = candidates::nodes())]
    node: Option<String>,

    /// A command to run instead of a shell; a single word is a line for a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Opens a shell, or runs the command; its exit code is kcl's.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let machine = cluster::machine(app, profile, args.node.as_deref()).await?;
    let argv = match args.command.as_slice() {
        [] => vec!["bash".to_owned(), "-l".to_owned()],
        [line] => vec!["sh".to_owned(), "-c".to_owned(), line.clone()],
        words => words.to_vec(),
    };
    let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let term = std::env::var("TERM").map(|term| ("TERM".to_owned(), term));
    let env = term.into_iter().collect();
    let exec = Exec { argv, env, stdin: Stdin::Inherit, stdout: Stdout::Inherit, tty };
    let output = machine.exec(exec).await?;
    Ok(ExitCode::from(u8::try_from(output.code).unwrap_or(255)))
}
