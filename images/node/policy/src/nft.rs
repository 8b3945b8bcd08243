//! The program `nft`, which brings a transaction to the kernel.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Doing, Error, Result};

/// Runs a transaction: all of it takes effect at once, or none.
pub(crate) async fn run(transaction: &str) -> Result<()> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().doing(|| "run nft".to_owned())?;
    let mut input = child.stdin.take().expect("its input is a pipe");
    let write = async {
        // A failure shows in what nft says.
        let _ = input.write_all(transaction.as_bytes()).await;
        drop(input);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.doing(|| "wait for nft".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Invalid(format!("nft: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}
