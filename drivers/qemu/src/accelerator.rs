//! KVM where it truly runs a guest, else emulation.
//!
//! That `/dev/kvm` can be opened is no proof: in some clouds and sandboxes a guest hangs in it. So the kernel of the
//! machines is started once a boot of the host, with a time limit, to do nothing but switch itself off.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kcl_driver_api::Result;
use kcl_driver_vm::{Doing, Guest, GuestFiles, document};

use crate::command::{self, QEMU};

const DEVICE: &str = "/dev/kvm";

/// How long the probe may take: it takes about a second where KVM works.
const LIMIT: Duration = Duration::from_secs(6);

/// Who runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU (TCG): several times slower.
    Emulation,
}

/// Why there is no KVM without a try; none where a try may succeed.
pub(crate) fn hopeless() -> Option<String> {
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => None,
        Err(error) => Some(format!("{DEVICE} cannot be opened: {error}")),
    }
}

/// The answer of an earlier probe in this run of the host.
pub(crate) fn known(run: &Path) -> Option<Accelerator> {
    match fs::read_to_string(answer(run)).ok()?.as_str() {
        "kvm" => Some(Accelerator::Kvm),
        "emulation" => Some(Accelerator::Emulation),
        _ => None,
    }
}

/// The file of the answer, by the boot's id (random(4)).
fn answer(run: &Path) -> std::path::PathBuf {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    run.join(format!("accelerator-{}", boot.trim()))
}

/// Finds out, and remembers it.
pub(crate) fn find(run: &Path, files: &GuestFiles) -> Result<Accelerator> {
    if hopeless().is_some() {
        return Ok(Accelerator::Emulation);
    }
    document::make_private_directory(run)?;
    let lock = File::open(run).doing(|| format!("open {}", run.display()))?;
    lock.lock().doing(|| format!("lock {}", run.display()))?;
    if let Some(known) = known(run) {
        return Ok(known);
    }
    let initrd = run.join("probe");
    let guest = Guest::probe(files, &initrd)?;
    let runs = runs(&guest);
    document::remove_file(&initrd)?;
    let (found, word) = match runs? {
        true => (Accelerator::Kvm, "kvm"),
        false => (Accelerator::Emulation, "emulation"),
    };
    let path = answer(run);
    fs::write(&path, word).doing(|| format!("write {}", path.display()))?;
    Ok(found)
}

/// Whether the guest ends by itself in time.
fn runs(guest: &Guest) -> Result<bool> {
    let what = || format!("run {QEMU}");
    let mut command = Command::new(QEMU);
    command.args(command::base(guest, Accelerator::Kvm, Guest::probe_word()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().doing(what)?;
    let process = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(child.id() as i32).expect("a child has a number"),
        rustix::process::PidfdFlags::empty(),
    )
    .doing(what)?;
    let mut fds = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&process), nix::poll::PollFlags::POLLIN)];
    let timeout = nix::poll::PollTimeout::try_from(LIMIT).unwrap_or(nix::poll::PollTimeout::MAX);
    let in_time = nix::poll::poll(&mut fds, timeout).doing(what)? > 0;
    if !in_time {
        child.kill().doing(what)?;
    }
    let status = child.wait().doing(what)?;
    tracing::debug!(elapsed = ?begun.elapsed(), in_time, %status, "the probe of KVM ended");
    Ok(in_time && status.success())
}
