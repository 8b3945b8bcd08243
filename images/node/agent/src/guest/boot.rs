//! The boot of a virtual machine, from the kernel's first program to the machine's first process.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use kcl_node_spec::guest::{CONFIG, FILES, GuestConfig, PROBE};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{ForkResult, chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, fork, pause, sethostname};

use super::{disks, files as guest_files, kernel, network, service};
use crate::console::complain;
use crate::error::{Doing, Error, Result};
use crate::{files, paths, prepare};

/// The name by which the kernel starts the program.
pub(crate) const CALLED: &str = "/init";

/// The console of the machine, for the first process's output without the kernel's.
const CONSOLE: &str = "/dev/hvc0";

/// The limit of open files of a process, as in the containers of the native driver.
const OPEN_FILES: u64 = 1_048_576;

/// Boots the machine. On an error prints it on the kernel's console and powers the machine off.
pub(crate) fn main() -> ExitCode {
    let Err(error) = boot();
    complain(format_args!("kcl-node: the machine cannot start: {error}"));
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    complain(format_args!("kcl-node: power off: {error}"));
    ExitCode::FAILURE
}

fn boot() -> Result<Infallible> {
    kernel::file_systems()?;
    if kernel::was_told(PROBE) {
        return Err(Error::Invalid("it was only asked whether it would".to_owned()));
    }
    kernel::modules()?;
    let config: GuestConfig =
        serde_json::from_str(&files::read(CONFIG)?).map_err(|error| Error::Invalid(format!("{CONFIG}: {error}")))?;
    disks::mount_all(&config)?;
    let put = put_before()?;
    network::apply(&config)?;
    sethostname(&config.name).doing(|| format!("set the host name to {}", config.name))?;
    let limit = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES);
    limit.doing(|| format!("allow {OPEN_FILES} open files"))?;
    enter(Path::new(disks::ROOT))?;
    prepare::base()?;
    for (path, mode, content) in put {
        // The files are on the disk before the host hears that the machine runs.
        guest_files::put(&path, mode, &content)?;
    }
    first_process(&config)
}

/// Returns the files that were put while the machine was off: path, mode and content. They are in the initrd, which is
/// unreachable once the machine's own root is mounted.
fn put_before() -> Result<Vec<(PathBuf, u32, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(FILES)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let what = || format!("read {}", path.display());
            let meta = fs::metadata(&path).doing(what)?;
            if meta.is_dir() {
                directories.push(path);
                continue;
            }
            let target = Path::new("/").join(path.strip_prefix(FILES).expect("it is below"));
            found.push((target, meta.permissions().mode() & 0o7777, fs::read(&path).doing(what)?));
        }
    }
    Ok(found)
}

/// Makes a directory the root. The initrd's files are in memory, so those that are no longer needed are deleted.
fn enter(root: &Path) -> Result<()> {
    let _ = fs::remove_file(CALLED);
    let _ = fs::remove_dir_all(FILES);
    let what = || format!("make {} the root", root.display());
    chdir(root).doing(what)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).doing(what)?;
    chroot(".").doing(what)?;
    chdir("/").doing(what)
}

/// Becomes the first process, with the service as its child.
#[allow(unsafe_code)]
fn first_process(config: &GuestConfig) -> Result<Infallible> {
    let console = File::options().read(true).write(true).open(CONSOLE).doing(|| format!("open {CONSOLE}"))?;
    // Lines are passed on as written.
    let mut modes = tcgetattr(&console).doing(|| format!("read the modes of {CONSOLE}"))?;
    modes.output_flags.remove(OutputFlags::OPOST);
    tcsetattr(&console, SetArg::TCSANOW, &modes).doing(|| format!("set the modes of {CONSOLE}"))?;
    // A successful exec closes it: until then nothing reports that the machine runs.
    let (reader, mut writer) = io::pipe().doing(|| "make a pipe".to_owned())?;
    // SAFETY: there is one thread, so the child may do whatever the parent may.
    match unsafe { fork() }.doing(|| "start the service".to_owned())? {
        ForkResult::Child => {
            drop(writer);
            service::run(reader)
        }
        ForkResult::Parent { .. } => {}
    }
    drop(reader);
    let fd = console.as_fd();
    dup2_stdin(fd).and_then(|()| dup2_stdout(fd)).and_then(|()| dup2_stderr(fd)).doing(|| format!("use {CONSOLE}"))?;
    let (program, arguments) =
        config.init.split_first().ok_or_else(|| Error::Invalid("there is no first process".to_owned()))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", paths::PATH).env("HOME", "/root").env("TERM", "linux");
    let error = command.exec();
    // The service reports to the host, which powers the machine off.
    let _ = write!(writer, "{program}: {error}");
    drop(writer);
    loop {
        pause();
    }
}
