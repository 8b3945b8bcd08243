//! Tests that check certificates with another library than the one that issues them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use x509_parser::extensions::GeneralName;

use super::*;

const HOUR: i64 = 3600;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn now() -> jiff::Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn later(seconds: i64) -> jiff::Timestamp {
    now() + jiff::SignedDuration::from_secs(seconds)
}

fn node(role: Role) -> NodeIdentity {
    NodeIdentity { name: "kcl-m02".into(), role, address: "10.1.0.3".parse().unwrap() }
}

fn cluster() -> ClusterIdentity {
    ClusterIdentity {
        cluster: "kcl".into(),
        dns_domain: "cluster.local".into(),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        apiserver_names: vec!["api.example.org".into()],
        apiserver_ips: vec!["2001:db8::1".parse().unwrap()],
        expiration: YEAR,
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    pki: Pki,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(&dir.path().join("kcl/pki"), "kcl", now()).unwrap();
    Fixture { dir, pki }
}

fn by_name(files: &[File]) -> BTreeMap<String, String> {
    let name = |file: &File| file.path.strip_prefix("/etc/kubernetes").unwrap().display().to_string();
    files.iter().map(|file| (name(file), String::from_utf8(file.content.clone()).unwrap())).collect()
}

/// Formats the subject, usages and names of a certificate.
struct Said {
    subject: String,
    server: bool,
    client: bool,
    names: BTreeSet<String>,
    begin: i64,
    end: i64,
}

fn said(cert_pem: &str, ca_pem: &str) -> Said {
    let (cert, ca) = (pem::parse(cert_pem).unwrap(), pem::parse(ca_pem).unwrap());
    let (_, cert) = x509_parser::parse_x509_certificate(cert.contents()).unwrap();
    let (_, ca) = x509_parser::parse_x509_certificate(ca.contents()).unwrap();
    assert!(ca.is_ca() && !cert.is_ca());
    cert.verify_signature(Some(ca.public_key())).unwrap();
    assert_eq!(cert.raw_serial().len(), 16);
    let usage = cert.extended_key_usage().unwrap().unwrap().value;
    let names = cert.subject_alternative_name().unwrap().map(|names| names.value.general_names.clone());
    let name = |name: GeneralName<'_>| match name {
        GeneralName::DNSName(name) => name.to_owned(),
        GeneralName::IPAddress(bytes) if bytes.len() == 4 => {
            Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap()).to_string()
        }
        GeneralName::IPAddress(bytes) => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()).to_string(),
        other => panic!("{other:?}"),
    };
    Said {
        subject: cert.subject().to_string(),
        server: usage.server_auth,
        client: usage.client_auth,
        names: names.unwrap_or_default().into_iter().map(name).collect(),
        begin: cert.validity().not_before.timestamp(),
        end: cert.validity().not_after.timestamp(),
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_control_plane_gets_all_files_and_a_worker_only_its_own() {
    let Fixture { pki, .. } = fixture();
    let files = pki.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap();
    assert!(files.renewed.is_empty());
    let all = by_name(&files.files);
    assert_eq!(
        all.keys().cloned().collect::<BTreeSet<_>>(),
        set(&[
            "controller-manager.conf",
            "encryption.yaml",
            "kcl-policy.conf",
            "kube-proxy.conf",
            "kubelet.conf",
            "scheduler.conf",
            "pki/apiserver-etcd-client.crt",
            "pki/apiserver-etcd-client.key",
            "pki/apiserver-kubelet-client.crt",
            "pki/apiserver-kubelet-client.key",
            "pki/apiserver.crt",
            "pki/apiserver.key",
            "pki/ca.crt",
            "pki/ca.key",
            "pki/etcd/ca.crt",
            "pki/etcd/peer.crt",
            "pki/etcd/peer.key",
            "pki/etcd/server.crt",
            "pki/etcd/server.key",
            "pki/front-proxy-ca.crt",
            "pki/front-proxy-client.crt",
            "pki/front-proxy-client.key",
            "pki/kubelet.crt",
            "pki/kubelet.key",
            "pki/sa.key",
            "pki/sa.pub",
            "pki/signing-ca.crt",
        ])
    );
    for file in &files.files {
        let open = file.path.extension().is_some_and(|ending| ending == "crt" || ending == "pub");
        assert_eq!(file.mode, if open { 0o644 } else { 0o600 }, "{file:?}");
    }
    let worker = by_name(&pki.node_files(&node(Role::Worker), &cluster(), now()).unwrap().files);
    let own =
        ["kcl-policy.conf", "kube-proxy.conf", "kubelet.conf", "pki/ca.crt", "pki/kubelet.crt", "pki/kubelet.key"];
    assert_eq!(worker.keys().cloned().collect::<BTreeSet<_>>(), set(&own));
}

#[test]
fn certificates_say_what_kubernetes_expects() {
    let Fixture { pki, .. } = fixture();
    let files = by_name(&pki.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap().files);
    let said = |name: &str, ca: &str| said(&files[&format!("pki/{name}.crt")], &files[&format!("pki/{ca}.crt")]);

    let api = said("apiserver", "ca");
    assert_eq!((api.server, api.client), (true, false));
    assert_eq!(
        api.names,
        set(&[
            "kcl-m02",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "api.example.org",
            "10.1.0.3",
            "127.0.0.1",
            "10.96.0.1",
            "2001:db8::1",
        ])
    );
    assert_eq!((api.begin, api.end), (now().as_second() - HOUR, now().as_second() + YEAR.as_secs() as i64));

    let kubelet = said("kubelet", "ca");
    assert!(kubelet.server && !kubelet.client);
    assert_eq!(kubelet.names, set(&["kcl-m02", "10.1.0.3"]));
    assert!(kubelet.subject.contains("CN=system:node:kcl-m02") && kubelet.subject.contains("O=system:nodes"));

    for name in ["etcd/server", "etcd/peer"] {
        let etcd = said(name, "etcd/ca");
        assert!(etcd.server && etcd.client);
        assert_eq!(etcd.names, set(&["kcl-m02", "localhost", "127.0.0.1", "10.1.0.3"]));
    }
    for (name, ca, subject) in [
        ("apiserver-kubelet-client", "ca", "CN=kube-apiserver-kubelet-client"),
        ("apiserver-etcd-client", "etcd/ca", "CN=kube-apiserver-etcd-client"),
        ("front-proxy-client", "front-proxy-ca", "CN=front-proxy-client"),
    ] {
        let client = said(name, ca);
        assert!(client.client && !client.server && client.names.is_empty());
        assert_eq!(client.subject, subject);
    }
}

#[test]
fn kubeconfigs_carry_the_right_users() {
    let Fixture { pki, .. } = fixture();
    let files = by_name(&pki.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap().files);
    for (name, subject) in [
        ("controller-manager.conf", "CN=system:kube-controller-manager"),
        ("scheduler.conf", "CN=system:kube-scheduler"),
        ("kubelet.conf", "CN=system:node:kcl-m02, O=system:nodes"),
        ("kube-proxy.conf", "CN=system:kube-proxy"),
        ("kcl-policy.conf", "CN=system:kcl-policy"),
    ] {
        let document: serde_json::Value = serde_json::from_str(&files[name]).unwrap();
        assert_eq!(document["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6443");
        assert_eq!(document["current-context"], document["contexts"][0]["name"]);
        assert_eq!(document["contexts"][0]["context"]["user"], document["users"][0]["name"]);
        let data = |value: &serde_json::Value| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let user = &document["users"][0]["user"];
        let said = said(&data(&user["client-certificate-data"]), &files["pki/ca.crt"]);
        assert!(said.client && !said.server);
        assert_eq!(said.subject, subject);
        assert!(rcgen::KeyPair::from_pem(&data(&user["client-key-data"])).is_ok());
        assert_eq!(data(&document["clusters"][0]["cluster"]["certificate-authority-data"]), files["pki/ca.crt"]);
    }
}

#[test]
fn the_administrator_is_a_master() {
    let Fixture { pki, .. } = fixture();
    let admin = pki.admin_credentials(YEAR, now()).unwrap();
    assert_eq!(said(&admin.cert_pem, &admin.ca_pem).subject, "CN=kubernetes-admin, O=system:masters");
    assert_eq!(pki.admin_credentials(YEAR, now()).unwrap(), admin);
    assert!(!format!("{admin:?}").contains("KEY"));
}

#[test]
fn secrets_are_encrypted_first_and_readable_in_the_clear() {
    let Fixture { pki, .. } = fixture();
    let document: serde_json::Value = serde_json::from_str(&pki.material.encryption).unwrap();
    let providers = &document["resources"][0]["providers"];
    let key = providers[0]["secretbox"]["keys"][0]["secret"].as_str().unwrap();
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(key).unwrap().len(), 32);
    assert!(providers[1].get("identity").is_some());
    assert_eq!(document["resources"][0]["resources"][0], "secrets");
}

#[test]
fn a_second_start_uses_everything_again() {
    let Fixture { dir, pki } = fixture();
    let first = pki.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap();
    let again = Pki::open_or_create(&dir.path().join("kcl/pki"), "kcl", later(HOUR)).unwrap();
    let second = again.node_files(&node(Role::ControlPlane), &cluster(), later(HOUR)).unwrap();
    assert!(second.renewed.is_empty());
    assert_eq!(first.files, second.files);
}

#[test]
fn only_what_is_no_longer_right_is_issued_again() {
    let Fixture { dir, pki } = fixture();
    let kept = dir.path().join("kcl/pki/nodes/kcl-m02");
    let control_plane = node(Role::ControlPlane);
    let issue = |cluster: &ClusterIdentity, at| {
        let issued = pki.node_files(&control_plane, cluster, at).unwrap();
        issued.renewed
    };
    pki.node_files(&control_plane, &cluster(), now()).unwrap();

    let more = ClusterIdentity { apiserver_names: vec!["other.example.org".into()], ..cluster() };
    assert_eq!(issue(&more, now()), ["apiserver.crt: its names or addresses are not as wanted"]);

    std::fs::write(kept.join("scheduler.crt"), "").unwrap();
    std::fs::write(kept.join("kube-proxy.key"), "x").unwrap();
    std::fs::copy(kept.join("kubelet.key"), kept.join("etcd/peer.key")).unwrap();
    for ending in ["crt", "key"] {
        std::fs::copy(kept.join(format!("kubelet.{ending}")), kept.join(format!("kubelet-client.{ending}"))).unwrap();
        let from = kept.join(format!("apiserver-etcd-client.{ending}"));
        std::fs::copy(from, kept.join(format!("front-proxy-client.{ending}"))).unwrap();
    }
    assert_eq!(
        issue(&more, now()),
        [
            "kubelet-client.crt: its usages are not as wanted",
            "kube-proxy.crt: its key cannot be read",
            "front-proxy-client.crt: it is not signed by the present CA",
            "etcd/peer.crt: its key is another one's",
            "scheduler.crt: it cannot be read",
        ]
    );
    std::fs::remove_file(kept.join("apiserver.key")).unwrap();
    // A missing certificate is issued, not renewed.
    assert!(issue(&more, now()).is_empty() && kept.join("apiserver.key").exists());

    let life = YEAR.as_secs() as i64;
    assert!(issue(&more, later(life * 2 / 3 - 1)).is_empty());
    assert_eq!(issue(&more, later(life * 2 / 3 + 2)).len(), 12);
    assert!(issue(&more, later(life)).is_empty());
    // Those that live shorter than they are backdated are not renewed all the time.
    let short = ClusterIdentity { expiration: Duration::from_secs(600), ..more };
    pki.forget_leaves().unwrap();
    assert!(issue(&short, now()).is_empty() && issue(&short, later(390)).is_empty());
    let issued = pki.node_files(&control_plane, &short, later(500)).unwrap();
    assert!(issued.renewed.len() == 12 && !issued.was_invalid);
    let issued = pki.node_files(&control_plane, &short, later(5000)).unwrap();
    assert!(issued.was_invalid && issued.renewed.iter().all(|one| one.ends_with("it has ended")));
}

#[test]
fn no_leaf_outlives_its_ca() {
    let Fixture { pki, .. } = fixture();
    let at = later(8 * YEAR.as_secs() as i64);
    let admin = pki.admin_credentials(3 * YEAR, at).unwrap();
    assert_eq!(said(&admin.cert_pem, &admin.ca_pem).end, now().as_second() + 10 * YEAR.as_secs() as i64);
}

#[test]
fn the_ca_that_users_trust_vouches_for_names_of_this_computer_and_those_that_addons_were_given() {
    let Fixture { dir, pki } = fixture();
    let issue = |pki: &Pki, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (cert, _) = pki.server_certificate("web", &names, YEAR, now()).unwrap();
        (cert, pki.services_ca(now()).unwrap())
    };
    let names = ["localhost", "kcl.internal", "*.kcl.internal", "metrics.kube-system.svc"];
    let (first, (ca, number)) = issue(&pki, &names);
    assert!(said(&first, &ca).server);
    assert_ne!(ca, pki.ca_pem());
    assert!(is_believed(&first, &ca, "a.kcl.internal") && is_believed(&first, &ca, "localhost"));
    // Whoever has its key cannot vouch for others' names with what was trusted.
    let (foreign, (wider, same)) = issue(&pki, &["bank.example.com"]);
    assert!(!is_believed(&foreign, &ca, "bank.example.com") && is_believed(&foreign, &wider, "bank.example.com"));
    assert!(is_believed(&first, &wider, "localhost") && number == same);
    // It stays, and is on no node.
    let again = Pki::open_or_create(&dir.path().join("kcl/pki"), "kcl", later(HOUR)).unwrap();
    assert_eq!(again.services_ca(now()).unwrap(), (wider.clone(), number));
    let files = by_name(&again.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap().files);
    assert!(files.values().all(|content| !content.contains(wider.trim())));
}

/// Verifies a chain as a TLS client does.
fn is_believed(cert_pem: &str, ca_pem: &str, name: &str) -> bool {
    use rustls::client::WebPkiServerVerifier;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
    let all = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).map(|one| one.unwrap()).collect::<Vec<_>>();
    let mut roots = rustls::RootCertStore::empty();
    for ca in all(ca_pem) {
        roots.add(ca).unwrap();
    }
    let chain = all(cert_pem);
    let provider = rustls::crypto::ring::default_provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.into()).build().unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now().as_second() as u64));
    use rustls::client::danger::ServerCertVerifier as _;
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &ServerName::try_from(name.to_owned()).unwrap(), &[], at)
        .is_ok()
}

#[test]
fn a_clock_that_was_ahead_is_overcome() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kcl/pki");
    let ahead = Pki::open_or_create(&path, "kcl", later(48 * HOUR)).unwrap();
    ahead.node_files(&node(Role::ControlPlane), &cluster(), later(48 * HOUR)).unwrap();
    let right = Pki::open_or_create(&path, "kcl", now()).unwrap();
    assert_ne!(right.ca_pem(), ahead.ca_pem());
    assert_eq!(right.material.cluster.key_pem, ahead.material.cluster.key_pem);
    let issued = right.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap();
    let files = by_name(&issued.files);
    let certificates = files.iter().filter(|(name, _)| name.ends_with(".crt"));
    for (name, pem) in certificates.clone() {
        let pem = pem::parse(pem).unwrap();
        let (_, cert) = x509_parser::parse_x509_certificate(pem.contents()).unwrap();
        assert!(cert.validity().not_before.timestamp() <= now().as_second(), "{name}");
    }
    assert!(issued.renewed.len() > 5 && issued.renewed.iter().all(|one| one.contains("the clock was ahead")));
    // A third start finds all as it should be.
    let again = Pki::open_or_create(&path, "kcl", now()).unwrap();
    assert_eq!(again.ca_pem(), right.ca_pem());
    assert!(again.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap().renewed.is_empty());
}

#[test]
fn keys_on_disk_are_for_their_owner_only() {
    let Fixture { dir, pki } = fixture();
    pki.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap();
    let mut dirs = vec![dir.path().join("kcl")];
    while let Some(dir) = dirs.pop() {
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700, "{dir:?}");
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}"),
            }
        }
    }
    assert_eq!(std::fs::read_dir(dir.path().join("kcl")).unwrap().count(), 1);
    pki.forget_node("kcl-m02").unwrap();
    pki.forget_node("kcl-m02").unwrap();
    assert!(!dir.path().join("kcl/pki/nodes/kcl-m02").exists());
}

#[test]
fn damaged_material_is_named_and_not_replaced() {
    for name in ["ca.key", "etcd-ca.crt", "sa.key", "sa.pub", "encryption.json"] {
        let Fixture { dir, .. } = fixture();
        let pki = dir.path().join("kcl/pki");
        let open = || {
            let error = Pki::open_or_create(&pki, "kcl", now()).err().unwrap();
            assert_eq!(error.id, Id::PkiUnusable);
            assert!(error.message.contains(name) && error.hints[1].contains("kcl delete -p kcl"), "{error:?}");
        };
        std::fs::write(pki.join(name), "x").unwrap();
        open();
        std::fs::remove_file(pki.join(name)).unwrap();
        open();
        assert!(!pki.join(name).exists());
    }
    let Fixture { dir, .. } = fixture();
    let pki = dir.path().join("kcl/pki");
    std::fs::copy(pki.join("etcd-ca.key"), pki.join("ca.key")).unwrap();
    let error = Pki::open_or_create(&pki, "kcl", now()).err().unwrap();
    assert!(error.message.ends_with("the key is not the certificate's"), "{error}");
}

#[test]
fn while_cas_are_rotated_old_and_new_believe_each_other() {
    let Fixture { dir, mut pki } = fixture();
    let issue = |pki: &Pki| by_name(&pki.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap().files);
    let old = issue(&pki);
    pki.begin_rotation(now()).unwrap();
    assert!(pki.is_rotating());
    let both = issue(&pki);
    for (name, ca) in
        [("apiserver", "ca.crt"), ("kubelet", "ca.crt"), ("etcd/server", "etcd/ca.crt"), ("etcd/peer", "etcd/ca.crt")]
    {
        let (leaf, ca) = (format!("pki/{name}.crt"), format!("pki/{ca}"));
        let host = if name.starts_with("etcd") { "localhost" } else { "kcl-m02" };
        for files in [&old, &both] {
            assert!(is_believed(&files[&leaf], &both[&ca], host), "{name}: both CAs are trusted");
        }
        assert!(is_believed(&both[&leaf], &old[&ca], host), "{name}: pods that have read the CA before go on");
        assert_ne!(both[&leaf], old[&leaf]);
    }
    // The controller manager takes one certificate only, that of its key.
    assert_eq!(pem::parse_many(&both["pki/signing-ca.crt"]).unwrap().len(), 1);
    assert_eq!(pem::parse_many(&both["pki/ca.crt"]).unwrap().len(), 2);
    // An interrupted one goes on.
    let mut again = Pki::open_or_create(&dir.path().join("kcl/pki"), "kcl", later(60)).unwrap();
    again.begin_rotation(later(60)).unwrap();
    assert_eq!(issue(&again), both);
    again.end_rotation(later(60)).unwrap();
    let new = issue(&again);
    assert!(!again.is_rotating());
    assert_eq!(new["pki/ca.crt"], new["pki/signing-ca.crt"]);
    assert_eq!(new["pki/apiserver.crt"], both["pki/apiserver.crt"]);
    assert!(is_believed(&new["pki/apiserver.crt"], &new["pki/ca.crt"], "kcl-m02"));
    assert!(!is_believed(&old["pki/apiserver.crt"], &new["pki/ca.crt"], "kcl-m02"));
    again.begin_rotation(later(120)).unwrap();
    again.end_rotation(later(120)).unwrap();
    let third = issue(&again);
    assert!(is_believed(&third["pki/apiserver.crt"], &new["pki/ca.crt"], "kcl-m02"));
    // etcd and the API server may still trust the first one only.
    assert!(is_believed(&third["pki/apiserver.crt"], &old["pki/ca.crt"], "kcl-m02"));
}

#[test]
fn a_rotation_that_was_killed_is_resumed() {
    let Fixture { dir, mut pki } = fixture();
    let place = dir.path().join("kcl/pki");
    let before = pki.ca_pem();
    pki.begin_rotation(now()).unwrap();
    let after = pki.material.cluster.cert_pem.clone();
    // As after a kill between the renames of a key and of its certificate.
    std::fs::create_dir(place.join("next")).unwrap();
    std::fs::rename(place.join("ca.crt"), place.join("next/ca.crt")).unwrap();
    std::fs::write(place.join("ca.crt"), &before).unwrap();
    let again = Pki::open_or_create(&place, "kcl", now()).unwrap();
    assert_eq!(again.ca_pem(), format!("{after}{before}"));
    assert!(!place.join("next").exists());
}

#[test]
fn all_certificates_are_listed_with_their_health() {
    let Fixture { pki, dir: _dir } = fixture();
    pki.admin_credentials(YEAR, now()).unwrap();
    pki.node_files(&node(Role::ControlPlane), &cluster(), now()).unwrap();
    pki.server_certificate("web", &["localhost".to_owned()], YEAR, now()).unwrap();
    let list = pki.certificates(&[node(Role::ControlPlane)], &cluster());
    let names: Vec<String> = list.iter().map(Certificate::full_name).collect();
    let wanted = [
        "ca",
        "etcd-ca",
        "front-proxy-ca",
        "services-ca",
        "admin",
        "kcl-m02/kubelet",
        "kcl-m02/etcd/peer",
        "servers/web",
    ];
    assert!(wanted.iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    let one = list.iter().find(|one| one.name == "apiserver").unwrap();
    assert_eq!((one.subject.as_str(), one.issuer.as_str()), ("CN=kube-apiserver", "CN=kcl-ca"));
    assert_eq!(one.health(now()), Health::Valid);
    assert_eq!(one.health(one.due()), Health::Due);
    assert_eq!(one.health(one.ends), Health::Ended);
    assert_eq!(one.health(later(-2 * HOUR)), Health::NotYetValid);
}

#[test]
fn a_ca_is_issued_again_with_its_key_before_it_ends() {
    let Fixture { dir, pki } = fixture();
    let year = YEAR.as_secs() as i64;
    let again = Pki::open_or_create(&dir.path().join("kcl/pki"), "kcl", later(8 * year)).unwrap();
    assert_ne!(again.ca_pem(), pki.ca_pem());
    assert_eq!(again.material.cluster.key_pem, pki.material.cluster.key_pem);
    let admin = again.admin_credentials(3 * YEAR, later(8 * year)).unwrap();
    assert_eq!(said(&admin.cert_pem, &pki.ca_pem()).end, later(11 * year).as_second());
}
