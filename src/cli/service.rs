//! `kcl service`

use std::process::ExitCode;

use super::browser;
use super::output::{self, Output};
use crate::app::App;
use crate::cluster::{self, ServiceRow};
use crate::error::{Error, Id, Result};

/// The options of `service`.
#[derive(clap::Args)]
#[command(subcommand_negates_reqs = true, subcommand_precedence_over_arg = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// The service
    #[arg(required = true)]
    name: Option<String>,

    /// Its namespace [default: default; of list: all]
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,

    /// Print the URLs, one per line, and open no browser
    #[arg(long)]
    url: bool,

    /// Begin all URLs with https, whatever the names of the ports
    #[arg(long)]
    https: bool,

    /// The format of the output
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Output,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List the services and their URLs for this host
    List,
}

/// Lists the services, or shows and opens one.
pub(super) async fn run(app: &App, profile: &str, args: &Args) -> Result<ExitCode> {
    match (&args.verb, &args.name) {
        (Some(Verb::List), _) => list(app, profile, args.namespace.as_deref(), args.output).await?,
        (None, Some(name)) => one(app, profile, name, args).await?,
        (None, None) => return Err(Error::new(Id::FlagInvalid, "a service must be named")),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(app: &App, profile: &str, namespace: Option<&str>, output: Output) -> Result<()> {
    let rows = cluster::services(app, profile, namespace).await?;
    match output {
        Output::Json => output::json(&rows)?,
        Output::Text => output::table(
            ["NAMESPACE", "NAME", "TYPE", "PORTS", "URL"],
            rows.into_iter().map(|row| {
                let (ports, urls) = (row.port_names.join(" "), row.urls.join(" "));
                [row.namespace, row.name, row.r#type, ports, urls]
            }),
        ),
    }
    Ok(())
}

async fn one(app: &App, profile: &str, name: &str, args: &Args) -> Result<()> {
    let namespace = args.namespace.as_deref().unwrap_or("default");
    let row = cluster::service(app, profile, namespace, name, args.https).await?;
    match args.output {
        Output::Json => output::json(&row)?,
        Output::Text => row.urls.iter().for_each(|url| output::line(url)),
    }
    if args.output == Output::Text && !args.url {
        open(app, &row).await;
    }
    Ok(())
}

/// Opens the first page of a service in a browser, if there is one.
pub(super) async fn open(app: &App, row: &ServiceRow) {
    if let Some(url) = row.urls.iter().find(|url| url.starts_with("http"))
        && browser::open(url).await
    {
        app.progress.info(format!("{url} is open in your browser"));
    }
}
