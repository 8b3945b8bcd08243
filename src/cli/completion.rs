//! `kcl completion`, and the answers to the shells that it prepares.

use std::path::Path;
use std::process::ExitCode;

use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::output::line;
use crate::error::{Error, Id, Result};

/// The variable by which a shell asks kcl what may come next.
const VARIABLE: &str = "KCL_COMPLETE";

/// The options of `completion`.
#[derive(clap::Args)]
#[command(after_help = "\
bash:        echo 'source <(kcl completion bash)' >>~/.bashrc
zsh:         echo 'source <(kcl completion zsh)' >>~/.zshrc, after compinit
fish:        kcl completion fish >~/.config/fish/completions/kcl.fish
PowerShell:  kcl completion powershell | Out-String | Invoke-Expression, in $PROFILE")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script that makes a shell ask kcl.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let failed = |why: String| Error::new(Id::Internal, format!("the script cannot be made: {why}"));
    let shells = Shells::builtins();
    let name = args.shell.to_string();
    let shell = shells.completer(&name).ok_or_else(|| failed(format!("{name} is not supported")))?;
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "kcl", "kcl", &own_name(), &mut script)
        .map_err(|error| failed(error.to_string()))?;
    line(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Answers a shell that asks what may come next, and ends this process then.
pub(super) fn answer(command: fn() -> clap::Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).bin("kcl").complete();
}

/// Returns the name by which a shell finds this program: an absolute path if it was called by a path.
fn own_name() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let path = Path::new(&called);
    match (path.components().count() > 1).then(|| std::env::current_exe().ok()).flatten() {
        Some(path) => path.to_string_lossy().into_owned(),
        None => "kcl".to_owned(),
    }
}
