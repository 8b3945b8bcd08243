//! The protocol between the driver and a host.
//!
//! A request is its length in decimal digits, a newline, and that many bytes of JSON. More bytes on the stream are the
//! request's own: files, or the input of a command. An answer is one line of JSON.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use kcl_driver_api::{Addresses, Error, ErrorKind, MachineSpec, Power};
use kcl_driver_oci::facts::HostFacts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::trees::Entry;

/// The directory of kcl on a host.
pub const HOME: &str = "/var/lib/kcl";
/// The directory of kcl that a reboot empties.
pub const RUN: &str = "/run/kcl";
/// The longest request, and the longest answer, in bytes: the files of a node and the listing of a root file system are a
/// few MiB.
const LONGEST: usize = 256 << 20;

/// A request to a host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Request {
    /// Asks for the host's [`Facts`].
    Facts {
        /// Adds facts that take a moment: the host tests its kernel and counts objects.
        thorough: bool,
    },
    /// Lists machines: answers [`Machine`]s.
    List {
        /// The name of the cluster; none for all clusters.
        cluster: Option<String>,
    },
    /// Keeps these trees for the cluster, and takes the missing files from the stream: see [`crate::trees`]. Answers
    /// [`Missing`], then [`Done`].
    Receive {
        /// The cluster; the trees are all that it has on this host.
        cluster: String,
        /// The entries of trees by their keys.
        trees: BTreeMap<String, Vec<Entry>>,
    },
    /// Keeps these trees for the cluster. Answers the keys of those that are not whole.
    Claim {
        /// The cluster; the trees are all that it has on this host.
        cluster: String,
        /// The keys of the trees.
        keys: Vec<String>,
    },
    /// Makes a machine, or takes over its changed specification.
    Create {
        /// The specification, with the sources of trees on the host.
        spec: Box<MachineSpec>,
        /// The runc to run it with, on the host.
        runc: PathBuf,
    },
    /// Powers a machine on.
    On(Name),
    /// Powers a machine off.
    Off {
        /// The names of the machine.
        #[serde(flatten)]
        name: Name,
        /// The time that it may take to end by itself, in ms.
        grace: u64,
    },
    /// Keeps a machine running as long as it is to run: called by a service manager.
    Keep(Name),
    /// Answers a machine's [`Machine`] record.
    Info(Name),
    /// Writes files into a machine.
    Put {
        /// The names of the machine.
        #[serde(flatten)]
        name: Name,
        /// The files to write.
        files: Vec<FileText>,
    },
    /// Answers a file as base64.
    Get {
        /// The names of the machine.
        #[serde(flatten)]
        name: Name,
        /// The path of the file.
        path: PathBuf,
    },
    /// Answers the console as base64.
    Console(Name),
    /// Runs a command. It has the streams of this request after the request itself, and its exit code. If it cannot be
    /// run in the machine, `mark` and the error as JSON are written to standard error.
    Exec {
        /// The names of the machine.
        #[serde(flatten)]
        name: Name,
        /// The program and its arguments.
        argv: Vec<String>,
        /// Variables in addition to the machine's own.
        env: Vec<(String, String)>,
        /// The command gets a terminal.
        tty: bool,
        /// The mark that tells an error of kcl from the command's output.
        mark: String,
    },
    /// Deletes a machine.
    Delete(Name),
    /// Removes everything of the cluster except machines, and everything of kcl with the last cluster.
    Leave {
        /// The name of the cluster.
        cluster: String,
    },
}

/// The names of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The machine's cluster.
    pub cluster: String,
    /// The machine's own name.
    pub machine: String,
}

/// A file for a machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileText {
    /// The path in the machine.
    pub path: PathBuf,
    /// The permission bits.
    pub mode: u32,
    /// The content, as base64.
    pub content: String,
}

/// The facts about a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The machine's cluster.
    pub cluster: String,
    /// The machine's name.
    pub name: String,
    /// The power state.
    pub power: Power,
    /// The address of the machine.
    pub address: Option<Addresses>,
    /// The labels of the machine.
    pub labels: BTreeMap<String, String>,
}

/// The requested files of trees, as indices of their entries. They follow in this order, back to back, compressed by
/// zstd as one stream.
#[derive(Debug, Serialize, Deserialize)]
pub struct Missing {
    /// The indices by the keys of the trees, in their order.
    pub files: BTreeMap<String, Vec<usize>>,
}

/// An answer without content.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {}

/// The facts about a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// `PRETTY_NAME` of os-release(5).
    pub system: String,
    /// The host is managed by systemd.
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
    /// TCP ports that a node needs and another process listens on: port and process.
    pub ports: Vec<(u16, String)>,
    /// Running programs that manage the same things as a machine.
    pub rivals: Vec<String>,
    /// The host's addresses and routes, with their owners. Empty if a machine is here, as its own would be among them.
    pub networks: Vec<(Ipv4Net, String)>,
    /// The keys of the whole trees on the host.
    pub trees: Vec<String>,
}

/// An interface with an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The interface's name.
    pub name: String,
    /// The address, and the network on the same link.
    pub address: Ipv4Net,
    /// The largest packet in bytes.
    pub mtu: u32,
}

/// An answer: a value or an error.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// The value of the answer.
    Ok(T),
    /// The error of the request.
    Error(Failure),
}

/// An [`Error`] on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { kind: error.kind, message: error.message, hint: error.hint }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error { kind: failure.kind, message: failure.message, hint: failure.hint, source: None }
    }
}

/// Encodes a request.
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

/// Adds bytes that arrived to an answer, which a host may make longer than any that this program gives.
pub fn collect(answer: &mut Vec<u8>, bytes: &[u8]) -> kcl_driver_api::Result<()> {
    if bytes.len() > LONGEST.saturating_sub(answer.len()) {
        return Err(Error::engine(format!("an answer of more than {LONGEST} bytes")));
    }
    answer.extend_from_slice(bytes);
    Ok(())
}

/// Parses the line of an answer.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> kcl_driver_api::Result<T> {
    match serde_json::from_slice(line) {
        Ok(Answer::Ok(content)) => Ok(content),
        Ok(Answer::Error(failure)) => Err(failure.into()),
        Err(error) => Err(Error::engine(format!("an invalid answer ({error}): {}", shown(line)))),
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
    fn an_answer_without_an_end_does_not_fill_the_memory() {
        let (mut answer, bytes) = (Vec::new(), vec![b'x'; LONGEST / 2]);
        collect(&mut answer, &bytes).unwrap();
        collect(&mut answer, &bytes).unwrap();
        let error = collect(&mut answer, b"x").unwrap_err();
        assert!(error.message.contains("an answer of more than"), "{error}");
        assert_eq!(answer.len(), LONGEST);
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
