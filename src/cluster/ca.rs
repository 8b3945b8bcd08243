//! The CA of a cluster's servers for browsers and other programs of this computer: installed in the system's trust store, and
//! removed. It is not that of the API: it vouches for names of this computer only.
//!
//! kcl keeps no record of it: the file's name identifies the cluster.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;

use crate::app::App;
use crate::digest;
use crate::error::{Error, Id, Result};

/// The directory of the CAs that an administrator trusts, and the commands to run after one is added or removed.
struct TrustStore {
    directory: &'static str,
    more: &'static str,
    less: &'static str,
}

/// The commands of Debian. Without `--fresh`, links to removed files would stay.
const DEBIAN: [&str; 2] = ["update-ca-certificates", "update-ca-certificates --fresh"];

/// The trust stores of Debian, Fedora, SUSE and Arch and of the distributions derived from them.
const STORES: [TrustStore; 4] = [
    TrustStore { directory: "/usr/local/share/ca-certificates", more: DEBIAN[0], less: DEBIAN[1] },
    TrustStore { directory: "/etc/pki/ca-trust/source/anchors", more: "update-ca-trust", less: "update-ca-trust" },
    TrustStore { directory: "/etc/pki/trust/anchors", more: DEBIAN[0], less: DEBIAN[1] },
    TrustStore {
        directory: "/etc/ca-certificates/trust-source/anchors",
        more: "update-ca-trust",
        less: "update-ca-trust",
    },
];

/// The result of a change of trust in a CA.
#[derive(Debug, PartialEq, Eq)]
pub enum Trust {
    /// The file was written or removed, and the command was run.
    Changed(PathBuf, &'static str),
    /// The file already existed, or was already missing.
    Unchanged(PathBuf),
}

/// Returns the certificate of the CA of a cluster's servers, in PEM.
pub fn ca(app: &App, cluster: &str) -> Result<String> {
    numbered(app, cluster).map(|(pem, _)| pem)
}

/// Returns the certificate, and a number of its key.
fn numbered(app: &App, cluster: &str) -> Result<(String, String)> {
    app.existing(cluster)?;
    app.pki(cluster)?.services_ca(Timestamp::now())
}

/// Makes this system trust a cluster's CA.
///
/// # Errors
/// `Host` if the trust store is of no known kind or is not writable; a hint then says what to run.
pub fn trust(app: &App, cluster: &str) -> Result<Trust> {
    let (pem, number) = numbered(app, cluster)?;
    let store = store()?;
    let file = store.file(cluster, &number);
    if std::fs::read(&file).is_ok_and(|there| there == pem.as_bytes()) {
        return Ok(Trust::Unchanged(file));
    }
    let command = format!("kcl ca -p {cluster} | sudo tee {} && sudo {}", file.display(), store.more);
    kcl_files::write(&file, pem.as_bytes(), 0o644).map_err(|error| trouble("written", &file, error, &command))?;
    if let Err(error) = update(store.more) {
        // Otherwise the next attempt would find the file and do nothing.
        let _ = std::fs::remove_file(&file);
        return Err(error);
    }
    Ok(Trust::Changed(file, store.more))
}

/// Makes this system no longer trust a cluster's CA.
///
/// # Errors
/// The same as those of [`trust`].
pub fn untrust(app: &App, cluster: &str) -> Result<Trust> {
    let (_, number) = numbered(app, cluster)?;
    let store = store()?;
    store.remove(&store.file(cluster, &number))
}

/// Removes the CA of a cluster that is being deleted from the trust stores. Failures are warnings.
pub(super) fn forget(app: &App, cluster: &str) {
    let pki = app.store.paths().cluster(cluster).join("pki");
    // An older kcl made systems trust the cluster's own CA, and named the file by a digest of it.
    let own = std::fs::read(pki.join("ca.crt")).ok().map(|pem| digest::of_bytes(&pem)[..8].to_owned());
    let services = pki.is_dir().then(|| app.pki(cluster).and_then(|pki| pki.services_ca(Timestamp::now())));
    let numbers = own.into_iter().chain(services.and_then(Result::ok).map(|(_, number)| number));
    let files = numbers.flat_map(|number| STORES.map(|store| (store.file(cluster, &number), store)));
    for (file, store) in files {
        match file.exists().then(|| store.remove(&file)) {
            Some(Ok(_)) => app.progress.info(format!("This system does not trust the CA of \"{cluster}\" any more")),
            Some(Err(error)) => {
                app.progress.warn(format!("{error}; this system goes on trusting the CA of a cluster that is gone"));
                error.hints.iter().for_each(|hint| app.progress.info(hint));
            }
            None => {}
        }
    }
}

/// Returns the trust store of this system.
fn store() -> Result<TrustStore> {
    STORES.into_iter().find(|store| Path::new(store.directory).is_dir()).ok_or_else(|| {
        let known: Vec<_> = STORES.iter().map(|store| store.directory).collect();
        Error::new(
            Id::TrustStoreFailed,
            format!("this system's trust store is not known: none of {} is there", known.join(", ")),
        )
        .hint("install ca-certificates")
        .hint("or bring the certificate to where your programs look: kcl ca > ca.crt")
    })
}

impl TrustStore {
    /// Returns the path of a CA's file. It includes a number of its key, as clusters of other homes may have the same name.
    fn file(&self, cluster: &str, number: &str) -> PathBuf {
        Path::new(self.directory).join(format!("kcl-{cluster}-{number}.crt"))
    }

    fn remove(&self, file: &Path) -> Result<Trust> {
        let command = format!("sudo rm {} && sudo {}", file.display(), self.less);
        match std::fs::remove_file(file) {
            Ok(()) => update(self.less).map(|()| Trust::Changed(file.to_owned(), self.less)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Trust::Unchanged(file.to_owned())),
            Err(error) => Err(trouble("removed", file, error, &command)),
        }
    }
}

/// Runs the command that updates the system's trust store.
fn update(command: &str) -> Result<()> {
    let failed = |why: String| {
        Error::new(Id::TrustStoreFailed, format!("`{command}` failed: {why}"))
            .hint(format!("run it by hand: sudo {command}"))
    };
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn trouble(done: &str, file: &Path, error: std::io::Error, command: &str) -> Error {
    let message = format!("{} cannot be {done}: {error}", file.display());
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => format!("as root: {command}"),
        _ => format!("fix that, or run: {command}"),
    };
    Error::new(Id::TrustStoreFailed, message).hint(hint).source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_whose_ca_it_is() {
        let file = STORES[0].file("dev", "one");
        assert_ne!(file, STORES[0].file("dev", "another"));
        assert!(file.to_string_lossy().starts_with("/usr/local/share/ca-certificates/kcl-dev-"));
        assert_eq!(file.extension().expect("Debian takes no other"), "crt");
    }

    #[test]
    fn who_may_not_is_told_what_to_run() {
        let error = trouble("written", Path::new("/x.crt"), ErrorKind::PermissionDenied.into(), "sudo cp");
        assert_eq!(error.id, Id::TrustStoreFailed);
        assert_eq!(error.hints, ["as root: sudo cp"]);
    }
}
