//! KVM if it really runs a guest, else emulation.
//!
//! An open `/dev/kvm` is not a proof: in some clouds and sandboxes a guest hangs in it. So once a boot of the host, the
//! kernel of the machines is started in it with a time limit, only to switch itself off.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kcl_driver_api::Result;
use kcl_driver_local::context::Context as _;
use kcl_driver_local::process;
use kcl_driver_local::storage;

use crate::guest::{Guest, GuestFiles};

/// The program that runs guests, whichever driver starts it.
pub const QEMU: &str = "qemu-system-x86_64";

/// The processor that is emulated: with the instructions that Debian and Go need (x86-64-v2), and AES. Programs use
/// wider vectors if there are any, and those are emulated element by element: with all that QEMU can do (`max`), a
/// cluster takes half as long again.
pub const EMULATED_CPU: &str = "Westmere";

const DEVICE: &str = "/dev/kvm";

/// The time limit of the probe: it takes about a second if KVM works.
const LIMIT: Duration = Duration::from_secs(6);

/// The executor of the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor runs it.
    Kvm,
    /// QEMU runs it (TCG): several times slower.
    Emulation,
}

impl Accelerator {
    /// Returns the guest's kernel command line: its own messages go to the first serial port, and a panic is the end.
    /// `word` is added.
    pub fn command_line(self, word: &str) -> String {
        // Faults of real processors do not exist in an emulated one. And its clock is the host's, however long a busy
        // host lets it wait: the kernel's test of the timer would take the wait for a broken one, and panic.
        // busy lets it wait: the kernel's test of the timer would take the wait for a broken one, and panic.
        let emulated = if self == Accelerator::Emulation { " mitigations=off tsc=reliable no_timer_check" } else { "" };
        format!("console=ttyS0 quiet panic=-1{emulated} {word}").trim_end().to_owned()
    }
}

/// Returns QEMU's options for all guests: only the named devices of a computer, and no second boot. `word` is added to
/// the kernel's command line.
pub fn options(guest: &Guest, accelerator: Accelerator, word: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut add = |words: &[&str]| options.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    add(&["-machine", "q35,vmport=off,usb=off,sata=off,smbus=off"]);
    match accelerator {
        Accelerator::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
        Accelerator::Emulation => add(&["-accel", "tcg,thread=multi", "-cpu", EMULATED_CPU]),
    }
    add(&["-smp", &guest.cpus.to_string(), "-m", &format!("{}M", guest.memory >> 20)]);
    add(&["-kernel", &guest.kernel.to_string_lossy(), "-initrd", &guest.initrd.to_string_lossy()]);
    add(&["-append", &accelerator.command_line(word)]);
    options
}

/// Returns why KVM is missing without a test; none if a test may succeed.
pub(crate) fn hopeless() -> Option<String> {
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => None,
        Err(error) => Some(format!("{DEVICE} cannot be opened: {error}")),
    }
}

/// Reads the result of an earlier probe since the host's boot.
pub(crate) fn known(run: &Path) -> Option<Accelerator> {
    match fs::read_to_string(answer(run)).ok()?.as_str() {
        "kvm" => Some(Accelerator::Kvm),
        "emulation" => Some(Accelerator::Emulation),
        _ => None,
    }
}

/// Returns the path of the result, by the boot's id (random(4)).
fn answer(run: &Path) -> PathBuf {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    run.join(format!("accelerator-{}", boot.trim()))
}

/// Tests KVM, and records the result in `run`, a directory that a reboot empties.
///
/// # Errors
/// `Host` if QEMU cannot be run.
pub fn find(run: &Path, files: &GuestFiles) -> Result<Accelerator> {
    if hopeless().is_some() {
        return Ok(Accelerator::Emulation);
    }
    storage::make_private_directory(run)?;
    let lock = File::open(run).with_context(|| format!("open {}", run.display()))?;
    lock.lock().with_context(|| format!("lock {}", run.display()))?;
    if let Some(known) = known(run) {
        return Ok(known);
    }
    let initrd = run.join("probe");
    let guest = Guest::probe(files, &initrd)?;
    let runs = runs(&guest);
    storage::remove_file(&initrd)?;
    let (found, word) = match runs? {
        true => (Accelerator::Kvm, "kvm"),
        false => (Accelerator::Emulation, "emulation"),
    };
    let path = answer(run);
    fs::write(&path, word).with_context(|| format!("write {}", path.display()))?;
    Ok(found)
}

/// Returns true if the guest ends by itself in time.
fn runs(guest: &Guest) -> Result<bool> {
    let what = || format!("run {QEMU}");
    let mut command = Command::new(QEMU);
    command.args(options(guest, Accelerator::Kvm, Guest::probe_word()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    process::tie(&mut command);
    let begun = Instant::now();
    let mut child = command.spawn().with_context(what)?;
    let pid = child.id() as i32;
    let number = rustix::process::Pid::from_raw(pid).expect("a child has a number");
    let fd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()).with_context(what)?;
    let in_time = process::wait(&fd, pid, LIMIT)?;
    if !in_time {
        child.kill().with_context(what)?;
    }
    let status = child.wait().with_context(what)?;
    tracing::debug!(elapsed = ?begun.elapsed(), in_time, %status, "the probe of KVM ended");
    Ok(in_time && status.success())
}
