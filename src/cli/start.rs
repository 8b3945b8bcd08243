//! `kcl start`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::artifacts::Source;
use super::candidates;
use super::output::{self, Output};
use crate::app::App;
use crate::bootstrap::Wait;
use crate::cluster::{self, Context, Outcome, StartOptions};
use crate::config::Overrides;
use crate::error::{Error, Id, Result};
use crate::plan::{Action, Plan};
use crate::state::{Lifetime, ProcessId};

/// The options of every verb that creates clusters.
#[derive(clap::Args)]
pub(super) struct ClusterArgs {
    /// The number of nodes, control planes included; the first is one [default: 1]
    #[arg(short, long, value_name = "COUNT", value_parser = number::<usize>, help_heading = "Cluster")]
    nodes: Option<usize>,

    /// The number of control planes among the nodes; with 3, any one of them may fail [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = number::<usize>, help_heading = "Cluster")]
    control_planes: Option<usize>,

    /// The driver of the machines, one that `kcl drivers` lists [default: the best that works on this host]
    #[arg(short, long, env = "KCL_DRIVER", hide_env_values = true, value_name = "DRIVER", add = candidates::drivers(), help_heading = "Cluster")]
    driver: Option<String>,

    /// The version of Kubernetes, such as v1.37.2, 1.36 or latest
    #[arg(long, value_name = "VERSION", add = candidates::versions(), help_heading = "Cluster")]
    kubernetes_version: Option<String>,

    /// Whole CPUs for each node [default: all of the host]
    #[arg(long, value_name = "COUNT", value_parser = number::<u32>, help_heading = "Cluster")]
    cpus: Option<u32>,

    /// Memory for each node, such as 2g or 1500Mi; without a unit, MiB
    #[arg(long, value_name = "SIZE", help_heading = "Cluster")]
    memory: Option<String>,

    /// A cluster file (TOML); flags take precedence
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    config: Option<PathBuf>,

    /// Addons to enable in addition to the default ones: names, or your own by folder, archive or oci://HOST/NAME:TAG
    #[arg(long, value_name = "ADDONS", value_delimiter = ',', add = candidates::addons(), help_heading = "Cluster")]
    addons: Vec<String>,

    /// Manifests to apply as soon as the API is ready; may be given several times
    #[arg(long = "manifest", value_name = "FILE", help_heading = "Cluster")]
    manifests: Vec<PathBuf>,

    /// Flags for a component: apiserver.v=4, kubelet.max-pods=50, …; may be given several times
    #[arg(long, value_name = "COMPONENT.KEY=VALUE", add = candidates::flags(), help_heading = "Kubernetes")]
    extra_config: Vec<String>,

    /// Feature gates of Kubernetes, such as A=true,B=false
    #[arg(long, value_name = "GATES", help_heading = "Kubernetes")]
    feature_gates: Option<String>,

    /// The lifetime of certificates, such as 26280h, 90d or 1y [default: 3y]
    #[arg(long, value_name = "TIME", help_heading = "Kubernetes")]
    cert_expiration: Option<String>,

    /// Admit only pods that Pod Security's level baseline allows, where a namespace names no level
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Kubernetes")]
    harden: Option<bool>,

    /// Additional names for the API server's certificate
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Kubernetes")]
    apiserver_names: Vec<String>,

    /// Additional addresses for the API server's certificate
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', help_heading = "Kubernetes")]
    apiserver_ips: Vec<String>,

    /// An existing host as a node, such as root@10.0.0.5; may be given several times: the first is the control plane
    #[arg(long = "host", value_name = "[USER@]ADDRESS[:PORT]", help_heading = "Hosts over SSH")]
    hosts: Vec<String>,

    /// The private key for all hosts [default: those of the SSH agent and of ~/.ssh]
    #[arg(long, value_name = "FILE", help_heading = "Hosts over SSH")]
    ssh_key: Option<PathBuf>,

    /// A jump host for all hosts
    #[arg(long, value_name = "[USER@]ADDRESS[:PORT]", help_heading = "Hosts over SSH")]
    ssh_jump: Option<String>,

    /// Accept unknown host keys without asking
    #[arg(long, help_heading = "Hosts over SSH")]
    accept_host_key: bool,

    /// The network of the nodes [default: a free one]
    #[arg(long, value_name = "CIDR", help_heading = "Network")]
    subnet: Option<String>,

    /// Ports of the first node to publish on this host: [ADDRESS:]PORT:NODE_PORT[/udp], such as 8080:80
    #[arg(long, value_name = "PORTS", value_delimiter = ',', help_heading = "Network")]
    ports: Vec<String>,

    /// Mount a directory of this host in all nodes: ./src:/src, or ./src:/src:ro; may be given several times
    #[arg(long = "mount", value_name = "HOST:NODE", help_heading = "Cluster")]
    mounts: Vec<String>,

    /// The network of pods [default: 10.244.0.0/16]
    #[arg(long, value_name = "CIDR", help_heading = "Network")]
    pod_cidr: Option<String>,

    /// The network of services [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR", help_heading = "Network")]
    service_cidr: Option<String>,

    /// The DNS domain of services [default: cluster.local]
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    dns_domain: Option<String>,

    /// Resolvers for names outside the cluster, or "none" [default: the host's]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', help_heading = "Network")]
    nameservers: Option<Vec<String>>,

    #[command(flatten)]
    source: Source,

    /// Take all artifacts from this bundle; no network is needed
    #[arg(long, value_name = "FILE", conflicts_with = "from", help_heading = "Artifacts")]
    bundle: Option<PathBuf>,

    /// The state to wait for
    #[arg(long, value_enum, default_value_t, help_heading = "This run")]
    wait: Wait,

    /// Time to wait at most, in seconds or as 6m
    #[arg(long, value_name = "TIME", default_value = "6m", value_parser = seconds, help_heading = "This run")]
    wait_timeout: Duration,

    /// Delete the cluster automatically after this time, such as 30m or 2h; "none" keeps it [default: unchanged]
    #[arg(long, value_name = "TIME", value_parser = time_to_live, help_heading = "This run")]
    ttl: Option<Lifetime>,
}

/// The options of `start`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// Only print the plan
    #[arg(long, help_heading = "This run")]
    pub dry_run: bool,

    /// Delete the cluster automatically when this process ends
    #[arg(long, value_name = "PID", help_heading = "This run")]
    until_exit_of: Option<u32>,

    /// If the start fails, keep what it created for inspection instead of rolling back
    #[arg(long, help_heading = "This run")]
    keep: bool,

    /// Leave the kubeconfig's current context unchanged
    #[arg(long, help_heading = "This run")]
    keep_context: bool,

    /// The format of progress messages
    #[arg(short, long, value_enum, default_value_t, help_heading = "This run")]
    pub output: Output,
}

/// Parses a whole number.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a whole number, such as 3"))
}

/// The longest time that an option takes: clocks and calendars know the time after it.
const LONGEST: Duration = Duration::from_secs(876_000 * 3600);

/// Parses a time like 90, 90s or 6m.
pub(super) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let (number, factor) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    let wrong = || format!("\"{text}\" is not a time: write 90, 90s, 6m or 1h");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let time = number.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| too_long(text))?;
    if time <= LONGEST { Ok(time) } else { Err(too_long(text)) }
}

/// Parses a time to live from now on: a time, or "none".
fn time_to_live(text: &str) -> std::result::Result<Lifetime, String> {
    match text {
        "none" => Ok(Lifetime::default()),
        text => Lifetime::of(seconds(text)?).ok_or_else(|| too_long(text)),
    }
}

fn too_long(text: &str) -> String {
    format!("\"{text}\" is too long: at most 100 years, which are 876000h")
}

/// Starts the cluster.
pub(super) async fn run(app: &App, profile: Option<String>, args: &Args) -> Result<ExitCode> {
    let lifetime = args.cluster.ttl.clone();
    let lifetime = match args.until_exit_of {
        None => lifetime,
        Some(pid) => Some(Lifetime { process: Some(process(pid)?), ..lifetime.unwrap_or_default() }),
    };
    let options = StartOptions {
        lifetime,
        keep: args.keep,
        context: if args.keep_context { Context::Kept } else { Context::Current },
        dry_run: args.dry_run,
        ..args.cluster.options(profile)
    };
    let outcome = cluster::start(app, &options).await?;
    if args.dry_run {
        match args.output {
            Output::Json => output::json(&outcome.plan)?,
            Output::Text => print_plan(&outcome.plan),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let code = report(app, &outcome);
    summary(app, &outcome, args);
    Ok(code)
}

/// Reports what failed beside a cluster that runs. Returns the exit code.
pub(super) fn report(app: &App, outcome: &Outcome) -> ExitCode {
    outcome.troubles.iter().for_each(|trouble| app.progress.trouble(trouble));
    outcome.troubles.first().map_or(ExitCode::SUCCESS, |trouble| ExitCode::from(trouble.id.exit_code()))
}

/// Identifies a running process.
fn process(pid: u32) -> Result<ProcessId> {
    ProcessId::of(pid).map_err(|error| {
        Error::new(Id::FlagInvalid, format!("--until-exit-of {pid}: no such process: {error}"))
            .hint("name a running process, such as $$ of a shell")
    })
}

impl ClusterArgs {
    /// Returns the options of a start with these flags.
    pub(super) fn options(&self, profile: Option<String>) -> StartOptions {
        StartOptions {
            overrides: self.overrides(profile),
            artifacts: self.source.options(),
            way: self.source.way(self.bundle.as_deref()),
            wait: self.wait,
            wait_timeout: self.wait_timeout,
            lifetime: self.ttl.clone(),
            context: Context::Current,
            ..StartOptions::default()
        }
    }

    fn overrides(&self, profile: Option<String>) -> Overrides {
        Overrides {
            profile,
            nodes: self.nodes,
            control_planes: self.control_planes,
            driver: self.driver.clone(),
            kubernetes_version: self.kubernetes_version.clone(),
            cpus: self.cpus,
            memory: self.memory.clone(),
            subnet: self.subnet.clone(),
            service_cidr: self.service_cidr.clone(),
            pod_cidr: self.pod_cidr.clone(),
            dns_domain: self.dns_domain.clone(),
            nameservers: self.nameservers.clone(),
            extra_config: self.extra_config.clone(),
            feature_gates: self.feature_gates.clone(),
            cert_expiration: self.cert_expiration.clone(),
            harden: self.harden,
            apiserver_names: self.apiserver_names.clone(),
            apiserver_ips: self.apiserver_ips.clone(),
            ports: self.ports.clone(),
            mounts: self.mounts.clone(),
            addons: self.addons.clone(),
            manifests: self.manifests.clone(),
            config: self.config.clone(),
            hosts: self.hosts.clone(),
            ssh_key: self.ssh_key.clone(),
            ssh_jump: self.ssh_jump.clone(),
            accept_host_key: self.accept_host_key,
            new_node: None,
        }
    }
}

/// Prints a plan as a table.
pub(super) fn print_plan(plan: &Plan) {
    let what = if plan.new { "would be created" } else { "exists" };
    output::line(&format!(
        "Cluster \"{}\" {what}: Kubernetes {} on {}",
        plan.cluster, plan.kubernetes_version, plan.driver
    ));
    output::line(&format!("Node network {}", plan.subnet));
    output::table(
        ["NODE", "ROLE", "ADDRESS", "PODS", "ACTION"],
        plan.nodes().map(|node| {
            let action = match node.action {
                Action::Keep => "keep",
                Action::Restart => "restart",
                Action::PowerOn => "power on",
                Action::Create => "create",
                Action::Replace => "recreate",
                Action::Leave => "leave",
            };
            [
                node.name.clone(),
                node.role.name().to_owned(),
                node.address.to_string(),
                node.pod_cidr.to_string(),
                action.to_owned(),
            ]
        }),
    );
    for leaving in &plan.leaving {
        output::line(&match &leaving.node {
            Some(node) => format!("node {node} leaves the cluster and would be deleted"),
            None => format!("{} is left over from an earlier run and would be deleted", leaving.machine),
        });
    }
}

/// Prints what runs now and what to try next.
fn summary(app: &App, outcome: &Outcome, args: &Args) {
    let Some(state) = &outcome.state else { return };
    let name = &state.spec.name;
    let context = if args.keep_context { format!(" --context {name}") } else { String::new() };
    app.progress.info(format!("\"{name}\" runs Kubernetes {}. Try:", state.spec.kubernetes_version));
    let flag = if name == crate::config::DEFAULT_NAME { String::new() } else { format!(" -p {name}") };
    app.progress.info(format!("  kubectl{context} get nodes          or: kcl kubectl{flag} -- get nodes"));
    app.progress
        .info(format!("  kcl status{flag}    kcl ssh{flag}    kcl logs{flag}    kcl stop{flag}    kcl delete{flag}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_beyond_all_clocks_are_refused() {
        assert_eq!(seconds("876000h"), Ok(LONGEST));
        assert!(time_to_live("876000h").is_ok() && time_to_live("none").unwrap().is_unlimited());
        for text in ["300000000000", "876001h", "18446744073709551615h"] {
            assert!(seconds(text).unwrap_err().contains("is too long"), "{text}");
            assert!(time_to_live(text).unwrap_err().contains("is too long"), "{text}");
        }
    }
}
