//! `kcl-node etcd`: the membership of etcd, by the JSON gateway of the member on this node.
//!
//! A new member joins as a learner, which has no vote: one that never comes up cannot cost the cluster its quorum. A learner
//! cannot promote itself, so a voter is asked (etcd, "Design of learner").

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kcl_node_spec::{EtcdMember, MemberStatus, ports};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::error::{Doing, Error, Result};
use crate::gate::{http, tls};
use crate::paths::{pki, pki_file};
use crate::{console, files};

/// The time for one request: a change waits for most of the members.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that a member is waited for until it has caught up and can be promoted.
const LONGEST: Duration = Duration::from_secs(120);
/// The interval between attempts.
const INTERVAL: Duration = Duration::from_millis(50);

/// Runs a command on the membership: `list`, `add NAME=ADDRESS …`, `promote NAME …` or `remove NAME=ADDRESS …`. Each
/// succeeds if there is nothing left to do.
pub(crate) fn main(verb: &str, arguments: &[&str]) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.doing(|| "start the event loop".to_owned())?;
    runtime.block_on(async {
        let client = EtcdClient::open()?;
        match verb {
            "list" => {
                let text = serde_json::to_string(&client.members(false).await?);
                console::print(text.map_err(|error| Error::Invalid(error.to_string()))?)?;
            }
            "add" => client.add(&members(arguments)?).await?,
            "promote" => client.promote(arguments).await?,
            "remove" => client.remove(&members(arguments)?).await?,
            other => return Err(Error::Invalid(format!("etcd {other}: list, add, promote or remove is due"))),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Returns once the member on this node has a vote.
pub(crate) async fn until_voter() {
    loop {
        let status = async { EtcdClient::open()?.ask("maintenance/status", &json!({})).await };
        if status.await.is_ok_and(|status| !is_true(&status["isLearner"])) {
            return;
        }
        sleep(INTERVAL).await;
    }
}

/// Hands the lead over to another member, if this one has it and another one can take it. Without that, writes would wait
/// for an election.
pub(crate) async fn step_down() {
    let hand_over = async {
        let client = EtcdClient::open()?;
        let members = client.members(false).await?;
        let heir = members.iter().find(|member| !member.leader && !member.learner && !member.name.is_empty());
        match heir {
            Some(heir) => {
                client.ask("maintenance/transfer-leadership", &json!({"targetID": heir.id.to_string()})).await.map(drop)
            }
            None => Ok(()),
        }
    };
    // One that does not lead refuses, and nothing depends on it.
    let _ = timeout(Duration::from_secs(1), hand_over).await;
}

/// Reads members as arguments name them.
fn members(arguments: &[&str]) -> Result<Vec<EtcdMember>> {
    let read = |text: &&str| {
        let wrong = || Error::Invalid(format!("{text}: NAME=ADDRESS is due"));
        let (name, address) = text.split_once('=').ok_or_else(wrong)?;
        Ok(EtcdMember { name: name.to_owned(), address: address.parse().map_err(|_| wrong())? })
    };
    arguments.iter().map(read).collect()
}

/// A client of the member on this node.
struct EtcdClient(Arc<ClientConfig>);

impl EtcdClient {
    fn open() -> Result<EtcdClient> {
        let read = |name: &str| files::read(pki_file(name));
        let (ca, cert, key) = (read(pki::ETCD_CA_CERT)?, read(pki::ETCD_CLIENT_CERT)?, read(pki::ETCD_CLIENT_KEY)?);
        tls(ca.as_bytes(), cert.as_bytes(), key.as_bytes()).map(EtcdClient).map_err(Error::Invalid)
    }

    /// Returns the members: as most of them agree, or else as this one knows them.
    async fn members(&self, agreed: bool) -> Result<Vec<MemberStatus>> {
        let status = self.ask("maintenance/status", &json!({})).await?;
        let list = self.ask("cluster/member/list", &json!({"linearizable": agreed})).await?;
        let members = list["members"].as_array().into_iter().flatten();
        members.map(|member| read(member, number(&status["leader"]))).collect()
    }

    /// Adds members that are about to be started for the first time. What is left of an earlier attempt under the same
    /// address, or of a machine that is lost, goes first: its data are gone.
    async fn add(&self, members: &[EtcdMember]) -> Result<()> {
        self.remove(members).await?;
        for member in members {
            let urls = [format!("https://{}", SocketAddr::new(member.address, ports::ETCD_PEER))];
            self.change("cluster/member/add", &json!({"peerURLs": urls, "isLearner": true})).await?;
        }
        Ok(())
    }

    /// Gives members a vote as soon as they have caught up.
    async fn promote(&self, names: &[&str]) -> Result<()> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let members = self.members(true).await?;
            let missing = |name: &&&str| !members.iter().any(|member| member.name == **name && !member.learner);
            let missing: Vec<&str> = names.iter().filter(missing).copied().collect();
            if missing.is_empty() {
                return Ok(());
            }
            let mut last = None;
            for learner in members.iter().filter(|member| missing.contains(&member.name.as_str())) {
                last = self.ask("cluster/member/promote", &json!({"ID": learner.id.to_string()})).await.err().or(last);
            }
            if Instant::now() > deadline {
                let why = last.map_or("it was not started".to_owned(), |error| error.to_string());
                return Err(Error::Invalid(format!("{} did not become a member of etcd: {why}", missing.join(", "))));
            }
            sleep(INTERVAL).await;
        }
    }

    /// Removes members. They are known by their addresses, as one that was never started has no name.
    async fn remove(&self, members: &[EtcdMember]) -> Result<()> {
        let stale = |found: &&MemberStatus| members.iter().any(|member| member.address == found.address);
        for member in self.members(true).await?.iter().filter(stale) {
            self.change("cluster/member/remove", &json!({"ID": member.id.to_string()})).await?;
        }
        Ok(())
    }

    /// Changes the membership. etcd refuses that for the first seconds after a member has joined or come back, until all
    /// members have been connected for a while ("unhealthy cluster"), and while it has no leader.
    async fn change(&self, path: &str, body: &Value) -> Result<()> {
        let deadline = Instant::now() + LONGEST;
        loop {
            match self.ask(path, body).await {
                Err(error) if is_passing(&error.to_string()) && Instant::now() < deadline => sleep(INTERVAL).await,
                result => return result.map(drop),
            }
        }
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<Value> {
        let what = || format!("ask etcd on this node ({path})");
        let send = async {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, ports::ETCD_CLIENT)).await?;
            let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
            let mut stream = TlsConnector::from(self.0.clone()).connect(name, stream).await?;
            http::post(&mut stream, &format!("/v3/{path}"), &body.to_string()).await
        };
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let (status, body) = timeout(PATIENCE, send).await.map_err(late).and_then(|sent| sent).doing(what)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status {
            200 => Ok(body),
            _ => {
                let said = body["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
                Err(Error::Invalid(format!("{}: {said}", what())))
            }
        }
    }
}

/// Returns true for the errors of etcd that end by themselves.
fn is_passing(said: &str) -> bool {
    ["unhealthy cluster", "no leader", "leader changed", "timed out", "too many learner"]
        .iter()
        .any(|passing| said.contains(passing))
}

/// Reads a member of etcd's list.
fn read(member: &Value, leader: u64) -> Result<MemberStatus> {
    let wrong = || Error::Invalid(format!("etcd lists a member that cannot be read: {member}"));
    let url = member["peerURLs"][0].as_str().and_then(|url| url.strip_prefix("https://")).ok_or_else(wrong)?;
    let address: SocketAddr = url.parse().map_err(|_| wrong())?;
    let address: IpAddr = address.ip();
    let (id, name) = (number(&member["ID"]), member["name"].as_str().unwrap_or_default().to_owned());
    Ok(MemberStatus { id, name, address, learner: is_true(&member["isLearner"]), leader: id == leader })
}

/// Reads a number of 64 bits, which JSON has as a text (protobuf's JSON mapping).
fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).or(value.as_u64()).unwrap_or_default()
}

/// Reads a truth, which JSON leaves out if it is false.
fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_the_gateway_writes_them() {
        let member = json!({
            "ID": "10279712640007426802", "name": "", "peerURLs": ["https://10.89.0.3:2380"], "isLearner": true
        });
        let expected = MemberStatus {
            id: 10_279_712_640_007_426_802,
            name: String::new(),
            address: [10, 89, 0, 3].into(),
            learner: true,
            leader: false,
        };
        assert_eq!(read(&member, 7).unwrap(), expected);
        assert!(read(&json!({"ID": "1", "peerURLs": []}), 7).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn only_errors_that_end_by_themselves_are_waited_for() {
        assert!(is_passing("etcdserver: unhealthy cluster"));
        assert!(is_passing("etcdserver: request timed out"));
        assert!(!is_passing("etcdserver: member not found"));
    }
}
