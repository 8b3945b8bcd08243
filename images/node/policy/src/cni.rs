//! The plugin of the container network, last in its chain: a pod's network is ready once the policies of the pod hold, so
//! that no packet passes before them (the Container Network Interface, version 1.0.0).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kcl_node_spec::paths::POLICY_SOCKET;
use kcl_policy::compile::Claim;
use serde_json::{Value, json};

use crate::error::{Doing, Error, Result};
use crate::protocol::{Answer, Request};

/// The variable by which a plugin gets its command.
pub(crate) const COMMAND: &str = "CNI_COMMAND";

/// The version of results.
const VERSION: &str = "1.0.0";
/// The code of an error that a later try may not have ("Try again later").
const TRY_AGAIN: u32 = 11;
/// The time in which an engine that is restarted listens again.
const RESTART: Duration = Duration::from_secs(10);
/// The pause between attempts to connect.
const INTERVAL: Duration = Duration::from_millis(20);
/// The time that the engine gets to learn of the pod. The kubelet tries again with a new network.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs one command.
pub(crate) fn main(command: &str) -> ExitCode {
    match run(command) {
        Ok(output) => {
            if let Some(output) = output {
                println!("{output}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", json!({ "cniVersion": VERSION, "code": TRY_AGAIN, "msg": error.to_string() }));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str) -> Result<Option<Value>> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).doing(|| "read the configuration".to_owned())?;
    let pod = Pod::from_variables();
    match command {
        "VERSION" => Ok(Some(json!({ "cniVersion": VERSION, "supportedVersions": ["0.4.0", VERSION] }))),
        "ADD" => {
            let (result, addresses) = previous(&input)?;
            // A container that is no pod is selected by no policy.
            if let Some(pod) = pod {
                let claim = Claim { sandbox: pod.sandbox, uid: pod.uid, addresses };
                ask(&Request::Claim { namespace: pod.namespace, name: pod.name, claim })?;
            }
            Ok(Some(result))
        }
        "DEL" => {
            if let Some(Pod { namespace, name, sandbox, .. }) = pod {
                // An engine that does not run finds out when it starts; a pod has to be able to end without it.
                let _ = send(&Request::Release { namespace, name, sandbox }, Duration::ZERO);
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The pod that the container runtime names.
struct Pod {
    namespace: String,
    name: String,
    uid: Option<String>,
    sandbox: String,
}

impl Pod {
    fn from_variables() -> Option<Pod> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        Pod::parse(&variable("CNI_ARGS"), variable("CNI_CONTAINERID"))
    }

    fn parse(arguments: &str, sandbox: String) -> Option<Pod> {
        let pairs = arguments.split(';').filter_map(|pair| pair.split_once('='));
        let value = |wanted: &str| pairs.clone().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
        let (namespace, name) = (value("K8S_POD_NAMESPACE")?, value("K8S_POD_NAME")?);
        Some(Pod { namespace, name, uid: value("K8S_POD_UID"), sandbox })
    }
}

/// Returns the result of the plugins before this one, which is passed on, and the addresses in it.
fn previous(input: &str) -> Result<(Value, Vec<IpAddr>)> {
    let wrong = |what: String| Error::Invalid(format!("the configuration of the container network: {what}"));
    let mut input: Value = serde_json::from_str(input).map_err(|error| wrong(error.to_string()))?;
    let result = input["prevResult"].take();
    let addresses = result["ips"].as_array().ok_or_else(|| wrong("it has no result of another plugin".to_owned()))?;
    let address = |one: &Value| -> Option<IpAddr> { one["address"].as_str()?.split('/').next()?.parse().ok() };
    let addresses = addresses.iter().filter_map(address).collect();
    Ok((result, addresses))
}

fn ask(request: &Request) -> Result<()> {
    let answer = send(request, RESTART)?;
    answer.error.map_or(Ok(()), |error| Err(Error::Invalid(format!("the policies of the pod cannot be set: {error}"))))
}

fn send(request: &Request, patience: Duration) -> Result<Answer> {
    let stream = connect(Instant::now() + patience)?;
    stream.set_read_timeout(Some(PATIENCE)).doing(|| format!("set the time limit of {POLICY_SOCKET}"))?;
    let mut line = serde_json::to_vec(request).map_err(|error| Error::Invalid(error.to_string()))?;
    line.push(b'\n');
    (&stream).write_all(&line).doing(|| format!("write to {POLICY_SOCKET}"))?;
    let mut line = String::new();
    let read = BufReader::new(&stream).read_line(&mut line);
    read.doing(|| {
        "learn in time that the policies of the pod hold (kcl-policy on this node does not know it)".to_owned()
    })?;
    serde_json::from_str(&line).map_err(|_| Error::Invalid("the engine kcl-policy ended".to_owned()))
}

fn connect(until: Instant) -> Result<UnixStream> {
    loop {
        match UnixStream::connect(POLICY_SOCKET) {
            Err(_) if Instant::now() + INTERVAL < until => std::thread::sleep(INTERVAL),
            other => {
                return other.doing(|| {
                    format!(
                        "ask for the policies of the pod at {POLICY_SOCKET}: the engine kcl-policy does not run on this \
                         node, and without it the pod would have no policies"
                    )
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_named_by_the_arguments() {
        let found = Pod::parse("IgnoreUnknown=1;K8S_POD_NAMESPACE=x;K8S_POD_NAME=a;K8S_POD_UID=7", "s".to_owned());
        let found = found.unwrap();
        assert_eq!((found.namespace.as_str(), found.name.as_str(), found.uid.as_deref()), ("x", "a", Some("7")));
        assert!(Pod::parse("IgnoreUnknown=1", "s".to_owned()).is_none());
    }

    #[test]
    fn the_result_is_passed_on_with_its_addresses() {
        let result = json!({"ips": [{"address": "10.244.0.5/24", "gateway": "10.244.0.1"}, {"address": "fd00::5/64"}]});
        let (found, addresses) = previous(&json!({"name": "kcl", "prevResult": result}).to_string()).unwrap();
        assert_eq!(found, result);
        assert_eq!(addresses, ["10.244.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
        previous("{}").unwrap_err();
    }
}
