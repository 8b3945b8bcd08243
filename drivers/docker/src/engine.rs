//! Connects to the engine, examines it, and converts its errors to kcl's families.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum, SystemVersion};
use bollard::{API_DEFAULT_VERSION, Docker};
use kcl_driver_api::{Error, ErrorKind, Reach, Result};

use crate::endpoint::{Address, Endpoint};
use crate::ssh;

/// The oldest supported version of the API: that of Docker 20.10.
pub(crate) const OLDEST_API: (u32, u32) = (1, 41);

/// The time that an answer may take, in seconds: longer than a machine takes to stop and an image to be loaded.
const ANSWER: u64 = 900;

/// The time that an engine may take for its first answer.
const GREETING: Duration = Duration::from_secs(15);

/// An engine that answers.
pub(crate) struct Engine {
    /// The engine's API.
    pub docker: Docker,
    /// The address of the engine.
    pub endpoint: Endpoint,
    /// The engine's properties.
    pub facts: Facts,
}

/// The properties of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The name: `Docker` or `Podman`.
    pub name: String,
    /// The version of the engine.
    pub version: String,
    /// The newest version of the API that it speaks.
    pub api: (u32, u32),
    /// The engine runs in the virtual machine of Docker Desktop.
    pub desktop: bool,
    /// The engine runs without root.
    pub rootless: bool,
    /// The engine runs in the same system as this process, so addresses of its containers are reachable from here.
    pub local: bool,
    /// Control groups are the unified hierarchy.
    pub cgroup_v2: bool,
    /// The number of the host's CPUs.
    pub cpus: u64,
    /// The host's memory in bytes.
    pub memory: u64,
    /// The host's architecture as Linux names it: `x86_64`.
    pub arch: String,
    /// The engine can limit memory, CPUs, and swap.
    pub limits: (bool, bool, bool),
    /// The engine's data directory on its host.
    pub root: String,
    /// The host's operating system: `linux`.
    pub os: String,
}

impl Engine {
    /// Finds the engine, connects to it and examines it.
    pub(crate) async fn connect(host: Option<&str>) -> Result<Engine> {
        let endpoint = Endpoint::find(host)?;
        let greeted = async { greet(connect(&endpoint).await?, &endpoint).await };
        let greeted = tokio::time::timeout(GREETING, greeted).await;
        let (docker, version, info) = greeted.unwrap_or_else(|_| {
            let message = format!("{} does not answer within {} s", endpoint.address, GREETING.as_secs());
            Err(Error::new(ErrorKind::Unreachable, message).hint(chosen_by(&endpoint)))
        })?;
        let facts = facts(&endpoint.address, &version, &info);
        Ok(Engine { docker, endpoint, facts })
    }

    /// Returns how the ports of its containers are reached from here.
    pub(crate) fn reach(&self) -> Result<Reach> {
        if self.facts.local && !self.facts.desktop && !self.facts.rootless {
            return Ok(Reach::Address);
        }
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let host = match &self.endpoint.address {
            Address::Unix(_) => return Ok(Reach::Published { bind: loopback, at: loopback }),
            Address::Tcp(address, _) => address.clone(),
            Address::Ssh(ssh) => format!("{}:{}", ssh.host, ssh.port),
        };
        let found = host.to_socket_addrs().ok().and_then(|mut all| all.find(|one| one.is_ipv4()));
        let at = found.map(|one| one.ip()).ok_or_else(|| {
            Error::new(ErrorKind::Host, format!("the engine's host {host} has no IPv4 address that is known here"))
        })?;
        Ok(Reach::Published { bind: bind(at), at })
    }
}

/// Returns the address that an engine's host binds ports to, which is reached at another: that one, as the host may have
/// others in networks that have no business here. A public address is often not the host's own but that of a router.
fn bind(at: IpAddr) -> IpAddr {
    match at {
        IpAddr::V4(v4) if v4.is_private() || v4.is_loopback() || v4.is_link_local() => at,
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Docker> {
    let connected = match &endpoint.address {
        Address::Unix(path) => {
            reachable(path, endpoint)?;
            Docker::connect_with_unix(&path.to_string_lossy(), ANSWER, API_DEFAULT_VERSION)
        }
        Address::Tcp(address, None) => Docker::connect_with_http(address, ANSWER, API_DEFAULT_VERSION),
        Address::Tcp(address, Some(certificates)) => {
            let file = |name: &str| certificates.0.join(name);
            let (key, cert, ca) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
            for path in [&key, &cert, &ca] {
                std::fs::File::open(path).map_err(|error| {
                    Error::new(ErrorKind::Host, format!("TLS to {address} needs {}: {error}", path.display()))
                        .hint("set the directory of ca.pem, cert.pem and key.pem with DOCKER_CERT_PATH")
                })?;
            }
            Docker::connect_with_ssl(address, &key, &cert, &ca, ANSWER, API_DEFAULT_VERSION)
        }
        Address::Ssh(host) => return ssh::connect(host, ANSWER).await,
    };
    connected.map_err(|error| refused(endpoint, &error))
}

/// Explains why a socket of this host cannot be used, by trying it.
fn reachable(path: &Path, endpoint: &Endpoint) -> Result<()> {
    let error = match UnixStream::connect(path) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let path = path.display();
    let (message, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("there is no Docker engine at {path}: Docker is not installed, or its daemon is not running"),
            "sudo systemctl start docker; or choose another engine with DOCKER_HOST".to_owned(),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("this user may not use the Docker engine at {path}"),
            "join the group docker with: sudo usermod -aG docker \"$USER\", and log in again".to_owned(),
        ),
        io::ErrorKind::ConnectionRefused => (
            format!("nothing answers at {path}: the Docker daemon is not running"),
            "sudo systemctl start docker".to_owned(),
        ),
        _ => (format!("could not connect to {path}: {error}"), chosen_by(endpoint)),
    };
    Err(Error::new(ErrorKind::Unreachable, message).hint(hint).source(error))
}

async fn greet(docker: Docker, endpoint: &Endpoint) -> Result<(Docker, SystemVersion, SystemInfo)> {
    let asked = async {
        let docker = docker.negotiate_version().await?;
        let (version, info) = futures::try_join!(docker.version(), docker.info())?;
        Ok((docker, version, info))
    };
    asked.await.map_err(|error| refused(endpoint, &error))
}

fn refused(endpoint: &Endpoint, error: &bollard::errors::Error) -> Error {
    let message = format!("could not talk to the engine at {}: {}", endpoint.address, chain(error));
    Error::new(ErrorKind::Unreachable, message).hint(chosen_by(endpoint))
}

fn chosen_by(endpoint: &Endpoint) -> String {
    match endpoint.said_by.as_str() {
        "default" => "choose another one with DOCKER_HOST or DOCKER_CONTEXT".to_owned(),
        said_by => format!("{said_by} names this engine: check that it is right and that the engine is running"),
    }
}

/// Returns the Linux name of an architecture: Docker uses it, Podman uses Go's.
fn linux_name(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

fn facts(address: &Address, version: &SystemVersion, info: &SystemInfo) -> Facts {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let podman = version.components.iter().flatten().any(|component| component.name.starts_with("Podman"));
    let security = |what: &str| info.security_options.iter().flatten().any(|option| option.contains(what));
    let mut api = version.api_version.as_deref().unwrap_or_default().split('.').map(|part| part.parse().unwrap_or(0));
    // Another kernel or another host name means another system, such as the virtual machine of Docker Desktop, Colima
    // or WSL, whose socket is forwarded to here.
    let here = nix::sys::utsname::uname().ok();
    let same_kernel = here.as_ref().is_some_and(|here| here.release().to_str() == info.kernel_version.as_deref());
    let same_host = here.as_ref().is_some_and(|here| here.nodename().to_str() == info.name.as_deref());
    let may_be_here = match address {
        Address::Unix(_) => true,
        Address::Tcp(address, _) => address.starts_with("127.") || address.starts_with("localhost:"),
        Address::Ssh(_) => false,
    };
    Facts {
        name: if podman { "Podman".to_owned() } else { "Docker".to_owned() },
        version: text(&version.version),
        api: (api.next().unwrap_or(0), api.next().unwrap_or(0)),
        desktop: text(&info.operating_system).contains("Docker Desktop"),
        rootless: security("rootless"),
        local: may_be_here && same_kernel && same_host,
        cgroup_v2: info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2),
        cpus: info.ncpu.unwrap_or(0).max(0) as u64,
        memory: info.mem_total.unwrap_or(0).max(0) as u64,
        arch: linux_name(&text(&info.architecture)).to_owned(),
        limits: (
            info.memory_limit.unwrap_or(true),
            info.cpu_cfs_quota.unwrap_or(true),
            info.swap_limit.unwrap_or(false),
        ),
        root: text(&info.docker_root_dir),
        os: text(&info.os_type),
    }
}

/// Returns the text of an error with all its causes: hyper's own words are only the last of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Returns the HTTP status of an engine's refusal.
pub(crate) fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Turns an error of the engine into a driver's error that says what was attempted.
pub(crate) trait EngineContext<T> {
    /// Adds `what` to the error; it completes "could not …".
    fn with_context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;

    /// Does the same, and returns none for what does not exist.
    fn if_found<D: Display>(self, what: impl FnOnce() -> D) -> Result<Option<T>>;
}

impl<T> EngineContext<T> for std::result::Result<T, bollard::errors::Error> {
    fn with_context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| {
            let kind = match status(&error) {
                Some(404) => ErrorKind::NotFound,
                Some(409) => ErrorKind::Conflict,
                _ => ErrorKind::Engine,
            };
            let said = match &error {
                bollard::errors::Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
                error => chain(error),
            };
            Error::new(kind, format!("could not {}: {said}", what())).source(error)
        })
    }

    fn if_found<D: Display>(self, what: impl FnOnce() -> D) -> Result<Option<T>> {
        match self {
            Err(error) if status(&error) == Some(404) => Ok(None),
            result => result.with_context(what).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kernel: &str, name: &str) -> SystemInfo {
        SystemInfo { kernel_version: Some(kernel.into()), name: Some(name.into()), ..SystemInfo::default() }
    }

    #[test]
    fn ports_of_another_host_are_where_it_is_reached() {
        let bound = |at: &str| bind(at.parse().unwrap()).to_string();
        assert_eq!(bound("192.168.1.7"), "192.168.1.7");
        assert_eq!(bound("127.0.0.1"), "127.0.0.1");
        assert_eq!(bound("203.0.113.7"), "0.0.0.0");
    }

    #[test]
    fn an_engine_in_another_system_is_not_local() {
        let here = nix::sys::utsname::uname().unwrap();
        let (kernel, name) = (here.release().to_str().unwrap(), here.nodename().to_str().unwrap());
        let socket = Address::Unix("/var/run/docker.sock".into());
        let local = |address: &Address, info: &SystemInfo| facts(address, &SystemVersion::default(), info).local;
        assert!(local(&socket, &info(kernel, name)));
        assert!(!local(&socket, &info("5.15.0-desktop", name)));
        assert!(!local(&socket, &info(kernel, "colima")));
        assert!(!local(&Address::Tcp("10.0.0.1:2375".into(), None), &info(kernel, name)));
    }

    #[test]
    fn facts_are_read_from_the_engines_answers() {
        let version = SystemVersion { api_version: Some("1.41".into()), ..SystemVersion::default() };
        let rootless = SystemInfo { security_options: Some(vec!["name=rootless".into()]), ..SystemInfo::default() };
        let found = facts(&Address::Unix("/x".into()), &version, &rootless);
        assert_eq!((found.name.as_str(), found.api, found.rootless), ("Docker", (1, 41), true));
    }
}
