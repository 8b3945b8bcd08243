//! kcl in the background: a process of the same program that outlives the one that starts it.

use std::io;
use std::process::{Command, Stdio};

use super::App;

/// kcl with these words, to be started; it finds the same home, cache and kubeconfig from any directory.
pub fn command<'a>(app: &App, words: impl IntoIterator<Item = &'a str>) -> io::Result<Command> {
    let paths = app.store.paths();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).env("KCL_HOME", &paths.home).env("KCL_CACHE", &paths.cache).stdout(Stdio::null());
    if let Some(files) = std::env::var_os("KUBECONFIG") {
        let files = std::env::split_paths(&files).filter_map(|file| std::path::absolute(file).ok());
        command.env("KUBECONFIG", std::env::join_paths(files).map_err(io::Error::other)?);
    }
    Ok(command)
}

/// Makes this process one of no terminal and of no directory: Ctrl-C there, or its end, is not meant.
pub fn detach() {
    // An error says that it is so already.
    let _ = nix::unistd::setsid();
    let _ = std::env::set_current_dir("/");
}
