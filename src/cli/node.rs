//! `kcl node`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use kcl_node_spec::Role;

use super::artifacts::Source;
use super::candidates;
use super::output::{self, Output};
use super::start::{number, print_plan, report, seconds};
use crate::app::App;
use crate::cluster::{self, DeleteNode, Drain, StartOptions};
use crate::config::{NewNode, Overrides};
use crate::error::Result;

/// The subcommands of `node`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List the nodes of a cluster
    List {
        /// The format of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Add a node to a cluster that runs; the other nodes are not touched
    Add(Box<AddArgs>),
    /// Delete a node: its pods move to other nodes, and its machine is deleted
    Delete {
        /// The node
        #[arg(add = candidates::nodes())]
        name: String,

        #[command(flatten)]
        eviction: Eviction,

        /// Delete the PersistentVolumes whose data is on the node, too
        #[arg(long)]
        delete_volumes: bool,

        /// The format of progress messages
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Start one node that is stopped
    Start {
        /// The node
        #[arg(add = candidates::nodes())]
        name: String,

        /// Time to wait for the node at most, in seconds or as 6m
        #[arg(long, value_name = "TIME", default_value = "6m", value_parser = seconds)]
        wait_timeout: Duration,

        /// The format of progress messages
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Stop one node; `kcl node start` or `kcl start` starts it again
    Stop {
        /// The node
        #[arg(add = candidates::nodes())]
        name: String,

        /// Cut the power of the node instead of shutting it down
        #[arg(long)]
        now: bool,
    },
    /// Keep new pods from a node; those that it has stay
    Cordon {
        /// The node
        #[arg(add = candidates::nodes())]
        name: String,
    },
    /// Let new pods onto a node again
    Uncordon {
        /// The node
        #[arg(add = candidates::nodes())]
        name: String,
    },
    /// Cordon a node and evict its pods, which keeps PodDisruptionBudgets; those of DaemonSets stay
    Drain {
        /// The node
        #[arg(add = candidates::nodes())]
        name: String,

        #[command(flatten)]
        eviction: Eviction,

        /// The format of progress messages
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// The options of `node add`.
#[derive(clap::Args)]
pub(super) struct AddArgs {
    /// The name of the node [default: the next free one]
    name: Option<String>,

    /// The role of the node
    #[arg(long, value_name = "ROLE", default_value = "worker", value_parser = role, help_heading = "Node")]
    role: Role,

    /// Whole CPUs for the node [default: as the last node]
    #[arg(long, value_name = "COUNT", value_parser = number::<u32>, help_heading = "Node")]
    cpus: Option<u32>,

    /// Memory for the node, such as 2g or 1500Mi; without a unit, MiB [default: as the last node]
    #[arg(long, value_name = "SIZE", help_heading = "Node")]
    memory: Option<String>,

    /// A label of the node, such as disk=fast; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", help_heading = "Node")]
    labels: Vec<String>,

    /// A taint of the node, such as gpu=a100:NoSchedule; may be given several times
    #[arg(long = "taint", value_name = "KEY=VALUE:EFFECT", help_heading = "Node")]
    taints: Vec<String>,

    /// The driver of the node's machine [default: the cluster's]
    #[arg(short, long, value_name = "DRIVER", add = candidates::drivers(), help_heading = "Node")]
    driver: Option<String>,

    /// An existing host that becomes the node, such as root@10.0.0.5
    #[arg(long, value_name = "[USER@]ADDRESS[:PORT]", help_heading = "Hosts over SSH")]
    host: Option<String>,

    /// The private key for the host [default: those of the SSH agent and of ~/.ssh]
    #[arg(long, value_name = "FILE", requires = "host", help_heading = "Hosts over SSH")]
    ssh_key: Option<PathBuf>,

    /// A jump host
    #[arg(long, value_name = "[USER@]ADDRESS[:PORT]", requires = "host", help_heading = "Hosts over SSH")]
    ssh_jump: Option<String>,

    /// Accept an unknown host key without asking
    #[arg(long, requires = "host", help_heading = "Hosts over SSH")]
    accept_host_key: bool,

    #[command(flatten)]
    source: Source,

    /// Take all artifacts from this bundle; no network is needed
    #[arg(long, value_name = "FILE", conflicts_with = "from", help_heading = "Artifacts")]
    bundle: Option<PathBuf>,

    /// Time to wait for the node at most, in seconds or as 6m
    #[arg(long, value_name = "TIME", default_value = "6m", value_parser = seconds, help_heading = "This run")]
    wait_timeout: Duration,

    /// Only print the plan
    #[arg(long, help_heading = "This run")]
    dry_run: bool,

    /// If the node does not join, keep what was created for inspection instead of rolling back
    #[arg(long, help_heading = "This run")]
    keep: bool,

    /// The format of progress messages
    #[arg(short, long, value_enum, default_value_t, help_heading = "This run")]
    output: Output,
}

/// The options of every verb that evicts pods.
#[derive(clap::Args)]
pub(super) struct Eviction {
    /// Evict pods that nothing recreates, too
    #[arg(long)]
    force: bool,

    /// The time that pods get to end, in seconds or as 2m [default: their own]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    grace_period: Option<Duration>,

    /// Time to wait for pods to end at most, in seconds or as 6m
    #[arg(long, value_name = "TIME", default_value = "6m", value_parser = seconds)]
    timeout: Duration,
}

impl Eviction {
    fn drain(&self) -> Drain {
        Drain { force: self.force, grace_period: self.grace_period, timeout: self.timeout }
    }
}

/// Parses the name of a role.
fn role(text: &str) -> std::result::Result<Role, String> {
    let roles = [Role::Worker, Role::ControlPlane];
    let names = roles.map(Role::name).join(" and ");
    roles
        .into_iter()
        .find(|role| role.name() == text)
        .ok_or_else(|| format!("\"{text}\" is not a role: there are {names}"))
}

impl Verb {
    /// Returns true if progress is to be reported as JSON events.
    pub(super) fn json_events(&self) -> bool {
        match self {
            Verb::Add(args) => args.output == Output::Json && !args.dry_run,
            Verb::Delete { output, .. } | Verb::Start { output, .. } | Verb::Drain { output, .. } => {
                *output == Output::Json
            }
            Verb::List { .. } | Verb::Stop { .. } | Verb::Cordon { .. } | Verb::Uncordon { .. } => false,
        }
    }
}

/// Runs the subcommand.
pub(super) async fn run(app: &App, profile: &str, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::List { output } => list(app, profile, *output).await?,
        Verb::Add(args) => return add(app, profile, args).await,
        Verb::Delete { name, eviction, delete_volumes, .. } => {
            let how = DeleteNode { drain: eviction.drain(), delete_volumes: *delete_volumes };
            cluster::delete_node(app, profile, name, &how).await?;
        }
        Verb::Start { name, wait_timeout, .. } => {
            let options = StartOptions { wait_timeout: *wait_timeout, ..StartOptions::default() };
            match cluster::start_node(app, profile, name, options).await? {
                Some(outcome) => return Ok(report(app, &outcome)),
                None => app.progress.info(format!("\"{name}\" runs already")),
            }
        }
        Verb::Stop { name, now } => {
            if !cluster::stop_node(app, profile, name, *now).await? {
                app.progress.info(format!("\"{name}\" was not running"));
            }
        }
        Verb::Cordon { name } => {
            let changed = cluster::cordon_node(app, profile, name, true).await?;
            app.progress.info(format!("\"{name}\" {} cordoned", if changed { "is" } else { "was already" }));
        }
        Verb::Uncordon { name } => {
            let changed = cluster::cordon_node(app, profile, name, false).await?;
            app.progress.info(format!("\"{name}\" {} cordoned", if changed { "is no longer" } else { "was not" }));
        }
        Verb::Drain { name, eviction, .. } => cluster::drain_node(app, profile, name, &eviction.drain()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(app: &App, profile: &str, output: Output) -> Result<()> {
    let nodes = cluster::nodes(app, profile).await?;
    match output {
        Output::Json => output::json(&nodes)?,
        Output::Text => output::table(
            ["NAME", "ROLE", "DRIVER", "IP", "PODS", "STATUS"],
            nodes.into_iter().map(|node| [node.name, node.role, node.driver, node.address, node.pod_cidr, node.status]),
        ),
    }
    Ok(())
}

async fn add(app: &App, profile: &str, args: &AddArgs) -> Result<ExitCode> {
    let new = NewNode {
        name: args.name.clone(),
        role: Some(args.role),
        driver: args.driver.clone(),
        cpus: args.cpus,
        memory: args.memory.clone(),
        labels: args.labels.clone(),
        taints: args.taints.clone(),
        host: args.host.clone(),
        ssh_key: args.ssh_key.clone(),
        ssh_jump: args.ssh_jump.clone(),
    };
    let options = StartOptions {
        overrides: Overrides { accept_host_key: args.accept_host_key, ..Overrides::default() },
        artifacts: args.source.options(),
        way: args.source.way(args.bundle.as_deref()),
        wait_timeout: args.wait_timeout,
        dry_run: args.dry_run,
        keep: args.keep,
        ..StartOptions::default()
    };
    let outcome = cluster::add_node(app, profile, new, options).await?;
    if args.dry_run {
        match args.output {
            Output::Json => output::json(&outcome.plan)?,
            Output::Text => print_plan(&outcome.plan),
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in outcome.plan.only.iter().flatten() {
        if outcome.state.as_ref().is_some_and(|state| state.node(name).is_some()) {
            app.progress.info(format!("\"{name}\" is a node of \"{profile}\""));
        }
    }
    Ok(report(app, &outcome))
}
