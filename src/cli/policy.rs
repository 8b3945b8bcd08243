//! `kcl policy`

use std::process::ExitCode;

use clap::ValueEnum;

use super::output::{self, Output};
use crate::app::App;
use crate::cluster::{self, ConnectionReport, ConnectionRequest, EndReport};
use crate::error::Result;

/// The verbs of `policy`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Tell whether NetworkPolicies allow a connection, and which ones decide; the exit code is 1 if they do not
    Test(TestArgs),
}

/// The options of `policy test`.
#[derive(clap::Args)]
pub(super) struct TestArgs {
    /// The beginning of the connection: a pod, as [NAMESPACE/]NAME, or an address outside the cluster
    #[arg(value_name = "FROM")]
    from: String,

    /// The end of the connection: a pod or an address, and a port by number or by its name in the pod. Without a port, the
    /// question is about protocols without ports, such as ping
    #[arg(value_name = "TO[:PORT]")]
    to: String,

    /// The protocol of the port
    #[arg(long, value_enum, default_value_t)]
    protocol: Protocol,

    /// The namespace of pods that are named without one [default: default]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl From<Protocol> for kcl_policy::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => kcl_policy::Protocol::Tcp,
            Protocol::Udp => kcl_policy::Protocol::Udp,
            Protocol::Sctp => kcl_policy::Protocol::Sctp,
        }
    }
}

/// Runs the verb.
pub(super) async fn run(app: &App, profile: &str, verb: &Verb) -> Result<ExitCode> {
    let Verb::Test(args) = verb;
    let request = ConnectionRequest {
        from: args.from.clone(),
        to: args.to.clone(),
        protocol: args.protocol.into(),
        namespace: args.namespace.clone().unwrap_or_else(|| "default".to_owned()),
    };
    let report = cluster::test_connection(app, profile, &request).await?;
    match args.output {
        Output::Json => output::json(&report)?,
        Output::Text => print(&report),
    }
    Ok(if report.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &ConnectionReport) {
    let verdict = if report.allowed { "allowed" } else { "denied" };
    let port = report.port.map(|port| format!(" on {}/{port}", report.protocol)).unwrap_or_default();
    output::line(&format!("{verdict}: {} to {}{port}", report.from, report.to));
    output::line(&format!("  from {}: {}", report.from, reason(&report.egress, "egress")));
    output::line(&format!("  to {}: {}", report.to, reason(&report.ingress, "ingress")));
}

fn reason(end: &EndReport, direction: &str) -> String {
    let policies = end.policies.join(", ");
    match end.decision {
        "Allowed" => format!("{direction} allowed by {policies}"),
        "Denied" => format!("{direction} denied, as no rule of {policies} allows it"),
        "Exempt" => "always allowed within a pod, and between a pod and its own node".to_owned(),
        _ => format!("no policy isolates its {direction}"),
    }
}
