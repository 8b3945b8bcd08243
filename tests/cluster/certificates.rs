//! Certificates that end: `kcl start` issues new ones, also for a cluster that was stopped for too long, and a process in the
//! background does while it runs; and certificates and CAs that the user wants replaced.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, ToSpan};
use kcl::pki::{ClusterIdentity, NodeIdentity, Pki};
use kcl_driver_api::File;
use kcl_node_spec::Role;

use crate::support::{Home, IMAGE, Output, TestCluster, eventually};

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
    let (user, pids) = (self::user(&home), lasting(&cluster));
    issue_all_anew(&cluster, Timestamp::now() - (HOURS * 5 / 6).hours());
    let started = cluster.start(&[]);
    started.ok();
    assert!(started.stderr.contains("Renewed certificates"), "{started}");
    let third = serials(&cluster);
    assert!(third.iter().zip(&second).all(|(new, old)| new != old), "{third:?}");
    assert_ne!(self::user(&home), user, "the user's own too");
    works("after a renewal");
    assert_eq!(lasting(&cluster), pids, "neither nodes nor the API server have been restarted for it");

    home.step("and nobody starts it");
    let user = self::user(&home);
    end_renewal(&cluster);
    issue_all_anew(&cluster, Timestamp::now() - (HOURS * 5 / 6).hours());
    cluster.kcl(["status"]).ok();
    eventually("a process in the background renews them", || {
        let now = serials(&cluster);
        let new = now.iter().zip(&third).all(|(new, old)| new != old) && self::user(&home) != user;
        if new { Ok(()) } else { Err(format!("{now:?}")) }
    });
    works("after a renewal in the background");
    assert_eq!(lasting(&cluster), pids, "neither nodes nor the API server have been restarted for it");

    home.step("they have ended while it runs");
    end_renewal(&cluster);
    for (node, files) in issue_all_anew(&cluster, Timestamp::now() - (2 * HOURS).hours()) {
        for file in files {
            let line = format!("echo {} | base64 -d >{}", STANDARD.encode(&file.content), file.path.display());
            cluster.ssh(&node, &line).ok();
        }
        for (component, _) in cluster.components(&node) {
            cluster.ssh(&node, &format!("/opt/kcl/agent/kcl-node restart {component}")).ok();
        }
    }
    assert!(cluster.kcl(["certs", "list"]).ok().contains("Ended"));
    let status = cluster.kcl(["status"]);
    assert_eq!(status.code, Some(2), "{status}");
    assert!(status.stderr.contains("certificates have ended") && status.stderr.contains("aging/apiserver"), "{status}");
    cluster.start(&[]).ok();
    works("after they had ended while it ran");
    rotations(&home, &cluster);
    works("after rotations");

    home.step("a node joins, and has the images that a user brought before its pods");
    cluster.kcl(["image", "tag", IMAGE, "brought:1"]).ok();
    cluster.apply(EVERYWHERE);
    cluster.rolled_out("daemonset/everywhere");
    cluster.start(&["--nodes", "3"]).ok();
    cluster.rolled_out("daemonset/everywhere");
    assert_eq!(cluster.pods("app=everywhere").len(), 3);
    let without = cluster.kubectl(["get", "events", "-o", "name", "--field-selector", "reason=ErrImageNeverPull"]);
    assert_eq!(without, "", "no pod has been without its image");
    assert!(!cluster.field(&["nodes"], ".items[*].spec.taints").contains("kcl.dev"));
    assert_eq!(still_good(&cluster), Vec::<String>::new());
}

/// A pod on each node, of an image that is in no registry.
const EVERYWHERE: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: "brought:1", imagePullPolicy: Never, command: [sleep, infinity]}]
"#;

/// Certificates and CAs are replaced while clients ask: one with the user's kubeconfig, and one that has read the CA before
/// and has a token, as pods do.
fn rotations(home: &Home, cluster: &TestCluster<'_>) {
    let kubeconfig = home.yaml(&home.kubeconfig());
    let first = &kubeconfig["clusters"][0]["cluster"];
    let ca = home.file("old-ca.crt", &decoded(&first["certificate-authority-data"]));
    let token = cluster.kubectl(["create", "token", "default"]);
    let server = first["server"].as_str().expect("a server").to_owned();
    let pod = |ca: &Path| {
        let (ca, token) = (format!("--certificate-authority={}", ca.display()), format!("--token={token}"));
        // Without the user's kubeconfig, whose certificate would be sent too.
        let mut command = cluster.kubectl_command(["--kubeconfig=/dev/null", "--server", &server, &ca, &token]);
        Output::of(command.args(["get", "--raw", "/version"]))
    };
    pod(&ca).ok();

    for (what, arguments) in [("certificates", &["certs", "rotate"][..]), ("CAs", &["certs", "rotate", "--ca"])] {
        home.step(&format!("new {what} while clients ask"));
        let (before, user, pids) = (serials(cluster), user(home), lasting(cluster));
        let over = AtomicBool::new(false);
        let failures = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut failures = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    failures
                        .extend(Some(pod(&ca)).filter(|output| !output.succeeded()).map(|output| output.to_string()));
                }
                failures
            });
            let rotated = cluster.kcl(arguments);
            over.store(true, Ordering::Relaxed);
            rotated.ok();
            asking.join().expect("a client")
        });
        assert_eq!(failures, Vec::<String>::new());
        assert!(serials(cluster).iter().zip(&before).all(|(new, old)| new != old), "all are new");
        assert_ne!(self::user(home), user, "the user's own too");
        assert_eq!(lasting(cluster), pids, "neither nodes nor the API server have been restarted for it");
        cluster.settled();
        pod(&ca).ok();
    }
    let kubeconfig = home.yaml(&home.kubeconfig());
    let new = decoded(&kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]);
    assert_ne!(new, std::fs::read_to_string(&ca).expect("the CA before"));
    assert_eq!(new.matches("BEGIN").count(), 1, "only the new one is trusted");
    eventually("pods get the new CA", || {
        let published = cluster.field(&["configmap", "kube-root-ca.crt"], r".data.ca\.crt");
        if published.trim() == new.trim() { Ok(()) } else { Err(published) }
    });
    let node = cluster.node_names().pop().expect("a node");
    let token = "cd /var/run/secrets/kubernetes.io/serviceaccount && test -s token && grep -c BEGIN ca.crt";
    assert_eq!(cluster.run_on(&node, "trusting", token), "1");
}

/// Ends the process that renews the certificates, as a reboot does: it would be faster than a look at what has ended.
fn end_renewal(cluster: &TestCluster<'_>) {
    let file = cluster.home.path().join("clusters").join(&cluster.profile).join("renewal");
    let note: serde_json::Value = serde_json::from_slice(&std::fs::read(file).expect("a note")).expect("JSON");
    let pid = note["process"]["pid"].as_u64().expect("a process");
    let gone =
        || nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL).is_err();
    eventually("it has ended", || if gone() { Ok(()) } else { Err(pid.to_string()) });
}

/// The processes that no renewal restarts.
fn lasting(cluster: &TestCluster<'_>) -> Vec<(String, u64)> {
    let kept = |name: &str| ["etcd", "kube-apiserver", "containerd"].contains(&name);
    let of = |node: String| cluster.components(&node).into_iter().filter(|(name, _)| kept(name)).collect::<Vec<_>>();
    cluster.node_names().into_iter().flat_map(of).collect()
}

fn decoded(data: &serde_json::Value) -> String {
    let bytes = STANDARD.decode(data.as_str().expect("a text")).expect("base64");
    String::from_utf8(bytes).expect("PEM")
}

/// Issues the certificates of the nodes and of the user as kcl would have at a time in the past. Returns the nodes' files.
fn issue_all_anew(cluster: &TestCluster<'_>, past: Timestamp) -> Vec<(String, Vec<File>)> {
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
    let mut files = Vec::new();
    for (index, name) in cluster.node_names().into_iter().enumerate() {
        pki.forget_node(&name).expect("forgotten");
        let role = if index == 0 { Role::ControlPlane } else { Role::Worker };
        let node = NodeIdentity { address: cluster.address(&name).into(), name: name.clone(), role };
        files.push((name, pki.node_files(&node, &identity, past).expect("certificates of the past").files));
    }
    for file in ["admin.crt", "admin.key"] {
        std::fs::remove_file(dir.join(file)).expect("the user's own");
    }
    pki.admin_credentials(life, past).expect("credentials of the past");
    files
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
