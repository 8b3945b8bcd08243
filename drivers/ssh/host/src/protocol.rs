//! What the driver and a host say to each other.
//!
//! A request is its length in decimal digits, a newline, and so many bytes of JSON. What follows on the same stream is
//! the request's own: files, or the input of a command. An answer is one line of JSON.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use kcl_driver_api::{Addresses, Error, ErrorKind, MachineSpec, Power};
use kcl_driver_oci::facts::HostFacts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::trees::Entry;

/// Where everything of kcl lies on a host.
pub const HOME: &str = "/var/lib/kcl";
/// What a reboot removes.
pub const RUN: &str = "/run/kcl";
/// The longest request in bytes: the files of a node and the listing of a root file system are a few MiB.
const LONGEST: usize = 256 << 20;

/// What a host is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Request {
    /// [`Facts`].
    Facts {
        /// Also what takes a moment: trying what the kernel can do, counting what is used.
        thorough: bool,
    },
    /// [`Machine`]s.
    List {
        /// Of this cluster, or of all.
        cluster: Option<String>,
    },
    /// Keeps these trees for the cluster, and takes those that are missing from what follows: see [`crate::trees`].
    /// Answers [`Missing`], then [`Done`].
    Receive {
        /// Whose trees these are: all that the cluster has on this host.
        cluster: String,
        /// By their keys.
        trees: BTreeMap<String, Vec<Entry>>,
    },
    /// Keeps these trees for the cluster. Answers the keys of those that are not whole.
    Claim {
        /// Whose trees these are: all that the cluster has on this host.
        cluster: String,
        /// Their keys.
        keys: Vec<String>,
    },
    /// Makes a machine, or takes over its changed specification.
    Create {
        /// With the sources of its trees as they are on the host.
        spec: Box<MachineSpec>,
        /// The runc to run it with, on the host.
        runc: PathBuf,
    },
    /// Powers it on.
    On(Name),
    /// Powers it off.
    Off {
        /// Which.
        #[serde(flatten)]
        name: Name,
        /// How long it may take to end by itself, in ms.
        grace: u64,
    },
    /// Runs as long as the machine is to run, and starts it again where it ends by itself: what a service manager calls.
    Keep(Name),
    /// [`Machine`].
    Info(Name),
    /// Writes files.
    Put {
        /// Where.
        #[serde(flatten)]
        name: Name,
        /// Which.
        files: Vec<FileText>,
    },
    /// A file as base64.
    Get {
        /// Where.
        #[serde(flatten)]
        name: Name,
        /// Which.
        path: PathBuf,
    },
    /// Its console as base64.
    Console(Name),
    /// Runs a command. It has the streams of this one after the request, and its exit code. Only where it cannot be run
    /// in the machine, `mark` and the error as JSON are written to standard error.
    Exec {
        /// Where.
        #[serde(flatten)]
        name: Name,
        /// The program and its arguments.
        argv: Vec<String>,
        /// Variables besides the machine's own.
        env: Vec<(String, String)>,
        /// It gets a terminal.
        tty: bool,
        /// Tells an error of ours from what the command writes.
        mark: String,
    },
    /// Deletes a machine.
    Delete(Name),
    /// Removes what the cluster has here besides machines, and all of kcl where it is the last cluster.
    Leave {
        /// Which.
        cluster: String,
    },
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Its cluster.
    pub cluster: String,
    /// Its own name.
    pub machine: String,
}

/// A file for a machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileText {
    /// Where.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// What it holds, as base64.
    pub content: String,
}

/// What is known of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub power: Power,
    /// Its address.
    pub address: Option<Addresses>,
    /// Whose it is.
    pub labels: BTreeMap<String, String>,
}

/// Which files of which trees are wanted: the indices of their entries. They are to follow in this order, back to back,
/// compressed by zstd as one stream.
#[derive(Debug, Serialize, Deserialize)]
pub struct Missing {
    /// By the keys of the trees, in their order.
    pub files: BTreeMap<String, Vec<usize>>,
}

/// An answer without a content.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {}

/// What a host is like.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// `PRETTY_NAME` of os-release(5).
    pub system: String,
    /// systemd manages it.
    pub systemd: bool,
    /// The facts that a machine depends on.
    #[serde(flatten)]
    pub host: HostFacts,
    /// The clock in ms since 1970.
    pub clock: u64,
    /// IPv4 addresses, by interface.
    pub interfaces: Vec<Interface>,
    /// The interface of the default route.
    pub default: Option<String>,
    /// Who has TCP ports that a node needs: port and process.
    pub ports: Vec<(u16, String)>,
    /// Other programs that would be in the way of a node: kubelets and the like.
    pub rivals: Vec<String>,
    /// Its addresses and the networks that it has routes to, by what it has them. None where a machine is here: what belongs
    /// to that would be among them.
    pub networks: Vec<(Ipv4Net, String)>,
    /// Whole trees that are there already.
    pub trees: Vec<String>,
}

/// An interface with an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The address, and what is on the same link.
    pub address: Ipv4Net,
    /// Its largest packet in bytes.
    pub mtu: u32,
}

/// An answer: what was asked for, or why not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// What was asked for.
    Ok(T),
    /// Why not.
    Error(Failure),
}

/// An [`Error`] on its way.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    kind: String,
    message: String,
    hint: Option<String>,
}

const KINDS: [(ErrorKind, &str); 6] = [
    (ErrorKind::NotFound, "not-found"),
    (ErrorKind::Conflict, "conflict"),
    (ErrorKind::Host, "host"),
    (ErrorKind::Engine, "engine"),
    (ErrorKind::State, "state"),
    (ErrorKind::Unfinished, "unfinished"),
];

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = KINDS.iter().find(|(kind, _)| *kind == error.kind).map_or("engine", |(_, name)| name);
        Failure { kind: kind.to_owned(), message: error.message, hint: error.hint }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = KINDS.iter().find(|(_, name)| *name == failure.kind).map_or(ErrorKind::Engine, |(kind, _)| *kind);
        Error { kind, message: failure.message, hint: failure.hint, source: None }
    }
}

/// A request as it goes over the wire.
pub fn frame(request: &Request) -> Vec<u8> {
    let json = serde_json::to_vec(request).unwrap_or_default();
    let mut frame = format!("{}\n", json.len()).into_bytes();
    frame.extend(json);
    frame
}

/// Reads one request and not a byte more.
pub fn read_request(input: &mut impl Read) -> io::Result<Request> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut digits = String::new();
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' => break,
            digit if digit.is_ascii_digit() && digits.len() < 12 => digits.push(digit.into()),
            other => return Err(wrong(format!("a request begins with its length, not with {other:#x}"))),
        }
    }
    let length: usize = digits.parse().map_err(|_| wrong("a request without a length".to_owned()))?;
    if length > LONGEST {
        return Err(wrong(format!("a request of {length} bytes")));
    }
    let mut json = vec![0; length];
    input.read_exact(&mut json)?;
    serde_json::from_slice(&json).map_err(|error| wrong(format!("a request that this kcl-node does not know: {error}")))
}

/// Writes an answer.
pub fn answer<T: Serialize>(output: &mut impl Write, answer: kcl_driver_api::Result<T>) -> io::Result<()> {
    let answer = match answer {
        Ok(content) => Answer::Ok(content),
        Err(error) => Answer::Error(error.into()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// Reads an answer out of its line.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> kcl_driver_api::Result<T> {
    match serde_json::from_slice(line) {
        Ok(Answer::Ok(content)) => Ok(content),
        Ok(Answer::Error(failure)) => Err(failure.into()),
        Err(error) => Err(Error::engine(format!("an answer that makes no sense ({error}): {}", shown(line)))),
    }
}

fn shown(line: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(line).trim().chars().take(300).collect();
    if text.is_empty() { "nothing".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_to_its_end_and_no_further() {
        let name = Name { cluster: "kcl".into(), machine: "kcl-m02".into() };
        let mut wire = frame(&Request::Off { name, grace: 40_000 });
        wire.extend(b"the rest");
        let mut input = wire.as_slice();
        let Request::Off { name, grace } = read_request(&mut input).unwrap() else { panic!("another request") };
        assert_eq!((name.machine.as_str(), grace, input), ("kcl-m02", 40_000, &b"the rest"[..]));
        assert!(read_request(&mut &b"x\n{}"[..]).is_err());
        assert!(read_request(&mut &b"99999999999\n"[..]).is_err());
    }

    #[test]
    fn errors_keep_their_family_and_hint() {
        let mut line = Vec::new();
        let error = Error::new(ErrorKind::State, "it does not run").hint("start it");
        answer::<Done>(&mut line, Err(error)).unwrap();
        let back = parse::<Done>(&line).unwrap_err();
        assert_eq!(
            (back.kind, back.message.as_str(), back.hint.as_deref()),
            (ErrorKind::State, "it does not run", Some("start it"))
        );
        assert!(parse::<Done>(b"bash: no such file").unwrap_err().message.contains("no such file"));
    }
}
