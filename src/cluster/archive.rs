//! `kcl logs --archive`: everything that a bug report needs, without keys, and without what users keep secret.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use kcl_driver_api::{Exec, Machine, Stdout};
use kcl_files::NewFile;
use kcl_node_spec::paths;

use super::drivers;
use super::kubectl::kubectl;
use super::logs::COMPONENTS;
use crate::addon_config::AddonConfig;
use crate::app::App;
use crate::error::{Error, Id, Result};
use crate::state::ClusterState;

/// The queries to kubectl for a bug report, each with the file for the answer.
const QUESTIONS: [(&str, &[&str]); 4] = [
    ("nodes.txt", &["get", "nodes", "-o", "wide"]),
    ("pods.txt", &["get", "pods", "-A", "-o", "wide"]),
    ("events.txt", &["get", "events", "-A", "--sort-by=.lastTimestamp"]),
    ("describe-nodes.txt", &["describe", "nodes"]),
];

/// The commands in a node, each with the file for its output. Arguments of processes may be secrets of users.
const COMMANDS: [(&str, &[&str]); 3] = [
    ("status.json", &[paths::AGENT, "status"]),
    ("processes.txt", &["ps", "-eo", "user,pid,ppid,stat,lstart,rss,nlwp,comm"]),
    ("network.txt", &["sh", "-c", "ip address; ip route; nft list ruleset"]),
];

/// The command that sends the logs of a node. It follows no link: who writes there, as a pod with the directory of logs
/// mounted may, must not choose what else of the node is packed.
const LOGS: [&str; 8] = ["tar", "--create", "--file", "-", "--directory", "/var/log", "kcl", "pods"];

/// The maximum size of a node's logs in bytes.
const LARGEST: u64 = 1 << 30;

/// The text that a secret value is replaced by.
const REDACTED: &str = "(redacted)";

/// Packs everything for a bug report. If a part is unavailable, its place holds the error.
pub async fn archive(app: &App, cluster: &str, path: &Path) -> Result<()> {
    let state = app.existing(cluster)?;
    let unwritable =
        |error: io::Error| Error::new(Id::FileUnusable, format!("{} cannot be written: {error}", path.display()));
    let file = NewFile::create(path).map_err(unwritable)?;
    let step = app.progress.step("archive", format!("Packing \"{cluster}\""));
    let mut pack = Pack::new(cluster, file);
    pack.add("kcl-version.txt", env!("CARGO_PKG_VERSION").as_bytes());
    pack.add("state.json", redacted(&state).as_bytes());
    pack.add("host.txt", host().as_bytes());
    for node in &state.nodes {
        step.message(node.name.clone());
        pack = node_parts(app, &state, &node.name, pack).await?;
    }
    step.message("events");
    ask(app, cluster, &mut pack).await;
    pack.finish().and_then(|file| file.commit(0o600)).map_err(unwritable)?;
    step.finish(format!("\"{cluster}\" is packed"));
    Ok(())
}

/// Returns the state without the values of addons, some of which are passwords.
fn redacted(state: &ClusterState) -> String {
    let mut state = state.clone();
    redact(&mut state.spec.addons);
    // Its URL may hold a password.
    state.proxy = None;
    serde_json::to_string_pretty(&state).unwrap_or_default()
}

fn redact(addons: &mut BTreeMap<String, AddonConfig>) {
    for value in addons.values_mut().flat_map(|addon| addon.values.values_mut()) {
        *value = REDACTED.into();
    }
}

/// Returns the facts about this host that matter for a bug report.
fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|error| format!("{path}: {error}\n"));
    [
        "/proc/version",
        "/etc/os-release",
        "/proc/self/cgroup",
        "/proc/meminfo",
        "/proc/sys/fs/inotify/max_user_instances",
    ]
    .map(|path| format!("# {path}\n{}", read(path)))
    .join("\n")
}

async fn node_parts(app: &App, state: &ClusterState, node: &str, mut pack: Pack) -> Result<Pack> {
    let machine = async { drivers::driver_of(app, state)?.machine(&state.spec.name, node).await.map_err(Error::from) };
    let machine = match machine.await {
        Ok(machine) => machine,
        Err(error) => {
            pack.add(&format!("{node}/error.txt"), error.message.as_bytes());
            return Ok(pack);
        }
    };
    let part = |result: kcl_driver_api::Result<Vec<u8>>| result.unwrap_or_else(|error| error.message.into_bytes());
    pack.add(&format!("{node}/agent.log"), &part(machine.console().await));
    pack.add(&format!("{node}/node.json"), &part(machine.get(Path::new(paths::SPEC)).await));
    for (file, argv) in COMMANDS {
        let output = machine.exec(Exec::new(argv.iter().copied())).await.map(|output| output.stdout);
        pack.add(&format!("{node}/{file}"), &part(output));
    }
    let (packed, logs) = running_logs(machine.as_ref(), node, pack).await?;
    pack = packed;
    if logs == 0 {
        stopped_logs(machine.as_ref(), node, &mut pack).await;
    }
    Ok(pack)
}

/// Packs the logs of a node that runs, as they come. Returns their number.
async fn running_logs(machine: &dyn Machine, node: &str, mut pack: Pack) -> Result<(Pack, usize)> {
    let pipe = io::pipe().map_err(|error| Error::new(Id::FileUnwritable, format!("a pipe cannot be made: {error}")));
    let (read, write) = pipe?;
    let prefix = node.to_owned();
    let packing = tokio::task::spawn_blocking(move || {
        let logs = pack.add_logs(&prefix, File::from(OwnedFd::from(read)));
        (pack, logs)
    });
    let exec = Exec { stdout: Stdout::To(Arc::new(OwnedFd::from(write))), ..Exec::new(LOGS) };
    // Files that change are no failure, and a node that does not run has sent nothing.
    if let Err(error) = machine.exec(exec).await {
        tracing::debug!("{node}: {error}");
    }
    Ok(packing.await?)
}

/// Packs the logs of the components of a node that does not run. Its pods' logs are where no driver looks then.
async fn stopped_logs(machine: &dyn Machine, node: &str, pack: &mut Pack) {
    for component in COMPONENTS {
        for suffix in ["", ".1"] {
            let file = format!("{}/{component}.log{suffix}", paths::LOGS);
            if let Ok(content) = machine.get(Path::new(&file)).await {
                let is_key = content.windows(KEY.len()).any(|part| part == KEY);
                pack.add(
                    &format!("{node}/{component}.log{suffix}"),
                    if is_key { REDACTED.as_bytes() } else { &content },
                );
            }
        }
    }
}

/// The line that begins and ends a key, and no component's log has: its log may have been replaced by a link.
const KEY: &[u8] = b"PRIVATE KEY-----";

async fn ask(app: &App, cluster: &str, pack: &mut Pack) {
    for (file, arguments) in QUESTIONS {
        let answer = match kubectl(app, cluster) {
            Ok(client) => tokio::process::Command::new(&client.program)
                .args(["--request-timeout=5s"])
                .args(arguments)
                .env("KUBECONFIG", &client.kubeconfig)
                .output()
                .await
                .map(|output| [output.stdout, output.stderr].concat())
                .unwrap_or_else(|error| error.to_string().into_bytes()),
            Err(error) => error.message.into_bytes(),
        };
        pack.add(file, &answer);
    }
}

/// A compressed tar file that is being written.
struct Pack<W: io::Write = NewFile> {
    root: String,
    tar: tar::Builder<GzEncoder<W>>,
    failure: Option<io::Error>,
}

impl<W: io::Write> Pack<W> {
    fn new(cluster: &str, file: W) -> Self {
        let tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        Pack { root: format!("kcl-{cluster}"), tar, failure: None }
    }

    fn add(&mut self, name: &str, content: &[u8]) {
        self.append(name, content, content.len() as u64);
    }

    fn append(&mut self, name: &str, content: impl Read, size: u64) {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        // A stream that ends early spoils nothing.
        let whole = content.take(size).chain(io::repeat(0)).take(size);
        let result = self.tar.append_data(&mut header, format!("{}/{name}", self.root), whole);
        self.failure = self.failure.take().or(result.err());
    }

    /// Adds the plain files of an archive that a node sends. Returns their number.
    fn add_logs(&mut self, node: &str, logs: impl Read) -> usize {
        let mut logs = tar::Archive::new(logs);
        let (mut count, mut left) = (0, LARGEST);
        let Ok(entries) = logs.entries() else { return 0 };
        for mut entry in entries.map_while(std::result::Result::ok) {
            let Ok(path) = entry.path().map(std::borrow::Cow::into_owned) else { break };
            let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
            if !entry.header().entry_type().is_file() || !is_inside {
                continue;
            }
            // Those of components lie at the top.
            let name = format!("{node}/{}", path.strip_prefix("kcl").unwrap_or(&path).display());
            let size = entry.size();
            match left.checked_sub(size) {
                Some(rest) => {
                    left = rest;
                    self.append(&name, &mut entry, size);
                }
                None => self.add(&format!("{name}.omitted"), format!("{size} bytes are too many\n").as_bytes()),
            }
            count += 1;
        }
        count
    }

    fn finish(self) -> io::Result<W> {
        match self.failure {
            Some(error) => Err(error),
            None => self.tar.into_inner()?.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the paths and the texts of a pack.
    fn listed(pack: Pack<Vec<u8>>) -> Vec<(String, String)> {
        let packed = pack.finish().unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*packed));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), text));
        }
        found
    }

    #[test]
    fn nothing_but_plain_logs_is_taken_from_a_node() {
        let mut sent = tar::Builder::new(Vec::new());
        let mut add = |kind: tar::EntryType, path: &str, text: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_link_name(text).unwrap();
            }
            let text = if kind.is_file() { text.as_bytes() } else { &[] };
            header.set_size(text.len() as u64);
            header.set_cksum();
            sent.append(&header, text).unwrap();
        };
        use tar::EntryType as Kind;
        add(Kind::Regular, "kcl/kubelet.log", "of a component");
        add(Kind::Symlink, "kcl/etcd.log", "/etc/kubernetes/pki/ca.key");
        add(Kind::Symlink, "pods/x", "/etc/kubernetes/pki/ca.key");
        add(Kind::Link, "pods/y", "/etc/kubernetes/pki/ca.key");
        add(Kind::Fifo, "pods/pipe", "");
        add(Kind::Regular, "../escaped", "x");
        add(Kind::Regular, "/absolute", "x");
        add(Kind::Regular, "pods/a/0.log", "of a pod");
        let sent = sent.into_inner().unwrap();
        let mut pack = Pack::new("c", Vec::new());
        assert_eq!(pack.add_logs("n", &*sent), 2);
        let found = listed(pack);
        let wanted = [("kcl-c/n/kubelet.log", "of a component"), ("kcl-c/n/pods/a/0.log", "of a pod")];
        assert_eq!(found, wanted.map(|(path, text)| (path.to_owned(), text.to_owned())));
        // Cut off within a file; what was packed before and is packed after it is whole.
        for end in [600, 700, 1030, sent.len() - 1100] {
            let mut pack = Pack::new("c", Vec::new());
            pack.add_logs("n", &sent[..end]);
            pack.add("last", b"whole");
            assert_eq!(listed(pack).last().unwrap(), &("kcl-c/last".to_owned(), "whole".to_owned()), "{end}");
        }
    }

    #[test]
    fn values_of_addons_are_left_out() {
        let text = r#"{"registry": {"enabled": true, "htpasswd": "u:secret", "list": ["secret"]}}"#;
        let mut addons = serde_json::from_str(text).unwrap();
        redact(&mut addons);
        let text = serde_json::to_string(&addons).unwrap();
        assert!(!text.contains("secret") && text.contains("htpasswd") && text.contains("true"), "{text}");
    }

    #[test]
    fn a_size_that_is_a_lie_fills_nothing() {
        let mut header = tar::Header::new_gnu();
        header.set_path("pods/huge").unwrap();
        header.set_size(1 << 50);
        header.set_cksum();
        let mut pack = Pack::new("c", Vec::new());
        pack.add_logs("n", header.as_bytes().as_slice());
        assert_eq!(listed(pack)[0].0, "kcl-c/n/pods/huge.omitted");
    }
}
