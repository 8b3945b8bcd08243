//! etcd, with mutual TLS towards its clients and its peers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kcl_node_spec::NodeSpec;
use kcl_node_spec::ports::{ETCD_CLIENT, ETCD_METRICS, ETCD_PEER};

use super::flags::Flags;
use super::{Liveness, Process, Readiness};
use crate::paths::{pki, pki_file};

/// Returns the process of etcd.
pub(super) fn process(spec: &NodeSpec) -> Process {
    Process {
        name: "etcd",
        args: flags(spec).args(),
        formation: formation(spec),
        files: Vec::new(),
        reads: Vec::new(),
        proxied: false,
        readiness: if spec.kubernetes.etcd_join { Readiness::Voter } else { Readiness::Notify },
        liveness: Liveness::Http(ETCD_METRICS, "/livez"),
        after: &[],
        // It waits for its clients, and the API server keeps watches open. Whenever it ends, its data are on the disk.
        grace: Duration::from_millis(100),
        bounded_view: false,
        urgent: true,
        hands_over: spec.kubernetes.etcd_members.len() > 1,
    }
}

fn url(address: IpAddr, port: u16) -> String {
    format!("https://{}", SocketAddr::new(address, port))
}

/// Returns the arguments of a member that has no data yet.
fn formation(spec: &NodeSpec) -> Vec<String> {
    let members = spec.kubernetes.etcd_members.iter();
    let cluster: Vec<String> =
        members.map(|member| format!("{}={}", member.name, url(member.address, ETCD_PEER))).collect();
    let state = if spec.kubernetes.etcd_join { "existing" } else { "new" };
    Flags::default()
        .set("initial-advertise-peer-urls", url(spec.address.primary(), ETCD_PEER))
        .set("initial-cluster", cluster.join(","))
        .set("initial-cluster-state", state)
        .set("initial-cluster-token", spec.cluster.as_str())
        .args()
}

fn flags(spec: &NodeSpec) -> Flags {
    let address = spec.address.primary();
    let mut flags = Flags::default();
    flags
        .set("name", spec.name.as_str())
        .set("data-dir", "/var/lib/etcd")
        .set("listen-client-urls", format!("https://127.0.0.1:{ETCD_CLIENT},{}", url(address, ETCD_CLIENT)))
        .set("advertise-client-urls", url(address, ETCD_CLIENT))
        .set("listen-peer-urls", url(address, ETCD_PEER))
        .set("listen-metrics-urls", format!("http://127.0.0.1:{ETCD_METRICS}"))
        .set("client-cert-auth", "true")
        .set("trusted-ca-file", pki_file(pki::ETCD_CA_CERT))
        .set("cert-file", pki_file(pki::ETCD_SERVER_CERT))
        .set("key-file", pki_file(pki::ETCD_SERVER_KEY))
        .set("peer-client-cert-auth", "true")
        .set("peer-trusted-ca-file", pki_file(pki::ETCD_CA_CERT))
        .set("peer-cert-file", pki_file(pki::ETCD_PEER_CERT))
        .set("peer-key-file", pki_file(pki::ETCD_PEER_KEY))
        .set("quota-backend-bytes", (2_u64 << 30).to_string())
        // The API server compacts every five minutes itself; this cleans up the rest.
        .set("auto-compaction-retention", "1h")
        // Several nodes may join at once.
        .set("max-learners", "4")
        .set("log-level", "warn");
    if spec.kubernetes.etcd_members.len() == 1 {
        // A single member has no other to wait for before the first election, which otherwise takes up to a second.
        flags.set("heartbeat-interval", "10").set("election-timeout", "100");
    }
    flags.extra(spec, "etcd");
    flags
}

#[cfg(test)]
mod tests {
    use kcl_node_spec::EtcdMember;

    use super::*;
    use crate::testing::spec;

    #[test]
    fn only_a_lone_member_elects_itself_at_once() {
        let mut spec = spec();
        assert!(flags(&spec).args().contains(&"--election-timeout=100".to_owned()));
        let mut second = spec.kubernetes.etcd_members[0].clone();
        second.name = "kcl-m02".to_owned();
        second.address = [10, 111, 0, 3].into();
        spec.kubernetes.etcd_members.push(second);
        let args = flags(&spec).args();
        assert!(!args.iter().any(|arg| arg.starts_with("--election-timeout")));
    }

    #[test]
    fn a_change_of_members_concerns_only_those_without_data() {
        let mut spec = spec();
        spec.kubernetes.etcd_members.push(EtcdMember { name: "kcl-m02".to_owned(), address: [10, 111, 0, 3].into() });
        let two = process(&spec);
        spec.kubernetes.etcd_members.push(EtcdMember { name: "kcl-m03".to_owned(), address: [10, 111, 0, 4].into() });
        spec.kubernetes.etcd_join = true;
        let three = process(&spec);
        assert_eq!(two.args, three.args);
        let cluster = "--initial-cluster=kcl=https://10.111.0.2:2380,kcl-m02=https://10.111.0.3:2380".to_owned();
        assert!(two.formation.contains(&cluster));
        assert!(three.formation.contains(&"--initial-cluster-state=existing".to_owned()));
    }

    #[test]
    fn nothing_is_served_without_tls_but_health() {
        let args = flags(&spec()).args();
        let plain: Vec<_> = args.iter().filter(|arg| arg.contains("http://")).collect();
        assert_eq!(plain, ["--listen-metrics-urls=http://127.0.0.1:2381"]);
    }
}
