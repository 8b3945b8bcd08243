//! Runs a command in a machine.
//!
//! A thread enters the machine's namespaces and forks, as `nsenter` does; the command is then a child of kcl in the
//! machine. This takes a few milliseconds, compared to a hundred with `runc exec`. Only a terminal needs runc, which
//! makes one in the machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kcl_driver_api::{Error, ErrorKind, Exec, ExecOutput, Result, Stdin, Stdout};
use kcl_driver_local::context::Context as _;
use kcl_driver_local::task::{blocking, in_own_thread};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::cgroup;
use crate::config::PATH;
use crate::layout::MachineNames;
use crate::process::Process;
use crate::run;

/// The exit codes that a shell gives for a program that does not exist, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUNNABLE: i32 = 126;

/// Runs a command and waits for its end. The command is killed if the future is dropped.
pub async fn exec(runc: Option<&Path>, names: &MachineNames, request: Exec) -> Result<ExecOutput> {
    let Some(program) = request.argv.first().cloned() else {
        return Err(Error::new(ErrorKind::State, "there is no command to run"));
    };
    let not_running = || Error::new(ErrorKind::State, format!("machine {} is not running", names.name));
    let init = Process::init(names).ok_or_else(not_running)?;
    let input = match &request.stdin {
        Stdin::Bytes(bytes) => bytes.clone(),
        Stdin::Null | Stdin::Inherit | Stdin::From(_) => Vec::new(),
    };
    let (_reaped, mut child) = if request.tty {
        Reaped::new(with_terminal(&run::program(runc)?, names, &request)?)
    } else {
        match blocking(move || Ok(spawn(&init, &request)?.map(Reaped::new))).await? {
            Ok(started) => started,
            Err(error) => return Ok(not_started(&program, &error)),
        }
    };
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A command may end before it has read all.
            let _ = stdin.write_all(&input).await;
        }
    };
    let (_, output) = tokio::join!(feed, child.wait_with_output());
    let output = output.with_context(|| format!("wait for {program} in machine {}", names.name))?;
    let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal)).unwrap_or(NOT_RUNNABLE);
    Ok(ExecOutput { code, stdout: output.stdout, stderr: output.stderr })
}

fn not_started(program: &str, error: &io::Error) -> ExecOutput {
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE };
    ExecOutput { code, stdout: Vec::new(), stderr: format!("{program}: {error}\n").into_bytes() }
}

/// Reaps a child soon after this is dropped.
///
/// tokio reaps an abandoned child when it next wakes up for another reason, which may be long after. The first process
/// of a PID namespace does not end before all others in it are reaped, children of kcl included (pid_namespaces(7)). So
/// a caller that drops a command and then ends its machine would wait for itself.
struct Reaped(Option<Process>);

impl Reaped {
    fn new(child: Child) -> (Self, Child) {
        (Reaped(child.id().and_then(|pid| Process::open(pid as i32))), child)
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let Some(process) = self.0.take() else { return };
        // This fails if the child was already reaped, as one that was waited for.
        if pidfd_send_signal(process.fd(), Signal::KILL).is_ok() {
            // The thread is its own, as a process that hangs in the kernel must delay nothing but its machine.
            std::thread::spawn(move || waitid(WaitId::PidFd(process.fd().as_fd()), WaitIdOptions::EXITED));
        }
    }
}

/// Starts the command in the machine. The inner error is that of the command itself, such as a program that does not
/// exist.
#[allow(unsafe_code)]
fn spawn(init: &Process, request: &Exec) -> Result<io::Result<Child>> {
    let groups = open_groups(init.pid)?;
    let open_files = open_files(init.pid);
    let mut command = Command::new(&request.argv[0]);
    command.args(&request.argv[1..]).current_dir("/").env_clear().env("PATH", PATH).env("HOME", "/root");
    command.env("container", "kcl").envs(request.env.iter().map(|(key, value)| (key, value))).kill_on_drop(true);
    let own = |fd: &OwnedFd| fd.try_clone().map(Stdio::from).with_context(|| "duplicate a file descriptor");
    command.stdin(match &request.stdin {
        Stdin::Null => Stdio::null(),
        Stdin::Bytes(_) => Stdio::piped(),
        Stdin::Inherit => Stdio::inherit(),
        Stdin::From(fd) => own(fd)?,
    });
    match &request.stdout {
        Stdout::Capture => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        Stdout::Inherit => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
        Stdout::To(fd) => command.stdout(own(fd)?).stderr(Stdio::piped()),
    };
    let join = move || {
        for mut group in &groups {
            group.write_all(b"0")?;
        }
        if let Some((soft, hard)) = open_files {
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        }
        Ok(())
    };
    // SAFETY: write(2) and setrlimit(2) are async-signal-safe; nothing is allocated.
    unsafe { command.pre_exec(join) };
    let runtime = tokio::runtime::Handle::current();
    in_own_thread(|| {
        let _runtime = runtime.enter();
        let what = || format!("enter the namespaces of process {}", init.pid);
        // Only a thread that shares no root directory with others can enter a mount namespace.
        unshare(CloneFlags::CLONE_FS).with_context(what)?;
        let namespaces = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWCGROUP;
        setns(init.fd(), namespaces).with_context(what)?;
        umask(Mode::from_bits_truncate(0o022));
        Ok(command.spawn())
    })
}

/// Opens the process lists of the control groups that the machine's first process is in. On version 2 these need not be
/// the machine's own group, which holds no processes if it has children with controllers.
fn open_groups(pid: i32) -> Result<Vec<File>> {
    let of_process = fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .with_context(|| format!("read the groups of process {pid}"))?;
    let open =
        |path: PathBuf| File::options().write(true).open(&path).with_context(|| format!("open {}", path.display()));
    groups(&cgroup::mountinfo()?, &of_process).into_iter().map(|group| open(group.join("cgroup.procs"))).collect()
}

/// Returns the directories of a process's control groups, from proc_pid_mountinfo(5) and the lines
/// `id:controllers:path` of cgroups(7).
fn groups(mountinfo: &str, of_process: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in of_process.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let mount = mountinfo.lines().find_map(|mount| {
            let (before, after) = mount.split_once(" - ")?;
            let mut after = after.split(' ');
            let (kind, _source, options) = (after.next()?, after.next()?, after.next()?);
            let fits = match (kind, controllers) {
                ("cgroup2", "") => true,
                ("cgroup", "") => false,
                ("cgroup", all) => all.split(',').all(|one| options.split(',').any(|option| option == one)),
                _ => false,
            };
            fits.then(|| before.split(' ').nth(4)).flatten()
        });
        if let Some(mount) = mount {
            found.push(Path::new(mount).join(path.trim_start_matches('/')));
        }
    }
    found
}

/// Returns the limits of open files of the machine's first process: `Max open files` of proc_pid_limits(5).
fn open_files(pid: i32) -> Option<(u64, u64)> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_whitespace();
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Runs `runc exec --tty`, which makes a terminal in the machine and joins it to kcl's.
fn with_terminal(runc: &Path, names: &MachineNames, request: &Exec) -> Result<Child> {
    let mut command = Command::new(runc);
    command.arg("--root").arg(names.cluster.runc_root()).args(["exec", "--tty", "--cwd", "/"]);
    for (key, value) in &request.env {
        command.arg("--env").arg(format!("{key}={value}"));
    }
    command.arg(&names.name).args(&request.argv).kill_on_drop(true);
    command.spawn().with_context(|| format!("run {}", runc.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dropped_command_is_reaped() {
        for _ in 0..200 {
            let child = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().expect("sleep");
            let started = Reaped::new(child);
            let process = started.1.id().expect("a process");
            // A start that is interrupted while it starts a command does this.
            tokio::task::spawn_blocking(move || drop(started)).await.expect("no panic");
            let end = std::time::Instant::now() + Duration::from_secs(60);
            // tokio would reap it whenever it wakes up, but here it does not.
            while Path::new("/proc").join(process.to_string()).exists() {
                assert!(std::time::Instant::now() < end, "process {process} is not reaped");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn groups_of_both_versions() {
        let v1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let of_process = "9:name=systemd:/kcl/a/b\n2:cpu,cpuacct:/kcl/a/b\n1:misc:/\n0::/kcl/a/b\n";
        let found = ["/sys/fs/cgroup/systemd/kcl/a/b", "/sys/fs/cgroup/cpu/kcl/a/b", "/sys/fs/cgroup/unified/kcl/a/b"];
        assert_eq!(groups(v1, of_process), found.map(PathBuf::from));
        let v2 = "35 24 0:30 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            groups(v2, "0::/kcl.slice/x.scope/init\n"),
            [PathBuf::from("/sys/fs/cgroup/kcl.slice/x.scope/init")]
        );
    }
}
