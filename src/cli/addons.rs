//! `kcl addons`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, json};

use super::artifacts::Source;
use super::candidates;
use super::output::{self, Output};
use super::service;
use super::start::seconds;
use crate::addons::{self, Value};
use crate::app::App;
use crate::cluster::{self, AddonInfo, AddonOptions};
use crate::error::{Error, Id, Result};

/// The subcommands of `addons`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List all addons and which of them the cluster has
    List {
        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Enable addons and wait until they are ready
    Enable {
        /// The names of addons; or one of your own, by its folder, archive or oci://HOST/NAME:TAG
        #[arg(value_name = "ADDON", required = true, add = candidates::addons())]
        addons: Vec<String>,

        #[command(flatten)]
        change: Change,
    },
    /// Disable addons: remove everything that they created, except data that users have stored
    Disable {
        /// The names of addons
        #[arg(value_name = "ADDON", required = true, add = candidates::addons())]
        addons: Vec<String>,

        /// Also remove data that users have stored
        #[arg(long)]
        data: bool,

        #[command(flatten)]
        change: Change,
    },
    /// Show the description, values and images of an addon
    Info {
        /// The addon
        #[arg(value_name = "ADDON", add = candidates::addons())]
        addon: String,

        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Change and save values of an addon; without values, show them
    Configure {
        /// The addon
        #[arg(value_name = "ADDON", add = candidates::addons())]
        addon: String,

        /// Values as NAME=VALUE; NAME= restores the default
        #[arg(value_name = "NAME=VALUE")]
        values: Vec<String>,

        #[command(flatten)]
        change: Change,
    },
    /// Open the page of an addon in a browser
    Open {
        /// The addon
        #[arg(value_name = "ADDON", add = candidates::addons())]
        addon: String,

        /// Print the URLs, one per line, and open no browser
        #[arg(long)]
        url: bool,
    },
    /// List the images of an addon
    Images {
        /// The addon
        #[arg(value_name = "ADDON", add = candidates::addons())]
        addon: String,

        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// The options of a change.
#[derive(clap::Args)]
pub(super) struct Change {
    /// Time to wait at most, in seconds or as 6m
    #[arg(long, value_name = "TIME", default_value = "6m", value_parser = seconds)]
    wait_timeout: Duration,

    #[command(flatten)]
    source: Source,

    /// Take artifacts from this bundle
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    bundle: Option<PathBuf>,

    /// The format of progress messages
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

impl Verb {
    /// Returns true if progress is to be reported as JSON events.
    pub(super) fn json_events(&self) -> bool {
        match self {
            Verb::Enable { change, .. } | Verb::Disable { change, .. } => change.output == Output::Json,
            // Without values it shows data instead.
            Verb::Configure { change, values, .. } => change.output == Output::Json && !values.is_empty(),
            Verb::List { .. } | Verb::Info { .. } | Verb::Open { .. } | Verb::Images { .. } => false,
        }
    }
}

impl Change {
    fn options(&self) -> AddonOptions {
        AddonOptions {
            artifacts: self.source.options(),
            way: self.source.way(self.bundle.as_deref()),
            wait_timeout: self.wait_timeout,
        }
    }
}

/// Runs the subcommand.
pub(super) async fn run(app: &App, profile: &str, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::List { output } => list(app, profile, *output)?,
        Verb::Enable { addons, change } => {
            let runs = cluster::enable(app, profile, addons, &change.options()).await?;
            later(app, profile, runs, &format!("{} will be there", addons.join(", ")));
        }
        Verb::Disable { addons, data, change } => {
            let runs = cluster::disable(app, profile, addons, *data, &change.options()).await?;
            later(app, profile, runs, &format!("{} will be removed", addons.join(", ")));
        }
        Verb::Info { addon, output } => info(&cluster::info(app, profile, addon)?, *output)?,
        Verb::Configure { addon, values, change } if values.is_empty() => {
            show_values(&cluster::info(app, profile, addon)?, change.output)?;
        }
        Verb::Configure { addon, values, change } => {
            let values = parse(&cluster::info(app, profile, addon)?, values)?;
            let runs = cluster::configure(app, profile, addon, values, &change.options()).await?;
            later(app, profile, runs, "the values will apply");
        }
        Verb::Open { addon, url } => {
            let row = cluster::addon_page(app, profile, addon).await?;
            row.urls.iter().for_each(|url| output::line(url));
            if !url {
                service::open(app, &row).await;
            }
        }
        Verb::Images { addon, output } => {
            let images = cluster::images_of_addon(app, profile, addon).await?;
            match output {
                Output::Json => output::json(&images)?,
                Output::Text => images.iter().for_each(|image| output::line(image)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn later(app: &App, profile: &str, runs: bool, what: &str) {
    if !runs {
        app.progress.info(format!("Cluster \"{profile}\" does not run: {what} at its next start"));
    }
}

fn list(app: &App, profile: &str, output: Output) -> Result<()> {
    let rows = cluster::addons(app, profile)?;
    match output {
        Output::Json => {
            let rows = rows.into_iter().map(|row| (row.name.clone(), json!(row)));
            output::json(&rows.collect::<Map<_, _>>())
        }
        Output::Text => {
            let rows =
                rows.into_iter().map(|row| [row.name, row.status.to_owned(), row.version, row.origin, row.title]);
            output::table(["ADDON", "STATUS", "VERSION", "ORIGIN", "DESCRIPTION"], rows);
            Ok(())
        }
    }
}

fn info(info: &AddonInfo, output: Output) -> Result<()> {
    let description = &info.addon.description;
    let status = if info.enabled { "enabled" } else { "disabled" };
    if output == Output::Json {
        return output::json(&json!({
            "Name": info.addon.name,
            "Title": description.title,
            "Version": description.version,
            "Status": status,
            "Origin": info.addon.origin,
            "Default": description.default,
            "Kubernetes": description.kubernetes.to_string(),
            "Needs": description.needs,
            "Images": info.images,
            "Values": values(info),
        }));
    }
    output::line(&format!("{} {}: {}", info.addon.name, description.version, description.title));
    let mut rows = vec![
        ["status".to_owned(), status.to_owned()],
        ["origin".to_owned(), info.addon.origin.clone()],
        ["Kubernetes".to_owned(), description.kubernetes.to_string()],
    ];
    if !description.needs.is_empty() {
        rows.push(["needs".to_owned(), description.needs.join(", ")]);
    }
    rows.push(["images".to_owned(), info.images.join(", ")]);
    for [key, value] in rows {
        output::line(&format!("  {key}: {value}"));
    }
    if !info.values.is_empty() {
        show_values(info, Output::Text)?;
    }
    Ok(())
}

fn values(info: &AddonInfo) -> Map<String, Value> {
    let value = |(name, (value, schema)): (&String, &(Value, addons::ValueSchema))| {
        let value = json!({
            "Value": value, "Default": schema.default, "Type": schema.kind.name(), "Description": schema.description,
        });
        (name.clone(), value)
    };
    info.values.iter().map(value).collect()
}

fn show_values(info: &AddonInfo, output: Output) -> Result<()> {
    match output {
        Output::Json => output::json(&values(info)),
        Output::Text => {
            output::table(
                ["NAME", "VALUE", "TYPE", "DESCRIPTION"],
                info.values.iter().map(|(name, (value, schema))| {
                    [name.clone(), text(value), schema.kind.name().to_owned(), schema.description.clone()]
                }),
            );
            Ok(())
        }
    }
}

/// Formats a value as `configure` reads it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Reads `NAME=VALUE` by the addon's types.
fn parse(info: &AddonInfo, texts: &[String]) -> Result<BTreeMap<String, Option<Value>>> {
    let wrong = |message: String| Error::new(Id::AddonInvalid, message);
    let mut values = BTreeMap::new();
    for text in texts {
        let (name, value) =
            text.split_once('=').ok_or_else(|| wrong(format!("\"{text}\" is not a value: write it as NAME=VALUE")))?;
        let value = match (value, info.values.get(name)) {
            ("", _) => None,
            // An unknown name is reported, with the known ones, when the change is made.
            (value, None) => Some(value.into()),
            (value, Some((_, schema))) => {
                Some(addons::parse_value(schema.kind, value).map_err(|problem| wrong(format!("{name}: {problem}")))?)
            }
        };
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}
