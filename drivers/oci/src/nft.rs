//! nft, out of the directory tree that kcl brings, so that the host needs none.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kcl_driver_api::{Error, ErrorKind, Result};

use crate::doing::Doing;

/// Where nft is in the directory tree that kcl brings.
const NFT: &str = "usr/sbin/nft";

/// Feeds a script to nft: to the one in the tree that kcl brings, within that tree, or else to the host's.
pub fn nft(rootfs: Option<&Path>, script: &str) -> Result<()> {
    output(rootfs, &["-f", "-"], script).map(|_| ())
}

/// Runs nft with these arguments and this input: what it writes.
pub fn output(rootfs: Option<&Path>, arguments: &[&str], input: &str) -> Result<Vec<u8>> {
    let mut command = match rootfs.filter(|tree| tree.join(NFT).exists()) {
        Some(tree) => within(tree, &format!("/{NFT}")),
        None => Command::new("nft"),
    };
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        Error::new(ErrorKind::Host, format!("could not run nft: {error}"))
            .hint("install nftables on the host, or let kcl fetch its node root file system")
            .source(error)
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // nft that ended early tells why on its stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().doing(|| "wait for nft")?;
    check(&output, "read or set packet filter rules with nft")?;
    Ok(output.stdout)
}

/// A command that runs in a directory tree as its root, in the host's other namespaces.
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

/// An error where a command failed; `what` completes "could not …".
pub fn check(output: &Output, what: &str) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::engine(format!("could not {what}: {}: {}", output.status, stderr.trim())))
}
