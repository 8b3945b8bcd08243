//! The configuration in a virtual machine's initrd, and the protocol of the channel to its host.
//!
//! A guest has virtio serial ports, named [`PORT`] and a number. Each carries one session at a time: lines of JSON,
//! `[session, request]` to the guest and `[session, reply]` back. The host chooses the name of the session. A line that
//! is not JSON, or that belongs to another session, is the rest of an interrupted session and is skipped.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Subnets;

/// The prefix of the ports' names; a number follows.
pub const PORT: &str = "kcl.";
/// The path of the [`GuestConfig`] in the initrd.
pub const CONFIG: &str = "/kcl/guest.json";
/// The directory of the initrd with files for the machine, each at its own path below it.
pub const FILES: &str = "/kcl/files";
/// The directory of the initrd with kernel modules, which are loaded in the order of their names.
pub const MODULES: &str = "/kcl/modules";
/// The word on the kernel's command line that makes the guest only show that it runs and then power off.
pub const PROBE: &str = "kcl.probe";
/// The directory of the data disk with everything that the machine writes outside its volumes.
pub const UPPER: &str = "upper";
/// The directory of the data disk that the overlay needs as its work directory.
pub const WORK: &str = "work";
/// The directory of the data disk with the volumes, named by [`volume`].
pub const VOLUMES: &str = "volumes";
/// The maximum number of bytes in one line, before they are encoded.
pub const CHUNK: usize = 24 << 10;
/// The maximum number of [`Request::Input`] that wait for their [`Reply::Taken`].
pub const WINDOW: usize = 8;

/// Returns the name of a volume's directory: its path, escaped as systemd does, so that no two volumes share one.
pub fn volume(target: &str) -> String {
    let parts: Vec<String> =
        target.split('/').filter(|part| !part.is_empty()).map(|part| part.replace('-', "\\x2d")).collect();
    parts.join("-")
}

/// The configuration that a guest needs before its first process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestConfig {
    /// The host name of the machine.
    pub name: String,
    /// The serial of the disk with the root file system, which is never written.
    pub root: String,
    /// The serial of the disk that the machine writes to.
    pub data: String,
    /// The disks that are mounted read-only.
    pub trees: Vec<GuestTree>,
    /// The directories that are on the data disk itself rather than in the overlay.
    pub volumes: Vec<String>,
    /// The interfaces of the machine.
    pub interfaces: Vec<GuestInterface>,
    /// The routes, in the order in which they are set.
    pub routes: Vec<GuestRoute>,
    /// The first process and its arguments.
    pub init: Vec<String>,
}

/// A read-only disk of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestTree {
    /// The serial of the disk.
    pub disk: String,
    /// The mount point of the disk.
    pub target: String,
}

/// An interface of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestInterface {
    /// The name of the interface: `eth` and its number in the order of the devices.
    pub name: String,
    /// The address of the interface, with the length of the prefix on its link.
    pub address: Subnets,
    /// The largest packet that fits, in bytes.
    pub mtu: u32,
}

/// A route of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRoute {
    /// The destination network.
    pub to: IpNet,
    /// The router; `None` if the destination is on the link.
    pub via: Option<IpAddr>,
    /// The name of the interface.
    pub interface: String,
}

/// A request of the host. The first one opens a session; [`Request::Input`] and the like continue it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Asks if the first process runs: [`Reply::Running`].
    Ping,
    /// Runs a command: [`Reply::Output`], [`Reply::Complaint`] and finally [`Reply::Exit`].
    Exec {
        /// The program and its arguments.
        argv: Vec<String>,
        /// The environment variables, in addition to the machine's own.
        env: Vec<(String, String)>,
        /// The size of the command's terminal; `None` for no terminal.
        terminal: Option<TerminalSize>,
    },
    /// Writes a file, which follows as input: [`Reply::Done`].
    Put {
        /// The absolute path of the file.
        path: String,
        /// The permission bits of the file.
        mode: u32,
    },
    /// Reads a file: [`Reply::Output`] and finally [`Reply::Done`].
    Get {
        /// The absolute path of the file.
        path: String,
    },
    /// Tells the first process to end: [`Reply::Done`] once the signal is sent.
    End,
    /// Sends bytes in base64 to the command or the file: [`Reply::Taken`].
    Input(String),
    /// Ends the input of the command or the file.
    InputEnd,
    /// Resizes the terminal of the command.
    Resize(TerminalSize),
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// The number of lines.
    pub rows: u16,
    /// The number of characters in a line.
    pub columns: u16,
}

/// A reply of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The first process runs.
    Running {
        /// The milliseconds from the start of the kernel to the start of the process.
        after_ms: u64,
    },
    /// The bytes that the command wrote or the file contains, in base64.
    Output(String),
    /// The bytes that the command wrote on standard error, in base64.
    Complaint(String),
    /// The command or the file has received a [`Request::Input`].
    Taken,
    /// The command ended with this exit code; 128 + n if signal n ended it.
    Exit(i32),
    /// The request is done.
    Done,
    /// The request failed.
    Failed {
        /// The reason of the failure.
        reason: Reason,
        /// The error message for the user.
        message: String,
    },
}

/// The reason why a request failed in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The file does not exist.
    NotFound,
    /// The path does not name a regular file.
    NoFile,
    /// A system call failed.
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
