//! Ingress: a client on the host goes through Traefik by host and path, with and without TLS, by Ingress and by Gateway.

mod client;
mod trust;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rcgen::{CertificateParams, KeyPair};

use crate::support::{LIMIT, TestCluster, eventually};
use client::Client;

/// The host's ports that lead to the cluster's first node.
pub(crate) const HTTP: u16 = 18080;
/// The HTTPS counterpart of [`HTTP`].
pub(crate) const HTTPS: u16 = 18443;

/// Uses all of it, on a cluster that publishes both ports.
pub(crate) fn story(cluster: &TestCluster<'_>) {
    cluster.apply(include_str!("manifests.yaml"));
    for deployment in ["deployment/red", "deployment/blue", "deployment/echo"] {
        cluster.rolled_out(deployment);
    }
    let ca = cluster.kcl(["ca"]).ok().to_owned();
    let local = Ipv4Addr::LOCALHOST;
    let http = SocketAddr::from((local, HTTP));
    let published = Client::new(&ca, http, (local, HTTPS).into());

    hosts_and_paths(&published);
    // Without the host's ports: the node's own, and the address of the Service where load balancers have one.
    let node = cluster.address(&cluster.node_names()[0]);
    let direct = Client::new(&ca, (node, 80).into(), (node, 443).into());
    assert_eq!(direct.get("http://paint.test/").body, "red");
    let balanced = cluster.field(&["service", "-n", "kcl-ingress", "traefik"], ".status.loadBalancer.ingress[0].ip");
    if let Ok(address) = balanced.parse::<Ipv4Addr>() {
        let balanced = Client::new(&ca, (address, 80).into(), (address, 443).into());
        assert_eq!(balanced.get("http://paint.test/").body, "red");
    }

    certificates(cluster, &published, &ca);
    nginx(&published);
    websocket(http);
    gateway(cluster, &published);
    no_dashboard(cluster, &published);
    trust::story(cluster, HTTPS);
}

fn hosts_and_paths(client: &Client) {
    client.until("http://paint.test/", "red");
    client.until("http://paint.test/blue/", "blue at /blue/");
    assert_eq!(client.get("http://paint.test/blue").status, 302, "busybox has the client ask for the directory");
    assert_eq!(client.get("http://paint.test/bluebird").body, "red has no such page", "a path's elements are whole");
    assert_eq!(client.get("http://nobody.test/").status, 404);
    // An Ingress without a class is of the default one.
    client.until("http://classless.test/", "blue");
}

fn certificates(cluster: &TestCluster<'_>, client: &Client, ca: &str) {
    // None is given: one of the cluster's CA, whose names are known; `Client` checks it.
    let own = format!("https://red.{}.internal/", cluster.profile);
    client.until(&own, "red");
    client.until("https://red.web.localhost/", "red");
    let answer = client.try_get("https://paint.test/");
    assert!(answer.is_err_and(|why| why.contains("NotValidForName")), "the certificate is not for all names");

    // The user's own.
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["own.test".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("a certificate").pem();
    let (cert_file, key_file) =
        (cluster.home.file("own.crt", &cert), cluster.home.file("own.key", &key.serialize_pem()));
    let flags = [format!("--cert={}", cert_file.display()), format!("--key={}", key_file.display())];
    cluster.kubectl(["create", "secret", "tls", "own", &flags[0], &flags[1]]);
    let trusting = client.trusting(&cert);
    trusting.until("https://own.test/", "blue");
    assert!(client.try_get("https://own.test/").is_err(), "it is not of the cluster's CA");
    assert!(!ca.is_empty());
}

/// Annotations as manifests for ingress-nginx carry them.
fn nginx(client: &Client) {
    client.until("http://rewritten.test/shop/hello", "hello of red");
    assert_eq!(client.get("http://rewritten.test/other").status, 404);
    // ssl-redirect is on where there is TLS.
    eventually("plain HTTP is sent to TLS", || {
        let answer = client.get("http://secure.web.localhost/hello?a=b");
        match (answer.status, answer.location.as_deref()) {
            (308, Some("https://secure.web.localhost/hello?a=b")) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    client.until("https://secure.web.localhost/hello", "hello of red");
    // And off where the manifest says so.
    client.until("http://both.web.localhost/hello", "hello of red");
    client.until("https://both.web.localhost/hello", "hello of red");
}

/// After the upgrade, bytes go both ways as they are.
fn websocket(address: SocketAddr) {
    let mut stream = eventually("an upgrade is answered", || {
        let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(LIMIT)).map_err(|error| error.to_string())?;
        let request = "GET /echo HTTP/1.1\r\nHost: echo.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).map_err(|error| error.to_string())?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.starts_with("HTTP/1.1 101 ") { Ok(stream) } else { Err(head) }
    });
    for message in ["one\n", "\u{81}\u{5}hello\n"] {
        stream.write_all(message.as_bytes()).expect("it is open");
        let mut back = vec![0; message.len()];
        stream.read_exact(&mut back).expect("it comes back");
        assert_eq!(back, message.as_bytes());
    }
}

fn gateway(cluster: &TestCluster<'_>, client: &Client) {
    client.until("http://gateway.web.localhost/", "blue");
    client.until("https://gateway.web.localhost/", "blue");
    client.until("http://gateway.web.localhost/to-red/hello", "hello of red");
    cluster.wait_for("condition=Programmed", &["gateway", "-n", "kcl-ingress", "traefik"]);
}

fn no_dashboard(cluster: &TestCluster<'_>, client: &Client) {
    for path in ["dashboard/", "api/rawdata"] {
        assert_eq!(client.get(&format!("http://nobody.test/{path}")).status, 404);
        let pod = cluster.field(&["pods", "-n", "kcl-ingress"], ".items[0].status.podIP");
        let inside = cluster.ssh(&cluster.node_names()[0], &format!("busybox wget -qO- http://{pod}:9100/{path}"));
        assert!(inside.fails().contains("404"), "{inside}");
    }
}
