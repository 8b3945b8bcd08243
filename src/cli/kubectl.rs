//! `kcl kubectl`

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::cluster::{self, App};
use crate::error::{Error, Family, Result};

/// What kubectl is told.
#[derive(clap::Args)]
pub struct Args {
    /// kubectl's own arguments, after a --
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

/// Becomes kubectl, so that signals, the terminal and the exit code are its own.
pub fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let client = cluster::kubectl(app, profile)?;
    let error = Command::new(&client.program).args(&args.arguments).env("KUBECONFIG", &client.kubeconfig).exec();
    Err(Error::new(Family::Artifact, format!("{} does not run: {error}", client.program.display()))
        .hint("get it anew with: kcl artifacts fetch"))
}
