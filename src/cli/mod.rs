//! The command line: one file for each verb, with its arguments and its output, without logic.

mod addons;
mod artifacts;
mod browser;
mod bundle;
mod ca;
mod candidates;
mod certs;
mod completion;
mod config;
mod cp;
mod dashboard;
mod delete;
mod drivers;
mod habits;
mod helm;
mod image;
mod kubectl;
mod logs;
mod mount;
mod node;
mod output;
mod policy;
mod pool;
mod profile;
mod run;
mod service;
mod ssh;
mod start;
mod status;
mod stop;
mod tunnel;
mod update_context;
mod version;

use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};
use kcl_driver_local::process;

use crate::app::App;
use crate::cluster;
use crate::config::{Overrides, Source};
use crate::error::{Error, Id, Result};
use crate::progress;
use crate::state::{Paths, Store};
use output::Output;

/// Real multi-node Kubernetes on this computer, in seconds.
#[derive(Parser)]
#[command(
    name = "kcl",
    version,
    max_term_width = 100,
    after_help = "\
First steps:
  kcl start                      create a cluster of one node and point kubectl at it
  kcl kubectl -- get pods -A     talk to it; you need no kubectl of your own
  kcl start --nodes 3 -p trial   a second cluster beside it, of three nodes
  kcl delete --all               remove every trace

`kcl help <COMMAND>` explains a command. The name of a cluster is its profile; the default is \"kcl\"."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// The cluster to work on [env: KCL_PROFILE] [default: kcl]
    #[arg(short, long, global = true, value_name = "NAME", add = candidates::profiles())]
    profile: Option<String>,

    /// Print more details; give it twice for even more (RUST_LOG takes precedence)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Verb {
    /// Create a cluster, or start a stopped one; running nodes are left alone
    Start(Box<start::Args>),
    /// Stop a cluster and keep its data, addresses and certificates
    Stop(stop::Args),
    /// Delete a cluster and everything that belongs to it
    Delete(delete::Args),
    /// Run a command with a new cluster of its own, which is deleted afterwards
    Run(Box<run::Args>),
    /// Keep spare clusters ready for `run`
    #[command(subcommand)]
    Pool(pool::Verb),
    /// Show the status of a cluster, also as an exit code
    Status(status::Args),
    /// List, add, delete, start, stop, cordon and drain nodes of a cluster
    #[command(subcommand)]
    Node(node::Verb),
    /// List all clusters
    #[command(subcommand)]
    Profile(profile::Verb),
    /// List, enable, disable and configure addons
    #[command(subcommand)]
    Addons(addons::Verb),
    /// Load, list, tag, remove, save, pull, push, import and build images
    #[command(subcommand)]
    Image(image::Verb),
    /// Copy files and directories to and from nodes
    Cp(cp::Args),
    /// Mount directories of this host in all nodes, or list the mounts
    Mount(mount::Args),
    /// Run kubectl against the cluster; it need not be installed
    Kubectl(kubectl::Args),
    /// Run Helm against the cluster; it need not be installed
    Helm(helm::Args),
    /// Print the URL of a service and open it in a browser, or list all services
    Service(service::Args),
    /// List the services of type LoadBalancer, which need no tunnel
    Tunnel(tunnel::Args),
    /// Ask which connections NetworkPolicies allow
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Open the cluster's web console in a browser
    Dashboard(dashboard::Args),
    /// Open a shell in a node, or run a command there
    Ssh(ssh::Args),
    /// Show the logs of Kubernetes, or pack all of them for a bug report
    Logs(logs::Args),
    /// Point kubectl at the cluster: write it into the kubeconfig again
    UpdateContext(update_context::Args),
    /// Print the certificate of a cluster's CA, or make this system trust it
    Ca(ca::Args),
    /// List the certificates of a cluster, and issue new ones
    #[command(subcommand)]
    Certs(certs::Verb),
    /// List the drivers, and what is missing for them on this host
    Drivers(drivers::Args),
    /// Fetch, list and clean the binaries and images that clusters are made from
    #[command(subcommand)]
    Artifacts(artifacts::Verb),
    /// Pack everything that a host without a network needs into one file
    #[command(subcommand)]
    Bundle(bundle::Verb),
    /// Show the settings of a cluster
    #[command(subcommand)]
    Config(config::Verb),
    /// Print a completion script for a shell
    Completion(completion::Args),
    /// Print the versions of kcl and of Kubernetes
    Version(version::Args),
    /// Delete a cluster when its lifetime ends
    #[command(hide = true)]
    Guard,
    /// Serve services of a cluster on this host's loopback
    #[command(hide = true)]
    Loopback,
    /// Renew the certificates of a cluster
    #[command(hide = true)]
    Renewal,
}

impl Verb {
    /// Returns true if progress is to be reported as JSON events.
    fn json_events(&self) -> bool {
        match self {
            Verb::Start(args) => args.output == Output::Json && !args.dry_run,
            Verb::Stop(args) => args.output == Output::Json,
            Verb::Delete(args) => args.output == Output::Json,
            Verb::Addons(verb) => verb.json_events(),
            Verb::Node(verb) => verb.json_events(),
            _ => false,
        }
    }

    /// Runs the verb on the cluster that was `given`, or else on the default one.
    async fn run(&self, app: &App, given: Option<String>) -> Result<ExitCode> {
        let source = Source::read(&Overrides { profile: given.clone(), ..Overrides::default() })?;
        let profile = source.profile_name();
        match self {
            // For these a cluster file may name the cluster too.
            Verb::Start(args) => start::run(app, given, args).await,
            Verb::Run(args) => run::run(app, given, args).await,
            Verb::Config(verb) => config::run(app, given, verb),
            Verb::Pool(verb) => pool::run(app, verb).await,
            Verb::Stop(_) => stop::run(app, profile).await,
            Verb::Delete(args) => delete::run(app, profile, args).await,
            Verb::Status(args) => status::run(app, profile, args).await,
            Verb::Node(verb) => node::run(app, profile, verb).await,
            Verb::Profile(verb) => profile::run(app, profile, verb).await,
            Verb::Addons(verb) => addons::run(app, profile, verb).await,
            Verb::Image(verb) => image::run(app, profile, verb).await,
            Verb::Cp(args) => cp::run(app, profile, args).await,
            Verb::Mount(args) => mount::run(app, profile, args).await,
            Verb::Kubectl(args) => kubectl::run(app, profile, args).await,
            Verb::Helm(args) => helm::run(app, profile, args).await,
            Verb::Service(args) => service::run(app, profile, args).await,
            Verb::Tunnel(args) => tunnel::run(app, profile, args).await,
            Verb::Policy(verb) => policy::run(app, profile, verb).await,
            Verb::Dashboard(args) => dashboard::run(app, profile, args).await,
            Verb::Ssh(args) => ssh::run(app, profile, args).await,
            Verb::Logs(args) => logs::run(app, profile, args).await,
            Verb::UpdateContext(args) => update_context::run(app, profile, args).await,
            Verb::Ca(args) => ca::run(app, profile, args),
            Verb::Certs(verb) => certs::run(app, profile, verb).await,
            Verb::Drivers(args) => drivers::run(app, args).await,
            Verb::Artifacts(verb) => artifacts::run(app, verb).await,
            Verb::Bundle(verb) => bundle::run(app, verb).await,
            Verb::Completion(args) => completion::run(args),
            Verb::Version(args) => version::run(args),
            Verb::Guard => cluster::guard(app, profile).await.map(|()| ExitCode::SUCCESS),
            Verb::Loopback => cluster::serve_loopback(app, profile).await.map(|()| ExitCode::SUCCESS),
            Verb::Renewal => cluster::keep_certificates(app, profile).await.map(|()| ExitCode::SUCCESS),
        }
    }
}

/// The time for threads to end before the process does. Idle threads end at once, rather than while exit(3) tears down the
/// libraries that they used (libvirt and GLib free thread-local data when a thread ends); the others are not waited for.
const LAST_WORK: Duration = Duration::from_millis(50);

/// Parses the command line, runs the verb and returns the exit code.
pub fn main() -> ExitCode {
    completion::answer(Cli::command);
    cluster::keep_sudo_password();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(error),
    };
    let progress = progress::choose(cli.verb.json_events(), cli.verbose);
    // Files of kcl's own have the modes that they need, whatever the user's mask.
    process::fix_umask();
    // One crypto backend for everything; a second call would only find it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = runtime().and_then(|runtime| {
        let store = Store::open(Paths::from_env()?);
        let app = App { store, progress: progress.clone() };
        let result = runtime.block_on(cli.verb.run(&app, cli.profile.clone()));
        runtime.shutdown_timeout(LAST_WORK);
        result
    });
    let code = result.unwrap_or_else(|error| {
        progress.error(&error);
        ExitCode::from(error.id.exit_code())
    });
    match progress.lost() {
        Some(error) if code == ExitCode::SUCCESS => ExitCode::from(output::lost(&error)),
        _ => code,
    }
}

/// Prints help and versions, which clap treats as errors, and reports invalid command lines. Their exit code is that of all
/// invalid input rather than clap's 2, which has another meaning for `kcl status`.
fn misread(mut error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return error.print().map_or_else(|error| ExitCode::from(output::lost(&error)), |()| ExitCode::SUCCESS);
    }
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let json = asks_for_json(arguments.iter().cloned());
    let advice = habits::hint(&error, &arguments);
    suggest_visible(&mut error);
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    match advice {
        Some(advice) => {
            let found = text.lines().next().unwrap_or_default();
            progress::choose(json, 0).error(&Error::new(Id::FlagInvalid, found).hint(advice));
        }
        None if json => progress::choose(true, 0).error(&Error::new(Id::FlagInvalid, text)),
        None => drop(error.print()),
    }
    ExitCode::from(Id::FlagInvalid.exit_code())
}

/// Removes verbs from clap's suggestions that kcl runs only by itself.
fn suggest_visible(error: &mut clap::Error) {
    let Some(suggested) = error.remove(ContextKind::SuggestedSubcommand) else { return };
    let command = Cli::command();
    let is_visible = |name: &String| command.find_subcommand(name).is_none_or(|verb| !verb.is_hide_set());
    let left = match suggested {
        ContextValue::Strings(names) => names.into_iter().filter(is_visible).collect(),
        ContextValue::String(name) => Some(name).filter(is_visible).into_iter().collect(),
        _ => Vec::new(),
    };
    if !left.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(left));
    }
}

/// Returns true if an invalid command line asks for JSON.
fn asks_for_json(arguments: impl Iterator<Item = String>) -> bool {
    let words: Vec<String> = arguments.take_while(|word| word != "--").collect();
    let parted = words.windows(2).any(|pair| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json");
    parted || words.iter().any(|word| matches!(word.as_str(), "-ojson" | "-o=json" | "--output=json"))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::new(Id::Internal, format!("the runtime cannot be started: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn programs_are_recognized_also_in_wrong_command_lines() {
        let asks = |line: &str| super::asks_for_json(line.split(' ').map(str::to_owned));
        for line in ["start -o json --bogus", "--bogus start --output json", "start --output=json x", "start -ojson"] {
            assert!(asks(line), "{line}");
        }
        for line in ["start --bogus", "start -o text json", "kubectl -- get nodes -o json"] {
            assert!(!asks(line), "{line}");
        }
    }
}
