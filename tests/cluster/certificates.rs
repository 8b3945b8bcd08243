//! Certificates that end: `kcl start` issues new ones, also for a cluster that was stopped for too long.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use kcl::pki::{ClusterIdentity, NodeIdentity, Pki};
use kcl_node_spec::Role;

use crate::support::{Home, TestCluster};

/// The validity of the certificates.
const HOURS: i64 = 24;

#[test]
fn certificates_are_renewed_by_a_start() {
    let home = Home::new("certificates");
    let cluster = home.start("aging", &["--nodes", "2", "--cert-expiration", &format!("{HOURS}h")]);
    cluster.kubectl(["create", "configmap", "kept", "--from-literal=word=kept"]);
    let uids = cluster.field(&["nodes"], ".items[*].metadata.uid");
    let works = |what: &str| {
        cluster.kcl(["status"]).ok();
        assert_eq!(cluster.field(&["configmap", "kept"], ".data.word"), "kept", "{what}");
        assert_eq!(cluster.field(&["nodes"], ".items[*].metadata.uid"), uids, "{what}");
        for node in cluster.node_names() {
            assert_eq!(cluster.run_on(&node, "works", "echo works"), "works", "{what}");
        }
        assert_eq!(still_good(&cluster), Vec::<String>::new(), "{what}");
    };

    home.step("good ones are left alone");
    let (first, user) = (serials(&cluster), user(&home));
    cluster.start(&[]).ok();
    assert_eq!((serials(&cluster), self::user(&home)), (first.clone(), user.clone()));
    works("from the start");

    home.step("they have ended while the cluster was off");
    cluster.kcl(["stop"]).ok();
    issue_all_anew(&cluster, Timestamp::now() - (2 * HOURS).hours());
    let started = cluster.start(&[]);
    started.ok();
    assert!(started.stderr.contains("Renewed certificates"), "{started}");
    let second = serials(&cluster);
    assert!(second.iter().zip(&first).all(|(new, old)| new != old), "{second:?}");
    assert_ne!(self::user(&home), user, "the user's own too");
    works("after they had ended");

    home.step("less than a third is left while the cluster runs");
    let user = self::user(&home);
    issue_all_anew(&cluster, Timestamp::now() - (HOURS * 5 / 6).hours());
    let started = cluster.start(&[]);
    started.ok();
    assert!(started.stderr.contains("Renewed certificates"), "{started}");
    let third = serials(&cluster);
    assert!(third.iter().zip(&second).all(|(new, old)| new != old), "{third:?}");
    assert_ne!(self::user(&home), user, "the user's own too");
    works("after a renewal");
}

/// The certificates of the nodes and of the user as kcl would have issued them at a time in the past.
fn issue_all_anew(cluster: &TestCluster<'_>, past: Timestamp) {
    let dir: PathBuf = cluster.home.path().join("clusters").join(&cluster.profile).join("pki");
    let pki = Pki::open_or_create(&dir, &cluster.profile, past).expect("the cluster's own CAs");
    let life = Duration::from_secs(HOURS as u64 * 3600);
    let identity = ClusterIdentity {
        cluster: cluster.profile.clone(),
        dns_domain: "cluster.local".to_owned(),
        service_cidr: "10.96.0.0/16".parse().expect("a network"),
        apiserver_names: Vec::new(),
        apiserver_ips: Vec::new(),
        expiration: life,
    };
    for (index, name) in cluster.node_names().into_iter().enumerate() {
        pki.forget_node(&name).expect("forgotten");
        let role = if index == 0 { Role::ControlPlane } else { Role::Worker };
        let node = NodeIdentity { address: cluster.address(&name).into(), name, role };
        pki.node_files(&node, &identity, past).expect("certificates of the past");
    }
    for file in ["admin.crt", "admin.key"] {
        std::fs::remove_file(dir.join(file)).expect("the user's own");
    }
    pki.admin_credentials(life, past).expect("credentials of the past");
}

/// All certificates that nodes have, by their texts.
fn serials(cluster: &TestCluster<'_>) -> Vec<String> {
    let line = "cd /etc/kubernetes && for file in $(find . -name '*.crt' ! -name 'ca.crt' ! -name '*-ca.crt' | sort); do \
                sha256sum $file; done; grep -h client-certificate-data *.conf";
    cluster
        .node_names()
        .iter()
        .flat_map(|node| cluster.ssh(node, line).ok().lines().map(|line| format!("{node} {line}")).collect::<Vec<_>>())
        .collect()
}

/// The certificate of the user's kubeconfig.
fn user(home: &Home) -> String {
    home.yaml(&home.kubeconfig())["users"][0]["user"]["client-certificate-data"].to_string()
}

/// The certificates on nodes that are not good now: none, it is hoped.
fn still_good(cluster: &TestCluster<'_>) -> Vec<String> {
    let mut bad = Vec::new();
    for node in cluster.node_names() {
        let files = cluster.ssh(&node, "cat $(find /etc/kubernetes -name '*.crt')");
        for block in pem::parse_many(files.ok()).expect("PEM") {
            let (_, certificate) = x509_parser::parse_x509_certificate(block.contents()).expect("X.509");
            if !certificate.validity().is_valid() {
                bad.push(format!("{node}: {}", certificate.subject()));
            }
        }
    }
    bad
}
