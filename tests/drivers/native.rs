//! Containers of the bundled runc: the story that all drivers share. `tests/cluster` has the other tests.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use crate::story;
use crate::support::{Home, Output};

#[test]
fn three_nodes() {
    let home = Home::new("native");
    let port = story::free_port();
    let ports = format!("{port}:8080");
    let cluster = story::three_nodes(&home, "native", &["--driver", "native", "--ports", &ports]);
    story::published_port_answers(&cluster, port);
    home.step("other networks do not reach its nodes");
    let node = cluster.address(&cluster.node_names()[0]);
    let lan = Lan::new();
    assert!(lan.reaches(LAN_HOST, lan.listener()), "a port of this host");
    assert!(std::net::TcpStream::connect((node, 10250)).is_ok(), "the kubelet, from this host");
    for port in [6443, 2379, 10250] {
        assert!(!lan.reaches(node, port), "{port}");
    }
    drop(lan);
    cluster.kcl(["delete"]).ok();
}

/// This host's address in a network beside it, and the address of another host there.
const LAN_HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const LAN_OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// A network beside this host, in which another host has it as its router.
struct Lan {
    name: String,
    listener: TcpListener,
}

impl Lan {
    fn new() -> Self {
        let name = format!("kl{}", std::process::id());
        let (here, there) = (format!("{name}a"), format!("{name}b"));
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &name]);
        ip(&["address", "add", &format!("{LAN_HOST}/30"), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        ip(&["-n", &name, "address", "add", &format!("{LAN_OTHER}/30"), "dev", &there]);
        ip(&["-n", &name, "link", "set", &there, "up"]);
        ip(&["-n", &name, "route", "add", "default", "via", &LAN_HOST.to_string()]);
        Lan { name, listener: TcpListener::bind((LAN_HOST, 0)).expect("a port") }
    }

    fn listener(&self) -> u16 {
        self.listener.local_addr().expect("its address").port()
    }

    /// Tells whether a connection from there succeeds.
    fn reaches(&self, address: Ipv4Addr, port: u16) -> bool {
        let line = format!("exec 3<>/dev/tcp/{address}/{port}");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "timeout", "3", "bash", "-c", &line]);
        Output::of(&mut command).succeeded()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.name]);
    }
}

#[track_caller]
fn ip(words: &[&str]) {
    Output::of(Command::new("ip").args(words)).ok();
}
