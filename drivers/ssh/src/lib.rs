//! The ssh driver: every machine is a container on a host that exists already, reached over SSH.
//!
//! A host needs a kernel, sshd, a POSIX shell and coreutils. The driver installs the node agent there and runs its
//! `host` commands ([`kcl_ssh_host`]); everything of kcl on a host is below one directory. The node shares the host's
//! network and has the host's address.

mod connect;
mod context;
mod create;
mod delete;
mod exec;
mod host;
mod list;
mod machine;
mod names;
mod network;
mod preflight;
mod record;
mod route;
mod send;
mod sudo;
mod target;

pub use record::Hosts;
pub use sudo::VARIABLE as SUDO_PASSWORD;
pub use target::{Place, Target};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use kcl_driver_api::{
    Addresses, Capabilities, Driver, Error, ErrorKind, Finding, Health, Machine, MachineInfo, MachineSpec, Mounts,
    Network, NetworkSpec, PreflightRequest, Reach, Result, Subnets,
};
use kcl_ssh_client::{KnownHosts, Unknown};
use kcl_ssh_host::protocol::{self, Done, Name, Request};

use crate::connect::Identity;
use crate::context::Context;
use crate::host::{Pool, Program, With};
use crate::names::Names;
use crate::send::LocalTrees;

/// The settings of the driver.
#[derive(Clone)]
pub struct SshConfig {
    /// The home of kcl, `$KCL_HOME`: the hosts of a cluster are recorded below it.
    pub home: PathBuf,
    /// The hosts by the names of their machines.
    pub hosts: Hosts,
    /// The node agent, a static executable for the hosts.
    pub agent: Vec<u8>,
    /// The runc to run machines with. Listing and deletion do not need it.
    pub runc: Option<PathBuf>,
    /// The user's home directory, for `.ssh`.
    pub user_home: Option<PathBuf>,
    /// The socket of an SSH agent: `SSH_AUTH_SOCK`.
    pub ssh_agent: Option<PathBuf>,
    /// The user who logs in unless a host names another.
    pub user: String,
    /// The password of sudo, from [`SUDO_PASSWORD`]; if it is missing, the user is asked at the terminal.
    pub sudo_password: Option<String>,
    /// Keys of unknown hosts are accepted without a question.
    pub accept_host_keys: bool,
}

/// Makes machines on hosts that are reached over SSH.
pub struct SshDriver {
    context: Arc<Context>,
}

impl SshDriver {
    /// Returns a driver for these hosts. Changes nothing.
    pub fn new(config: SshConfig) -> Self {
        let ssh = config.user_home.map(|home| home.join(".ssh"));
        let known = ssh.clone().unwrap_or_default().join("known_hosts");
        let unknown = if config.accept_host_keys { Unknown::Accept } else { Unknown::Ask };
        let identity = Identity {
            ssh,
            agent: config.ssh_agent,
            user: config.user,
            sudo_password: config.sudo_password,
            asked_password: Arc::default(),
            known_hosts: KnownHosts { file: known, unknown },
        };
        let with = With { identity, program: Program::new(config.agent) };
        let names = Names::new(&config.home);
        SshDriver {
            context: Arc::new(Context {
                home: config.home,
                names,
                hosts: config.hosts,
                runc: config.runc,
                with,
                trees: LocalTrees::default(),
                pool: Pool::default(),
            }),
        }
    }
}

#[async_trait]
impl Driver for SshDriver {
    async fn capabilities(&self, _: &str, _: &str) -> Result<Capabilities> {
        Ok(Capabilities {
            reach: Reach::Address,
            shares_host_kernel: false,
            limits_from_outside: true,
            mounts: Mounts::Never,
        })
    }

    async fn health(&self) -> Result<Health> {
        let engine = Some(format!("hosts over SSH ({} named)", self.context.hosts.len()));
        let request = PreflightRequest { machines: self.context.hosts.keys().cloned().collect(), ..Default::default() };
        Ok(Health { engine, findings: self.preflight(&request).await? })
    }

    async fn preflight(&self, request: &PreflightRequest) -> Result<Vec<Finding>> {
        preflight::preflight(&self.context, request).await
    }

    async fn propose_subnet(&self, cluster: &str) -> Result<Subnets> {
        network::propose(&self.context, cluster).await
    }

    async fn addresses(&self) -> Result<BTreeMap<String, Addresses>> {
        network::addresses(&self.context).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<Network> {
        network::network(&self.context, spec).await
    }

    async fn delete_network(&self, cluster: &str) -> Result<()> {
        let hosts = self.context.hosts_of(cluster)?;
        let leave = hosts.values().map(async |target| {
            let request = Request::Leave { cluster: self.context.names.there(cluster)? };
            self.context.pool.get(target).ask_if_there::<Done>(&self.context.with, &request).await
        });
        try_join_all(leave).await?;
        record::remove(&self.context.home, cluster)
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        create::create(&self.context, spec).await?;
        self.machine(&spec.cluster, &spec.name).await
    }

    async fn list(&self, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
        list::list(&self.context, cluster).await
    }

    async fn machine(&self, cluster: &str, name: &str) -> Result<Box<dyn Machine>> {
        let unknown = || Error::new(ErrorKind::NotFound, format!("there is no machine {name} in cluster {cluster}"));
        let host = self.context.host(cluster, name)?.ok_or_else(unknown)?;
        let name = Name { cluster: self.context.names.there(cluster)?, machine: name.to_owned() };
        let there: Option<protocol::Machine> =
            host.ask_if_there(&self.context.with, &Request::Info(name.clone())).await?;
        there.ok_or_else(unknown)?;
        Ok(Box::new(machine::SshMachine { context: self.context.clone(), host, name }))
    }

    async fn delete(&self, cluster: &str, name: &str) -> Result<()> {
        delete::delete(&self.context, cluster, name).await
    }
}
