//! The rotation of the CAs: each gets a successor with another key, and is trusted beside it until all certificates are the
//! successor's. A rotation that was interrupted is resumed.

use std::io;
use std::path::Path;

use kcl_files::{remove_tree, sync_dir, user_dir, write};

use crate::pki::authority::Authority;
use crate::pki::staging::{CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA, Staging};

/// The directory of the successors until they take over.
const NEXT: &str = "next";
/// The directory of the certificates of CAs that are only trusted.
pub(super) const PREVIOUS: &str = "previous";

/// Returns the file of a CA's certificate that the CA before it has signed.
pub(super) fn cross(name: &str) -> String {
    format!("{name}-cross.crt")
}

/// Returns the file of the CA before.
pub(super) fn previous(name: &str) -> String {
    format!("{PREVIOUS}/{name}.crt")
}

/// Returns true if CAs are trusted that sign no more.
pub(super) fn is_unfinished(dir: &Path) -> bool {
    dir.join(PREVIOUS).is_dir()
}

/// Creates successors of the CAs, which sign from now on.
pub(super) fn begin(dir: &Path, authorities: [(&str, &Authority); 3], now: jiff::Timestamp) -> Result<(), String> {
    let successors = authorities.map(|(name, authority)| Ok((name, authority.successor(now)?)));
    let successors: Vec<(&str, Authority)> = successors.into_iter().collect::<Result<_, String>>()?;
    let prepare = || -> io::Result<()> {
        let staging = Staging::beside(&dir.join(NEXT))?;
        for (name, authority) in &successors {
            staging.put(&format!("{name}.key"), &authority.key_pem)?;
            staging.put(&format!("{name}.crt"), &authority.cert_pem)?;
            staging.put(&cross(name), &authority.cross_pem)?;
        }
        staging.place(&dir.join(NEXT))
    };
    prepare().and_then(|()| resume(dir)).map_err(|error| error.to_string())
}

/// Makes successors that are ready take over. Each step can be repeated, by another kcl too.
pub(super) fn resume(dir: &Path) -> io::Result<()> {
    let next = dir.join(NEXT);
    if !next.is_dir() {
        return Ok(());
    }
    user_dir(&dir.join(PREVIOUS))?;
    for (name, _) in [CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA] {
        let certificate = format!("{name}.crt");
        let kept = dir.join(previous(name));
        // Its own certificate is replaced last.
        if next.join(&certificate).exists() && !kept.exists() {
            write(&kept, &std::fs::read(dir.join(&certificate))?, 0o600)?;
        }
        for file in [format!("{name}.key"), cross(name), certificate] {
            match std::fs::rename(next.join(&file), dir.join(&file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    sync_dir(dir)?;
    remove_tree(&next)
}

/// Ends the trust in the CAs before.
pub(super) fn end(dir: &Path) -> io::Result<()> {
    match is_unfinished(dir) {
        true => remove_tree(&dir.join(PREVIOUS)),
        false => Ok(()),
    }
}
