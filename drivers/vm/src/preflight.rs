//! Judging the host: everything that stands in the way, all at once, each with the command that mends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kcl_driver_api::{Finding, Health, PreflightRequest, Severity};

use crate::accelerator::{self, Accelerator, QEMU};
use crate::guest::GuestFiles;
use crate::images::program;

/// The oldest QEMU: sockets and files by `-chardev` and `server=on` as they are used here.
const VERSION: u32 = 6;
/// Bytes of memory of a machine before its user's share, where none is named.
const MEMORY: u64 = 1 << 30;
/// Bytes of disk of a machine before it runs anything for its user.
const DISK: u64 = 1 << 30;

/// What is looked at.
pub struct Host<'a> {
    /// Where the answer of KVM's probe is kept.
    pub run: &'a Path,
    /// What guests are made from, where it is there.
    pub files: Option<&'a GuestFiles>,
    /// Directories that machines are kept in.
    pub directories: &'a [PathBuf],
}

/// Whether guests could run here.
pub fn health(host: &Host<'_>) -> Health {
    let engine = version();
    let findings = [architecture(), qemu(engine.as_deref()), tools(), kvm(accelerator::known(host.run))];
    Health { engine, findings: findings.into_iter().flatten().collect() }
}

/// What is found, the gravest first. Where KVM was not tried yet in this run of the host, it is.
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
    if found == "x86_64" { None } else { finding(Severity::Error, "architecture", message, None) }
}

fn version() -> Option<String> {
    let output = Command::new(QEMU).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // "QEMU emulator version 7.2.22 (Debian …)"
    let number = text.lines().next()?.split_whitespace().nth(3)?;
    Some(format!("QEMU {number}"))
}

/// A finding of this name.
pub fn finding(severity: Severity, id: &'static str, message: String, fix: Option<&str>) -> Option<Finding> {
    Some(Finding { severity, id, message, fix: fix.map(str::to_owned) })
}

/// How a package is installed, where that is known.
pub fn install(debian: &str, fedora: &str) -> Option<String> {
    if Path::new("/usr/bin/apt-get").exists() {
        Some(format!("sudo apt-get install --no-install-recommends {debian}"))
    } else if Path::new("/usr/bin/dnf").exists() {
        Some(format!("sudo dnf install {fedora}"))
    } else {
        None
    }
}

fn qemu(version: Option<&str>) -> Option<Finding> {
    let Some(version) = version else {
        let message = format!("{QEMU} was not found");
        return finding(
            Severity::Error,
            "qemu",
            message,
            install("qemu-system-x86", "qemu-system-x86-core").as_deref(),
        );
    };
    let major: u32 = version.trim_start_matches("QEMU ").split('.').next()?.parse().ok()?;
    if major >= VERSION {
        return None;
    }
    finding(Severity::Error, "qemu-version", format!("{version} is too old; {VERSION}.0 or later is needed"), None)
}

fn tools() -> Option<Finding> {
    let mut wanted = vec!["mke2fs"];
    if !nix::unistd::geteuid().is_root() {
        wanted.push("debugfs");
    }
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !program(name).is_absolute()).collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!("{} makes the disks of machines and was not found", missing.join(" or "));
    finding(Severity::Error, "e2fsprogs", message, install("e2fsprogs", "e2fsprogs").as_deref())
}

fn kvm(known: Option<Accelerator>) -> Option<Finding> {
    let (why, fix) = match (accelerator::hopeless(), known) {
        (Some(why), _) => {
            let not_allowed = Path::new("/dev/kvm").exists();
            (why, not_allowed.then_some("sudo usermod -aG kvm $USER, and log in anew"))
        }
        (None, Some(Accelerator::Emulation)) => ("KVM is there but a guest did not run in it".to_owned(), None),
        (None, Some(Accelerator::Kvm) | None) => return None,
    };
    finding(Severity::Warning, "kvm", format!("{why}; machines are emulated, which is several times slower"), fix)
}

fn memory(request: &PreflightRequest) -> Option<Finding> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10;
    let wanted = request.machines.len() as u64 * request.memory.unwrap_or(MEMORY);
    if wanted <= available {
        return None;
    }
    let message = format!(
        "{} machines of {} MiB want more memory than the {} MiB that are available",
        request.machines.len(),
        request.memory.unwrap_or(MEMORY) >> 20,
        available >> 20
    );
    finding(Severity::Warning, "memory", message, None)
}

fn disk(host: &Host<'_>, request: &PreflightRequest) -> Option<Finding> {
    for directory in host.directories {
        let Some(existing) = directory.ancestors().find(|path| path.exists()) else { continue };
        let Ok(status) = nix::sys::statvfs::statvfs(existing) else { continue };
        let free = status.blocks_available() * status.fragment_size();
        let wanted = request.machines.len() as u64 * DISK;
        if free < wanted {
            let message = format!(
                "{} has {} MiB left; {} machines need {} MiB to begin with",
                existing.display(),
                free >> 20,
                request.machines.len(),
                wanted >> 20
            );
            return finding(Severity::Warning, "disk-space", message, None);
        }
    }
    None
}

#[cfg(test)]
mod tests {
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
