//! Runs nft from the directory tree that kcl brings, so that the host does not need it. Tables are removed without nft,
//! so that nothing remains of a cluster whose tree is gone.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kcl_driver_api::{Error, ErrorKind, Result};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::process::tie;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

/// The path of nft in the directory tree that kcl brings.
const NFT: &str = "usr/sbin/nft";

/// The number of the attribute with a table's name.
const NFTA_TABLE_NAME: u16 = 1;

/// Runs a script by the nft of the tree that kcl brings, within that tree, or else by the host's.
pub fn nft(rootfs: Option<&Path>, script: &str) -> Result<()> {
    output(rootfs, &["-f", "-"], script).map(|_| ())
}

/// Runs nft with these arguments and this input, and returns its output.
pub fn output(rootfs: Option<&Path>, arguments: &[&str], input: &str) -> Result<Vec<u8>> {
    let mut command = match rootfs.filter(|tree| tree.join(NFT).exists()) {
        Some(tree) => within(tree, &format!("/{NFT}")),
        None => Command::new("nft"),
    };
    tie(&mut command);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        Error::new(ErrorKind::Host, format!("could not run nft: {error}"))
            .hint("install nftables on the host, or let kcl fetch its node root file system")
            .source(error)
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // An nft that ended early says why on its stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| "wait for nft")?;
    check(&output, "read or set packet filter rules with nft")?;
    Ok(output.stdout)
}

/// Deletes a table of IPv4 and everything in it; succeeds if it does not exist.
///
/// The message is one of nfnetlink (linux/netfilter/nfnetlink.h, nf_tables.h): tables are changed in batches only.
pub fn delete_table(table: &str) -> Result<()> {
    let what = || format!("delete the packet filter table {table}");
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter);
    let socket = socket.with_context(what)?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &deletion(table), &kernel, MsgFlags::empty()).with_context(what)?;
    let mut answer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).with_context(what)?;
    // struct nlmsghdr, and the negative error or 0: all messages that are answered are errors in this sense.
    let word = |at: usize| answer[..length].get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let errno = word(size_of::<libc::nlmsghdr>()).map(i32::from_ne_bytes);
    match errno.map(|errno| Errno::from_raw(-errno)) {
        // This is success, no such table, or a kernel without tables.
        Some(Errno::UnknownErrno | Errno::ENOENT | Errno::EOPNOTSUPP) => Ok(()),
        Some(errno) => Err(errno).with_context(what),
        None => Err(Error::engine(format!("could not {}: the kernel's answer is too short", what()))),
    }
}

/// Builds a batch of one message that is acknowledged.
fn deletion(table: &str) -> Vec<u8> {
    let subsystem = libc::NFNL_SUBSYS_NFTABLES as u16;
    let mut name = table.as_bytes().to_vec();
    name.push(0);
    let mut attribute = [(4 + name.len() as u16).to_ne_bytes(), NFTA_TABLE_NAME.to_ne_bytes()].concat();
    attribute.extend(name);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    let request = libc::NLM_F_REQUEST as u16;
    let delete = subsystem << 8 | libc::NFT_MSG_DELTABLE as u16;
    [
        message(libc::NFNL_MSG_BATCH_BEGIN as u16, request, libc::AF_UNSPEC, subsystem, &[]),
        message(delete, request | libc::NLM_F_ACK as u16, libc::AF_INET, 0, &attribute),
        message(libc::NFNL_MSG_BATCH_END as u16, request, libc::AF_UNSPEC, subsystem, &[]),
    ]
    .concat()
}

/// Appends a struct nlmsghdr, a struct nfgenmsg, and the payload.
fn message(kind: u16, flags: u16, family: i32, resource: u16, content: &[u8]) -> Vec<u8> {
    let mut message = (20 + content.len() as u32).to_ne_bytes().to_vec();
    message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    // Sequence number and port: there is one request, and the kernel knows its sender.
    message.extend([0; 8]);
    message.extend([family as u8, libc::NFNETLINK_V0 as u8]);
    message.extend(resource.to_be_bytes());
    message.extend(content);
    message
}

/// Returns a command that runs with a directory tree as its root, in the host's other namespaces.
#[allow(unsafe_code)]
fn within(tree: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    let tree = tree.to_owned();
    let enter = move || {
        nix::unistd::chroot(&tree)?;
        nix::unistd::chdir("/")?;
        Ok(())
    };
    // SAFETY: chroot(2) and chdir(2) are async-signal-safe; paths of this length are not allocated by nix but copied
    // to the stack.
    unsafe { command.pre_exec(enter) };
    command
}

/// Returns an error if a command failed; `what` completes "could not …".
pub fn check(output: &Output, what: &str) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::engine(format!("could not {what}: {}: {}", output.status, stderr.trim())))
}
