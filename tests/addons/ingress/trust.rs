//! `kcl ca trust`, with this system's own tools and an empty trust store: a mount namespace has others in their places.

use std::process::Command;

use crate::support::{Output, TestCluster};

const STORES: &str = "/usr/local/share/ca-certificates";

pub(crate) fn story(cluster: &TestCluster<'_>, port: u16) {
    let pem = cluster.kcl(["ca"]).ok().to_owned();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    let before = list();
    let url = format!("https://red.web.localhost:{port}/");
    let resolve = format!("--resolve red.web.localhost:{port}:127.0.0.1");
    let kcl = format!("kcl() {{ {:?} -p {} \"$@\"; }}", cluster.command([""; 0]).get_program(), cluster.profile);
    let script = format!(
        "set -eu
        {kcl}
        mount -t tmpfs tmpfs {STORES}
        mount -t tmpfs tmpfs /etc/ssl/certs
        page() {{ curl --silent --show-error --noproxy '*' --capath /etc/ssl/certs {resolve} {url}; }}
        update-ca-certificates >/dev/null
        ! page 2>/dev/null
        kcl ca trust
        page
        kcl ca trust
        kcl ca untrust
        ! page 2>/dev/null
        kcl ca untrust
        ls {STORES}
        find /etc/ssl/certs -name 'kcl-*'"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    for (name, value) in cluster.command([""; 0]).get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = Output::of(&mut command);
    assert_eq!(output.ok(), "red", "{output}");
    for words in ["ran update-ca-certificates", "is already trusted", "Removed ", "does not exist"] {
        assert!(output.stderr.contains(words), "{words}: {output}");
    }
    assert_eq!(list(), before, "this system's own is as it was");
}

fn list() -> Vec<std::ffi::OsString> {
    std::fs::read_dir(STORES).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}
