//! The user's browser.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a browser's starter is watched: most end at once and say whether there was a browser.
const OPENING: Duration = Duration::from_secs(2);

/// Opens a browser, where there is a desktop that has one. False where there is none.
pub async fn open(url: &str) -> bool {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    if !desktop {
        return false;
    }
    // A group of its own: Ctrl-C is for kcl, not for a browser that this starts.
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
