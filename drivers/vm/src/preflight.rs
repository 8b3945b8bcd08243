//! Judges the host: finds every obstacle at once, each with the command that fixes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kcl_driver_api::{Finding, Health, PreflightRequest};
use kcl_driver_local::checks::{self, Disk};

use crate::accelerator::{self, Accelerator, QEMU};
use crate::guest::GuestFiles;
use crate::images::program;

/// The oldest QEMU: sockets and files by `-chardev` and `server=on` as they are used here.
const VERSION: u32 = 6;
/// Bytes of memory of a machine before its user's share, if no memory is named.
const MEMORY: u64 = 1 << 30;
/// Bytes of disk of a machine before it runs anything for its user.
const DISK: u64 = 1 << 30;

/// The host that is judged.
pub struct Host<'a> {
    /// The directory of the record of KVM's probe.
    pub run: &'a Path,
    /// The files that guests are made from, if they are there.
    pub files: Option<&'a GuestFiles>,
    /// The directories that machines are kept in.
    pub directories: &'a [PathBuf],
}

/// Checks that guests could run here.
pub fn health(host: &Host<'_>) -> Health {
    let engine = version();
    let findings = [architecture(), qemu(engine.as_deref()), tools(), kvm(accelerator::known(host.run))];
    Health { engine, findings: findings.into_iter().flatten().collect() }
}

/// Returns all findings, the gravest first. Tests KVM if it was not tested since the host's boot.
pub fn findings(host: &Host<'_>, request: &PreflightRequest) -> Vec<Finding> {
    let engine = version();
    let mut findings: Vec<Finding> = [architecture(), qemu(engine.as_deref()), tools()].into_iter().flatten().collect();
    let accelerator = match host.files {
        Some(files) if findings.is_empty() => accelerator::find(host.run, files).ok(),
        _ => accelerator::known(host.run),
    };
    findings.extend([kvm(accelerator), memory(request), disk(host, request)].into_iter().flatten());
    findings
}

fn architecture() -> Option<Finding> {
    let found = std::env::consts::ARCH;
    let message = format!("this is {found}; kcl makes virtual machines of x86_64 only");
    (found != "x86_64").then(|| Finding::error("architecture", message))
}

fn version() -> Option<String> {
    let output = Command::new(QEMU).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // "QEMU emulator version 7.2.22 (Debian …)"
    let number = text.lines().next()?.split_whitespace().nth(3)?;
    Some(format!("QEMU {number}"))
}

/// Adds the command that installs a package, if it is known for this system.
pub fn install(finding: Finding, debian: &str, fedora: &str) -> Finding {
    if Path::new("/usr/bin/apt-get").exists() {
        finding.fix(format!("sudo apt-get install --no-install-recommends {debian}"))
    } else if Path::new("/usr/bin/dnf").exists() {
        finding.fix(format!("sudo dnf install {fedora}"))
    } else {
        finding
    }
}

fn qemu(version: Option<&str>) -> Option<Finding> {
    let Some(version) = version else {
        let finding = Finding::error("qemu", format!("{QEMU} was not found"));
        return Some(install(finding, "qemu-system-x86", "qemu-system-x86-core"));
    };
    let major: u32 = version.trim_start_matches("QEMU ").split('.').next()?.parse().ok()?;
    let message = format!("{version} is too old; {VERSION}.0 or later is needed");
    (major < VERSION).then(|| Finding::error("qemu-version", message))
}

fn tools() -> Option<Finding> {
    let mut wanted = vec!["mke2fs"];
    if !nix::unistd::geteuid().is_root() {
        wanted.push("debugfs");
    }
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !program(name).is_absolute()).collect();
    let message = format!("{} makes the disks of machines and was not found", missing.join(" or "));
    (!missing.is_empty()).then(|| install(Finding::error("e2fsprogs", message), "e2fsprogs", "e2fsprogs"))
}

fn kvm(known: Option<Accelerator>) -> Option<Finding> {
    let (why, not_allowed) = match (accelerator::hopeless(), known) {
        (Some(why), _) => (why, Path::new("/dev/kvm").exists()),
        (None, Some(Accelerator::Emulation)) => ("KVM is there but a guest did not run in it".to_owned(), false),
        (None, Some(Accelerator::Kvm) | None) => return None,
    };
    let finding = Finding::warning("kvm", format!("{why}; machines are emulated, which is several times slower"));
    Some(if not_allowed { finding.fix("sudo usermod -aG kvm $USER, and log in again") } else { finding })
}

fn memory(request: &PreflightRequest) -> Option<Finding> {
    let available = checks::meminfo(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable");
    checks::memory("the host", available, request.memory.unwrap_or(MEMORY), request)
}

fn disk(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    let needed = request.machines.len() as u64 * DISK;
    host.directories.iter().find_map(|directory| {
        let existing = directory.ancestors().find(|path| path.exists())?;
        let status = nix::sys::statvfs::statvfs(existing).ok()?;
        let free = status.blocks_available() * status.fragment_size();
        Disk { place: existing.display(), free, needed, at_least: 0 }.check("free some there", request)
    })
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::Severity;

    use super::*;

    #[test]
    fn what_is_missing_or_old_is_told() {
        assert_eq!(qemu(None).unwrap().id, "qemu");
        assert_eq!(qemu(Some("QEMU 5.2.0")).unwrap().id, "qemu-version");
        assert_eq!(qemu(Some("QEMU 7.2.22")), None);
        let request = PreflightRequest { machines: vec!["a".into()], memory: Some(1 << 60), ..Default::default() };
        assert_eq!(memory(&request).unwrap().severity, Severity::Warning);
    }
}
