//! The user's browser.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The time to watch the program that opens a browser: most end at once and report success or failure.
const OPENING: Duration = Duration::from_secs(2);

/// Opens a browser; returns false if there is no desktop or no browser.
pub async fn open(url: &str) -> bool {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    if !desktop {
        return false;
    }
    // Its own process group, so that Ctrl-C does not reach the browser.
    let opener = Command::new("xdg-open")
        .arg(url)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut opener) = opener else { return false };
    let (said, says) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || said.send(opener.wait()));
    match tokio::time::timeout(OPENING, says).await {
        Ok(ended) => matches!(ended, Ok(Ok(status)) if status.success()),
        // It is the browser itself.
        Err(_) => true,
    }
}
