//! `kcl dashboard`

use std::io::Read as _;
use std::process::ExitCode;

use kcl_console::Identity;
use serde_json::json;

use super::browser;
use super::output::{self, Output};
use crate::app::App;
use crate::cluster::{self, DashboardOptions};
use crate::error::{Error, Id, Result};

/// The options of `dashboard`.
#[derive(clap::Args)]
#[command(after_help = "A kcl process in the background serves the console on this computer only. It ends with the \
                        cluster, or after hours without use. A link signs in once. The page has the rights of the \
                        kubeconfig's user, or with --token or --as those of another user.")]
pub(super) struct Args {
    /// Print the link and open no browser
    #[arg(long)]
    url: bool,

    /// The port on loopback [default: any free port]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// Sign in with a bearer token; - reads it from standard input
    #[arg(long, value_name = "TOKEN", conflicts_with = "as_user")]
    token: Option<String>,

    /// Sign in as another user, by impersonation
    #[arg(long = "as", value_name = "USER", id = "as_user")]
    as_user: Option<String>,

    /// A group of that user; may be given several times
    #[arg(long = "as-group", value_name = "GROUP", requires = "as_user")]
    as_groups: Vec<String>,

    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    /// Run the server
    #[arg(long, hide = true)]
    serve: bool,
}

/// Opens the console.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    if args.serve {
        cluster::serve_dashboard(app, profile, args.port).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let url = cluster::dashboard(app, profile, DashboardOptions { identity: identity(args)?, port: args.port }).await?;
    match args.output {
        Output::Json => output::json(&json!({ "Profile": profile, "URL": url }))?,
        Output::Text if args.url || !open(app, profile, &url).await => output::line(&url),
        Output::Text => {
            app.progress.info(format!("The console of \"{profile}\" is open in your browser"));
            app.progress.info(format!("If it shows nothing, open this link: kcl dashboard -p {profile} --url"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a browser at a file that leads to the link: the arguments of a program are shown to every user of this computer,
/// and the link is the administrator's.
async fn open(app: &App, profile: &str, url: &str) -> bool {
    match cluster::dashboard_page(app, profile, url) {
        Ok(Some(page)) => browser::open(page).await,
        Ok(None) => false,
        Err(error) => {
            app.progress.warn(error.to_string());
            false
        }
    }
}

fn identity(args: &Args) -> Result<Identity> {
    let mut token = args.token.clone();
    if token.as_deref() == Some("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| {
            Error::new(Id::FlagInvalid, format!("--token -: the token cannot be read from standard input: {error}"))
        })?;
        token = Some(text);
    }
    Ok(match (token, &args.as_user) {
        (Some(token), _) if token.trim().is_empty() => {
            return Err(Error::new(Id::FlagInvalid, "--token: the token is empty")
                .hint("create one with: kcl kubectl -- create token SERVICE-ACCOUNT"));
        }
        (Some(token), _) => Identity::Token(token.trim().to_owned()),
        (None, Some(user)) => Identity::As { user: user.clone(), groups: args.as_groups.clone() },
        (None, None) => Identity::Own,
    })
}
