//! Services of type LoadBalancer: they have addresses at once, which answer the host and pods, move when their node goes,
//! and are kept over whatever else happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Home, TestCluster, eventually, http};

/// The Services that are to have an address, all of them in `manifests/balanced.yaml`.
const SERVICES: [(&str, &str); 4] =
    [("default", "first"), ("default", "second"), ("default", "local"), ("kube-system", "dns")];

const CONTROLLER: &str = "deployment/load-balancer";
const SPEAKER: &str = "daemonset/load-balancer-speaker";

#[test]
fn services_have_addresses_that_answer() {
    let home = Home::new("load-balancer");
    let cluster = home.start("balance", &["--nodes", "3"]);
    up(&cluster);
    cluster.apply(include_str!("manifests/balanced.yaml"));

    home.step("every Service has an address of its own");
    let addresses = addresses(&cluster);
    let distinct: std::collections::BTreeSet<_> = addresses.values().collect();
    assert_eq!(distinct.len(), SERVICES.len(), "{addresses:?}");
    assert_eq!(cluster.field(&["service", "another-class"], ".status.loadBalancer.ingress"), "");
    all_answer(&cluster, &addresses);
    let client = get(addresses["local"], "/cgi-bin/client").expect("the local Service answers");
    assert_eq!(client, cluster.gateway().to_string(), "the client's own address, here the host's");

    let listed = cluster.kcl(["tunnel", "-o", "json"]).ok().to_owned();
    assert!(addresses.values().all(|address| listed.contains(&format!("://{address}:"))), "{listed}");

    home.step("an address of one's choice");
    let wanted = Ipv4Addr::from_bits(addresses.values().max().expect("some").to_bits() + 7);
    cluster.apply(&service("picky", &format!("loadBalancerIP: {wanted}"), ""));
    assert_eq!(address(&cluster, "default", "picky"), wanted);
    let annotation = format!("kcl.dev/load-balancer-ip: {wanted}");
    cluster.apply(&service("late", "", &annotation));
    told(&cluster, "late", "AddressTaken", "default/picky");
    cluster.apply(&service("outside", "loadBalancerIP: 192.0.2.1", ""));
    told(&cluster, "outside", "AddressOutsidePool", "192.0.2.1");
    cluster.kubectl(["delete", "service", "picky", "outside"]);
    assert_eq!(address(&cluster, "default", "late"), wanted, "it is free now");
    cluster.kubectl(["delete", "service", "late"]);

    home.step("a pool that is used up");
    let many: String = (0..60).map(|number| service(&format!("many-{number}"), "", "set: many")).collect();
    cluster.apply(&many);
    let without = eventually("the pool is used up", || {
        let path = r#"range .items[?(@.metadata.annotations.set=="many")]}{.metadata.name}={.status.loadBalancer.ingress[0].ip}{"\n"}{end"#;
        let lines = cluster.field(&["services"], path);
        let without: Vec<_> = lines.lines().filter_map(|line| line.strip_suffix('=')).map(str::to_owned).collect();
        // The pool has 51 addresses.
        if without.len() == 60 + SERVICES.len() - 51 { Ok(without) } else { Err(lines) }
    });
    told(&cluster, &without[0], "AddressPoolExhausted", "kcl addons configure load-balancer");
    let mut names: Vec<_> = (0..60).map(|number| format!("many-{number}")).collect();
    names.retain(|name| *name != without[0]);
    cluster.kubectl(["delete", "service"].into_iter().map(str::to_owned).chain(names));
    address(&cluster, "default", &without[0]);
    cluster.kubectl(["delete", "service", &without[0]]);
    assert_eq!(self::addresses(&cluster), addresses, "nobody else's has changed");

    home.step("controller and speakers are started again");
    for what in [CONTROLLER, SPEAKER] {
        cluster.kubectl(["rollout", "restart", "-n", "kube-system", what]);
        get(addresses["first"], "/node").expect("an address answers without them");
    }
    up(&cluster);
    assert_eq!(self::addresses(&cluster), addresses);
    all_answer(&cluster, &addresses);

    home.step("the node that answers is gone");
    let node = announcer(&cluster, "first");
    assert_ne!(node, "balance", "workers come first");
    kill_node(&cluster, &node);
    let now = eventually("another node answers", || {
        let page = get(addresses["first"], "/node").map_err(|error| error.to_string())?;
        if announcer(&cluster, "first") == node { Err(page) } else { Ok(announcer(&cluster, "first")) }
    });
    home.step("it comes back, and nothing moves");
    cluster.start(&[]).ok();
    cluster.settled();
    up(&cluster);
    assert_eq!(announcer(&cluster, "first"), now);
    assert_eq!(self::addresses(&cluster), addresses);
    all_answer(&cluster, &addresses);

    home.step("stop and start");
    cluster.kcl(["stop"]).ok();
    cluster.start(&[]).ok();
    up(&cluster);
    assert_eq!(self::addresses(&cluster), addresses);
    all_answer(&cluster, &addresses);

    home.step("a Service that is of this type no longer, and one that is deleted");
    cluster.kubectl(["patch", "service", "second", "-p", r#"{"spec":{"type":"ClusterIP"}}"#]);
    cluster.kubectl(["delete", "service", "local"]);
    for name in ["second", "local"] {
        eventually("its address is on no node", || {
            let held: String =
                cluster.node_names().iter().map(|node| cluster.ssh(node, "ip -o address").stdout).collect();
            if held.contains(&format!("{}/32", addresses[name])) { Err(held) } else { Ok(()) }
        });
        get(addresses[name], "/node").expect_err("nobody answers");
    }
    eventually("the annotation goes too", || {
        let annotations = cluster.field(&["service", "second"], ".metadata.annotations");
        if annotations.contains("kcl.dev") { Err(annotations) } else { Ok(()) }
    });
    all_answer(&cluster, &BTreeMap::from([("first", addresses["first"]), ("dns", addresses["dns"])]));
}

/// Controller and speakers run.
#[track_caller]
fn up(cluster: &TestCluster<'_>) {
    for what in [CONTROLLER, SPEAKER] {
        cluster.kubectl(["rollout", "status", "-n", "kube-system", what, "--timeout=180s"]);
    }
}

/// Waits for the address of a Service.
#[track_caller]
fn address(cluster: &TestCluster<'_>, namespace: &str, name: &str) -> Ipv4Addr {
    eventually("a Service has an address", || {
        let address = cluster.field(&["-n", namespace, "service", name], ".status.loadBalancer.ingress[0].ip");
        address.parse().map_err(|_| format!("{name}: {address:?}"))
    })
}

#[track_caller]
fn addresses(cluster: &TestCluster<'_>) -> BTreeMap<&'static str, Ipv4Addr> {
    SERVICES.iter().map(|&(namespace, name)| (name, address(cluster, namespace, name))).collect()
}

/// The node that answers for a Service.
#[track_caller]
fn announcer(cluster: &TestCluster<'_>, service: &str) -> String {
    cluster.field(&["service", service], r".metadata.annotations.kcl\.dev/announced-by")
}

/// From the host and from a pod.
#[track_caller]
fn all_answer(cluster: &TestCluster<'_>, addresses: &BTreeMap<&str, Ipv4Addr>) {
    cluster.rolled_out("daemonset/peer");
    let pod = &cluster.pods("app=peer")[0].name;
    for (name, &address) in addresses {
        eventually(&format!("{name} ({address}) answers the host and a pod"), || match *name {
            "dns" => {
                resolve(address)?;
                let said = cluster.exec(pod, &format!("nslookup kubernetes.default.svc.cluster.local {address}"));
                if said.succeeded() { Ok(()) } else { Err(said.to_string()) }
            }
            _ => {
                get(address, "/node").map_err(|error| error.to_string())?;
                let said = cluster.exec(pod, &format!("wget -q -O - http://{address}/node"));
                if said.succeeded() { Ok(()) } else { Err(said.to_string()) }
            }
        });
    }
}

fn get(address: Ipv4Addr, path: &str) -> std::io::Result<String> {
    http::get((address, 80).into(), path).map(|page| page.trim().to_owned())
}

/// Asks the cluster's resolver by UDP (RFC 1035) for the address of the API's Service.
fn resolve(resolver: Ipv4Addr) -> Result<(), String> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["kubernetes", "default", "svc", "cluster", "local"] {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let asked = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send_to(&query, (resolver, 53))?;
        let mut answer = [0; 512];
        let (length, from) = socket.recv_from(&mut answer)?;
        Ok((answer[..length].to_vec(), from))
    };
    let (answer, from) = asked().map_err(|error: std::io::Error| format!("{resolver}: {error}"))?;
    // The same number, an answer, no error, and one record at least.
    let good = answer[..2] == query[..2] && answer[2] & 0x80 != 0 && answer[3] & 0x0f == 0 && answer[7] > 0;
    if good && from.ip() == resolver { Ok(()) } else { Err(format!("{from} answered {answer:?}")) }
}

/// A Service of the servers with a field of its `spec` and an annotation.
fn service(name: &str, field: &str, annotation: &str) -> String {
    let mut text = format!("---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\n");
    if !annotation.is_empty() {
        let _ = writeln!(text, "  annotations: {{{annotation}}}");
    }
    text.push_str("spec:\n  type: LoadBalancer\n  allocateLoadBalancerNodePorts: false\n  selector: {app: peer}\n");
    let _ = write!(text, "  ports: [{{port: 80}}]\n  {field}\n");
    text
}

/// A Service has no address, and an Event says why.
#[track_caller]
fn told(cluster: &TestCluster<'_>, service: &str, reason: &str, words: &str) {
    eventually("an event tells why there is no address", || {
        let of = format!("--field-selector=involvedObject.kind=Service,involvedObject.name={service},reason={reason}");
        let note = cluster.kubectl(["get", "events", &of, "-o", "jsonpath={.items[*].message}"]);
        if note.contains(words) { Ok(()) } else { Err(note) }
    });
    assert_eq!(cluster.field(&["service", service], ".status.loadBalancer.ingress"), "");
}

/// Ends all processes of a node at once, as its power cut would.
#[track_caller]
fn kill_node(cluster: &TestCluster<'_>, node: &str) {
    let agents = cluster.traces().processes.into_iter().filter(|(_, command)| command.contains("kcl-node run"));
    let of = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/root/etc/hostname")).unwrap_or_default();
    let agents: Vec<i32> = agents.map(|(pid, _)| pid).filter(|pid| of(pid).trim() == node).collect();
    assert_eq!(agents.len(), 1, "the agent of {node} is one process");
    kill(Pid::from_raw(agents[0]), Signal::SIGKILL).expect("it runs");
}
