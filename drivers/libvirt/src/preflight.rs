//! Checks the host: what all virtual machines need, and libvirt.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kcl_driver_api::{Finding, Health, PreflightRequest};
use kcl_driver_vm::preflight::{self, install};

use crate::connection::{Connection, Scope};
use crate::context::Context;

/// Reports whether machines could be made here.
pub(crate) fn health(context: &Context) -> Health {
    let (engine, own) = libvirt(context);
    let mut health = preflight::health(&context.host());
    health.engine = engine.map(|engine| match health.engine {
        Some(qemu) => format!("{engine}, {qemu}"),
        None => engine,
    });
    health.findings.splice(0..0, own);
    health
}

/// Returns the findings, the gravest first.
pub(crate) fn findings(context: &Context, request: &PreflightRequest) -> Vec<Finding> {
    let mut findings = libvirt(context).1;
    findings.extend(preflight::findings(&context.host(), request));
    findings
}

/// Returns libvirt's version, and the problems of libvirt.
fn libvirt(context: &Context) -> (Option<String>, Vec<Finding>) {
    let connection = match Connection::open(&context.uri) {
        Ok(connection) => connection,
        Err(error) => {
            let finding = Finding::error("libvirt", error.message);
            let fedora = "libvirt-daemon-driver-qemu libvirt-daemon-driver-network";
            return (None, vec![install(finding, "libvirt-daemon-system", fedora)]);
        }
    };
    let version = connection.get_lib_version().ok();
    let engine = version.map(|version| format!("libvirt {} ({})", number(version), context.uri));
    let findings = match context.uri.scope {
        Scope::Session => None,
        Scope::System => not_root().or_else(|| closed(context)),
    };
    (engine, findings.into_iter().collect())
}

/// Formats a version that libvirt packs: 9.0.0 is 9000000.
fn number(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}

fn not_root() -> Option<Finding> {
    let finding = Finding::error("root", "kcl uses the system's libvirt as root only");
    (!nix::unistd::geteuid().is_root())
        .then(|| finding.fix("export KCL_LIBVIRT_URI=qemu:///session, or run kcl with sudo"))
}

/// Checks that QEMU can read the files: libvirt takes all capabilities from it, so it reads root's own files and those
/// that everybody can read.
fn closed(context: &Context) -> Option<Finding> {
    let kernel = context.files.iter().map(|files| &files.kernel);
    let path = context.directories.iter().chain(kernel).find_map(|path| closed_to_root(path))?;
    let message =
        format!("QEMU of the system's libvirt cannot enter {}, which belongs to another user", path.display());
    Some(Finding::error("permissions", message).fix(format!("chmod o+x {}", path.display())))
}

/// Returns the first directory of a path that a root without capabilities cannot enter.
fn closed_to_root(path: &Path) -> Option<PathBuf> {
    let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
    way.reverse();
    let closed = |directory: &&Path| {
        directory.metadata().is_ok_and(|meta| {
            let bit = if meta.uid() == 0 {
                0o100
            } else if meta.gid() == 0 {
                0o010
            } else {
                0o001
            };
            meta.mode() & bit == 0
        })
    };
    way.into_iter().find(closed).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_for_people() {
        assert_eq!(number(9_000_000), "9.0.0");
        assert_eq!(number(11_010_002), "11.10.2");
    }

    #[test]
    fn the_root_directory_is_open() {
        assert_eq!(closed_to_root(Path::new("/nonexistent/a/b")), None);
    }
}
