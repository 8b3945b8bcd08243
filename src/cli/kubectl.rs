//! `kcl kubectl`

use std::ffi::OsString;
use std::process::ExitCode;

use crate::app::App;
use crate::cluster;
use crate::error::Result;

/// The options of `kubectl`.
#[derive(clap::Args)]
pub struct Args {
    /// The arguments of kubectl, after --
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

/// Replaces this process by kubectl.
pub fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    let client = cluster::kubectl(app, profile)?;
    Err(cluster::become_client(&client.program, &args.arguments, &client.kubeconfig))
}
