//! Finds the engine as the docker command does, by `DOCKER_HOST`, `DOCKER_CONTEXT` and its configuration
//! (docs.docker.com, "Environment variables" of the docker command, and "Docker contexts").

use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use kcl_driver_api::{Error, ErrorKind, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The sockets that are tried by default: Docker's, and that of Podman's service.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];

/// The name of the context that stands for no context.
const DEFAULT_CONTEXT: &str = "default";

/// The place of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The address of the engine.
    pub address: Address,
    /// The setting that named it, for error messages: `DOCKER_HOST`, `the context "remote"`.
    pub said_by: String,
}

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket of this host.
    Unix(PathBuf),
    /// A TCP address `host:port`, with certificates for TLS.
    Tcp(String, Option<Certificates>),
    /// A socket on a host that is reached over SSH.
    Ssh(SshHost),
}

/// The files `ca.pem`, `cert.pem` and `key.pem` of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificates(pub PathBuf);

/// An engine's socket on a host: `ssh://[user@]host[:port][/socket]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshHost {
    /// The user there; by default the same as here.
    pub user: Option<String>,
    /// The host's name or address.
    pub host: String,
    /// The port, 22 by default.
    pub port: u16,
    /// The engine's socket there.
    pub socket: PathBuf,
}

impl Address {
    /// Tells whether the engine runs on this host, or as if it did.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self, Address::Unix(_))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(address, _) => write!(f, "tcp://{address}"),
            Address::Ssh(ssh) => {
                let user = ssh.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                write!(f, "ssh://{user}{}:{}", ssh.host, ssh.port)
            }
        }
    }
}

/// The part of `config.json` that is read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientConfig {
    current_context: Option<String>,
}

/// The part of a context's `meta.json` that is read.
#[derive(Debug, Deserialize)]
struct ContextMeta {
    #[serde(rename = "Endpoints")]
    endpoints: std::collections::HashMap<String, ContextEndpoint>,
}

#[derive(Debug, Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

impl Endpoint {
    /// Returns the engine that the environment and the docker command's configuration name.
    pub(crate) fn find(host: Option<&str>) -> Result<Self> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Endpoint::resolve(host, &env, &|path| path.exists())
    }

    fn resolve(
        host: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Result<Self> {
        let home = || PathBuf::from(env("HOME").unwrap_or_else(|| "/".to_owned()));
        let config = env("DOCKER_CONFIG").map_or_else(|| home().join(".docker"), PathBuf::from);
        let tls = || {
            let directory = || env("DOCKER_CERT_PATH").map_or_else(|| config.clone(), PathBuf::from);
            env("DOCKER_TLS_VERIFY").map(|_| Certificates(directory()))
        };
        if let Some(host) = host {
            return Ok(Endpoint { address: address(host, tls())?, said_by: "kcl's configuration".to_owned() });
        }
        if let Some(host) = env("DOCKER_HOST") {
            return Ok(Endpoint { address: address(&host, tls())?, said_by: "DOCKER_HOST".to_owned() });
        }
        let context = match env("DOCKER_CONTEXT") {
            Some(context) => Some(context),
            None => client_config(&config.join("config.json"))?.current_context,
        };
        match context.filter(|name| !name.is_empty() && name != DEFAULT_CONTEXT) {
            Some(name) => of_context(&config, &name, exists),
            None => {
                let there = SOCKETS.iter().map(PathBuf::from).find(|path| exists(path));
                let socket = there.unwrap_or_else(|| PathBuf::from(SOCKETS[0]));
                Ok(Endpoint { address: Address::Unix(socket), said_by: "default".to_owned() })
            }
        }
    }
}

fn client_config(path: &Path) -> Result<ClientConfig> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| damaged(path, &error)),
        // There is no file, or this user may not read it: the docker command continues without it, too.
        Err(_) => Ok(ClientConfig::default()),
    }
}

fn of_context(config: &Path, name: &str, exists: &dyn Fn(&Path) -> bool) -> Result<Endpoint> {
    let id = encode_string(&Sha256::digest(name));
    let path = config.join("contexts/meta").join(&id).join("meta.json");
    let text = std::fs::read(&path).map_err(|error| {
        Error::new(
            ErrorKind::Host,
            format!("the docker context \"{name}\" does not exist: {}: {error}", path.display()),
        )
        .hint("docker context ls shows those that exist; choose one with DOCKER_CONTEXT or docker context use")
    })?;
    let meta: ContextMeta = serde_json::from_slice(&text).map_err(|error| damaged(&path, &error))?;
    let said_by = format!("the context \"{name}\"");
    let Some(endpoint) = meta.endpoints.get("docker") else {
        return Err(Error::new(ErrorKind::Host, format!("{said_by} names no docker engine ({})", path.display())));
    };
    let certificates = config.join("contexts/tls").join(&id).join("docker");
    let tls = exists(&certificates).then_some(Certificates(certificates));
    if endpoint.skip_tls_verify {
        let message = format!("{said_by} says that the engine's certificate is not to be checked (SkipTLSVerify)");
        return Err(Error::new(ErrorKind::Host, message).hint("give the context the engine's CA instead"));
    }
    Ok(Endpoint { address: address(&endpoint.host, tls)?, said_by })
}

fn damaged(path: &Path, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Host, format!("{} is damaged: {error}", path.display()))
}

/// Parses the value of `DOCKER_HOST`.
fn address(text: &str, tls: Option<Certificates>) -> Result<Address> {
    let wrong = || {
        Error::new(ErrorKind::Host, format!("\"{text}\" is no address of a Docker engine"))
            .hint("right are unix:///path, tcp://host:port and ssh://user@host")
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    if rest.is_empty() {
        return Err(wrong());
    }
    let authority = rest.trim_end_matches('/');
    match scheme {
        "unix" => Ok(Address::Unix(PathBuf::from(rest))),
        "https" if tls.is_none() => {
            let message = format!("\"{text}\" asks for TLS, and without DOCKER_TLS_VERIFY there would be none");
            Err(Error::new(ErrorKind::Host, message)
                .hint("set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem"))
        }
        "tcp" | "http" | "https" => {
            // These are the ports that Docker registered: 2376 for TLS, 2375 without.
            let port = if tls.is_some() { 2376 } else { 2375 };
            let with_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let authority = if with_port { authority.to_owned() } else { format!("{authority}:{port}") };
            Ok(Address::Tcp(authority, tls))
        }
        "ssh" => {
            let (authority, socket) = match rest.split_once('/') {
                Some((authority, path)) if !path.is_empty() => (authority, PathBuf::from(format!("/{path}"))),
                _ => (authority, PathBuf::from(SOCKETS[0])),
            };
            let (user, host) = match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user.to_owned()), host),
                None => (None, authority),
            };
            let (host, port) = match host.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
                None => (host, 22),
            };
            if host.is_empty() {
                return Err(wrong());
            }
            Ok(Address::Ssh(SshHost { user, host: host.to_owned(), port, socket }))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(variables: &[(&str, &str)], there: &[&str]) -> Result<Endpoint> {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Endpoint::resolve(None, &env, &|path| path.exists() || there.iter().any(|one| Path::new(one) == path))
    }

    #[test]
    fn default_sockets() {
        let none = [("DOCKER_CONFIG", "/nonexistent")];
        let docker = Address::Unix("/var/run/docker.sock".into());
        assert_eq!(resolve(&none, &["/var/run/docker.sock", "/run/podman/podman.sock"]).unwrap().address, docker);
        let podman = resolve(&none, &["/run/podman/podman.sock"]).unwrap().address;
        assert!(podman == Address::Unix("/run/podman/podman.sock".into()) || podman == docker, "{podman}");
    }

    #[test]
    fn docker_host_is_parsed() {
        let of =
            |host: &str| resolve(&[("DOCKER_HOST", host), ("DOCKER_CONTEXT", "other")], &[]).map(|one| one.address);
        assert_eq!(of("unix:///a/b").unwrap(), Address::Unix("/a/b".into()));
        assert_eq!(of("tcp://10.0.0.1").unwrap(), Address::Tcp("10.0.0.1:2375".into(), None));
        let ssh = SshHost { user: Some("me".into()), host: "far".into(), port: 2222, socket: SOCKETS[0].into() };
        assert_eq!(of("ssh://me@far:2222").unwrap(), Address::Ssh(ssh.clone()));
        let socket = PathBuf::from("/run/podman/podman.sock");
        let ssh = SshHost { user: None, port: 22, socket, ..ssh };
        assert_eq!(of("ssh://far/run/podman/podman.sock").unwrap(), Address::Ssh(ssh));
        let error = address("https://10.0.0.1:2376", None).unwrap_err();
        assert!(error.message.contains("DOCKER_TLS_VERIFY"), "{error}");
        assert!(address("https://10.0.0.1", Some(Certificates("/certs".into()))).is_ok());
        for wrong in ["", "10.0.0.1:2375", "ftp://x", "unix://", "ssh://me@far:port"] {
            assert!(address(wrong, None).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_variable_enables_tls() {
        let base = [("DOCKER_HOST", "tcp://far"), ("DOCKER_CERT_PATH", "/certs")];
        assert_eq!(resolve(&base, &[]).unwrap().address, Address::Tcp("far:2375".into(), None));
        let with = [&base[..], &[("DOCKER_TLS_VERIFY", "1")]].concat();
        let certificates = Some(Certificates("/certs".into()));
        assert_eq!(resolve(&with, &[]).unwrap().address, Address::Tcp("far:2376".into(), certificates));
    }

    #[test]
    fn contexts() {
        let config = tempfile::tempdir().unwrap();
        let id = encode_string(&Sha256::digest("far"));
        let meta = config.path().join("contexts/meta").join(&id);
        std::fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"ssh://far","SkipTLSVerify":false}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        let dir = config.path().to_str().unwrap();
        let by_variable = resolve(&[("DOCKER_CONFIG", dir), ("DOCKER_CONTEXT", "far")], &[]).unwrap();
        assert_eq!(by_variable.address.to_string(), "ssh://far:22");
        std::fs::write(config.path().join("config.json"), r#"{"auths":{},"currentContext":"far"}"#).unwrap();
        assert_eq!(resolve(&[("DOCKER_CONFIG", dir)], &[]).unwrap(), by_variable);
        let default = resolve(&[("DOCKER_CONFIG", dir), ("DOCKER_CONTEXT", "default")], &[]).unwrap();
        assert_eq!(default.said_by, "default");
        let missing = resolve(&[("DOCKER_CONFIG", dir), ("DOCKER_CONTEXT", "gone")], &[]).unwrap_err();
        assert!(missing.message.contains("\"gone\""), "{missing}");
    }
}
