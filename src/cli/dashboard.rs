//! `kcl dashboard`

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use kcl_console::Identity;
use serde_json::json;

use super::output::{self, Output};
use crate::cluster::{self, App, DashboardOptions};
use crate::error::{Error, Family, Result};

/// How long a browser's starter is watched: most end at once and say whether there was a browser.
const OPENING: Duration = Duration::from_secs(2);

/// How the console is opened.
#[derive(clap::Args)]
#[command(after_help = "The console is served on this computer only, by a kcl in the background, which ends with the \
                        cluster or when it has not been used for hours. A link signs in once. The page may do what the \
                        user of the kubeconfig may; with --token or --as, what another user may.")]
pub struct Args {
    /// Print a link and open no browser
    #[arg(long)]
    url: bool,

    /// The port on loopback [default: any that is free]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// Sign in by a bearer token instead; - reads it from standard input
    #[arg(long, value_name = "TOKEN", conflicts_with = "as_user")]
    token: Option<String>,

    /// Sign in as another user, whom this one may impersonate
    #[arg(long = "as", value_name = "USER", id = "as_user")]
    as_user: Option<String>,

    /// A group of that user; may be given several times
    #[arg(long = "as-group", value_name = "GROUP", requires = "as_user")]
    as_groups: Vec<String>,

    /// How it is told
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    /// Be the server.
    #[arg(long, hide = true)]
    serve: bool,
}

/// Opens it.
pub async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    if args.serve {
        cluster::serve_dashboard(app, profile, args.port).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let url = cluster::dashboard(app, profile, DashboardOptions { identity: identity(args)?, port: args.port }).await?;
    match args.output {
        Output::Json => output::json(&json!({ "Profile": profile, "URL": url }))?,
        Output::Text if args.url || !open(&url).await => output::line(&url),
        Output::Text => app.progress.info(format!("The console of \"{profile}\" is open in your browser")),
    }
    Ok(ExitCode::SUCCESS)
}

fn identity(args: &Args) -> Result<Identity> {
    let mut token = args.token.clone();
    if token.as_deref() == Some("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| {
            Error::new(Family::Usage, format!("--token -: no token can be read from standard input: {error}"))
        })?;
        token = Some(text);
    }
    Ok(match (token, &args.as_user) {
        (Some(token), _) if token.trim().is_empty() => {
            return Err(Error::new(Family::Usage, "--token: it is empty")
                .hint("make one with: kcl kubectl -- create token SERVICE-ACCOUNT"));
        }
        (Some(token), _) => Identity::Token(token.trim().to_owned()),
        (None, Some(user)) => Identity::As { user: user.clone(), groups: args.as_groups.clone() },
        (None, None) => Identity::Own,
    })
}

/// Opens a browser, where there is a desktop that has one. False where there is none.
async fn open(url: &str) -> bool {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    if !desktop {
        return false;
    }
    // A group of its own: Ctrl-C is for kcl, not for a browser that this starts.
    let opener = Command::new("xdg-open")
        .arg(url)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut opener) = opener else { return false };
    let (said, says) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || said.send(opener.wait()));
    match tokio::time::timeout(OPENING, says).await {
        Ok(ended) => matches!(ended, Ok(Ok(status)) if status.success()),
        // It is the browser itself.
        Err(_) => true,
    }
}
