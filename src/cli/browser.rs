//! The user's browser.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use kcl_driver_local::process::with_users_umask;
use nix::unistd::{Uid, User};

/// The time to watch the program that opens a browser: most end at once and report success or failure.
const OPENING: Duration = Duration::from_secs(2);

/// Opens a browser at a URL or a file; returns false if there is no desktop or no browser. A browser does not run as root:
/// with sudo it is that of the user.
pub(super) async fn open(what: impl AsRef<OsStr>) -> bool {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    if !desktop {
        return false;
    }
    let mut command = Command::new("xdg-open");
    if let Some((user, group)) = kcl_files::sudo_user() {
        let Ok(Some(account)) = User::from_uid(Uid::from_raw(user)) else { return false };
        command.uid(user).gid(group).env("HOME", account.dir).env("USER", &account.name).env("LOGNAME", account.name);
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{user}"));
    }
    // Its own process group, so that Ctrl-C does not reach the browser.
    command.arg(what).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut opener) = with_users_umask(&mut command).spawn() else { return false };
    let (said, says) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || said.send(opener.wait()));
    match tokio::time::timeout(OPENING, says).await {
        Ok(ended) => matches!(ended, Ok(Ok(status)) if status.success()),
        // It is the browser itself.
        Err(_) => true,
    }
}
