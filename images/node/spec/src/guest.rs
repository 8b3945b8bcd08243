//! What a virtual machine is told by its initrd, and the language of the channel to its host.
//!
//! A guest has serial ports of virtio, named [`PORT`] and a number. Each carries one session at a time: lines of JSON,
//! `[session, request]` towards the guest and `[session, reply]` back. The session is a word that the host makes up. A
//! line that is no JSON, or of another session, is what was left of one that was cut off, and is passed over.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Subnets;

/// How the names of the ports begin; a number follows.
pub const PORT: &str = "kcl.";
/// In the initrd: the [`GuestConfig`].
pub const CONFIG: &str = "/kcl/guest.json";
/// In the initrd: files for the machine, each at its own path below this.
pub const FILES: &str = "/kcl/files";
/// In the initrd: kernel modules, loaded in the order of their names.
pub const MODULES: &str = "/kcl/modules";
/// A word of the kernel's command line: the guest only shows that it runs, and switches itself off.
pub const PROBE: &str = "kcl.probe";
/// Below this directory of the data disk lies what the machine wrote outside of its volumes.
pub const UPPER: &str = "upper";
/// The work directory of that overlay.
pub const WORK: &str = "work";
/// Below this directory of the data disk lie the volumes, by [`volume`].
pub const VOLUMES: &str = "volumes";
/// The most bytes that go in one line, before they are encoded.
pub const CHUNK: usize = 24 << 10;
/// How many [`Request::Input`] may be without their [`Reply::Taken`].
pub const WINDOW: usize = 8;

/// The name of a volume's directory: its path as systemd escapes paths, so that no two meet.
pub fn volume(target: &str) -> String {
    let parts: Vec<String> =
        target.split('/').filter(|part| !part.is_empty()).map(|part| part.replace('-', "\\x2d")).collect();
    parts.join("-")
}

/// What a guest is told before its first process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestConfig {
    /// The host name.
    pub name: String,
    /// The serial of the disk with the root file system, which is never written.
    pub root: String,
    /// The serial of the disk that the machine writes to.
    pub data: String,
    /// Disks that are mounted read-only.
    pub trees: Vec<GuestTree>,
    /// Directories on the data disk itself rather than in the overlay.
    pub volumes: Vec<String>,
    /// Interfaces.
    pub interfaces: Vec<GuestInterface>,
    /// Routes, in the order in which they are set.
    pub routes: Vec<GuestRoute>,
    /// The first process.
    pub init: Vec<String>,
}

/// A read-only disk of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestTree {
    /// Its serial.
    pub disk: String,
    /// Where it is mounted.
    pub target: String,
}

/// An interface of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestInterface {
    /// Its name: `eth` and its number in the order of the devices.
    pub name: String,
    /// Its address and the length of the prefix that is on its link.
    pub address: Subnets,
    /// The largest packet that fits, in bytes.
    pub mtu: u32,
}

/// A route of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRoute {
    /// Where to.
    pub to: IpNet,
    /// The router; none: on the link.
    pub via: Option<IpAddr>,
    /// The interface.
    pub interface: String,
}

/// What a host asks for: the first of a session opens it, [`Request::Input`] and the like go with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Whether the first process runs: [`Reply::Running`].
    Ping,
    /// Runs a command: [`Reply::Output`], [`Reply::Complaint`] and at last [`Reply::Exit`].
    Exec {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Variables besides the machine's own.
        env: Vec<(String, String)>,
        /// It gets a terminal of this size.
        terminal: Option<TerminalSize>,
    },
    /// Writes a file, which follows as input: [`Reply::Done`].
    Put {
        /// Where, absolute.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Reads a file: [`Reply::Output`] and at last [`Reply::Done`].
    Get {
        /// Which, absolute.
        path: String,
    },
    /// Tells the first process to end: [`Reply::Done`] when it is told.
    End,
    /// Bytes, in base 64, for the command or the file: [`Reply::Taken`].
    Input(String),
    /// There is no more input.
    InputEnd,
    /// The terminal has another size now.
    Resize(TerminalSize),
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What a guest answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The first process runs.
    Running {
        /// Milliseconds from the start of the kernel until it did.
        after_ms: u64,
    },
    /// Bytes that the command wrote, or the file holds, in base 64.
    Output(String),
    /// What the command wrote on standard error, in base 64.
    Complaint(String),
    /// A [`Request::Input`] has gone where it was meant for.
    Taken,
    /// The command ended: its exit code, 128 + n where signal n ended it.
    Exit(i32),
    /// It is done.
    Done,
    /// It could not be done.
    Failed {
        /// Why.
        reason: Reason,
        /// The same for people.
        message: String,
    },
}

/// Why something could not be done in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// There is no such file.
    NotFound,
    /// There is something else than a file.
    NoFile,
    /// The system refused.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_do_not_meet() {
        assert_ne!(volume("/a/b-c"), volume("/a-b/c"));
        assert_eq!(volume("/var/lib/etcd"), "var-lib-etcd");
    }

    #[test]
    fn a_line_is_a_session_and_what_is_asked() {
        let line = serde_json::to_string(&("s1", Request::Get { path: "/a".into() })).unwrap();
        assert_eq!(line, r#"["s1",{"get":{"path":"/a"}}]"#);
        assert_eq!(serde_json::from_str::<(String, Reply)>(r#"["s1","done"]"#).unwrap(), ("s1".into(), Reply::Done));
    }
}
