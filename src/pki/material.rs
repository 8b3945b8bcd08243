//! The material that a cluster keeps for its life: the CAs, the service account key, the encryption configuration.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kcl_files::{TEMPORARY, hand_over, sync_dir, user_dir, write};
use rcgen::KeyPair;

use crate::pki::authority::{Authority, random, self_signed};
use crate::pki::documents;

const SA_KEY: &str = "sa.key";
const SA_PUB: &str = "sa.pub";
const ENCRYPTION: &str = "encryption.json";
/// The CAs: the file's name without its extension, and the suffix of the cluster's name in the subject.
const CLUSTER_CA: (&str, &str) = ("ca", "ca");
const ETCD_CA: (&str, &str) = ("etcd-ca", "etcd-ca");
const FRONT_PROXY_CA: (&str, &str) = ("front-proxy-ca", "front-proxy-ca");

/// The material, read and checked.
pub(super) struct Material {
    pub cluster: Authority,
    pub etcd: Authority,
    pub front_proxy: Authority,
    pub sa_key: String,
    pub sa_pub: String,
    pub encryption: String,
}

/// Creates the material in `dir`, which does not exist: beside it first, then renamed.
pub(super) fn create(dir: &Path, cluster: &str, now: jiff::Timestamp) -> io::Result<()> {
    let parent = dir.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    user_dir(parent)?;
    let private = Permissions::from_mode(0o700);
    let staging = tempfile::Builder::new().prefix(TEMPORARY).permissions(private).tempdir_in(parent)?;
    hand_over(staging.path())?;
    let put = |name: &str, content: &str| write(&staging.path().join(name), content.as_bytes(), 0o600);
    for (name, subject) in [CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA] {
        let ca = self_signed(&format!("{cluster}-{subject}"), now).map_err(io::Error::other)?;
        put(&format!("{name}.key"), &ca.key_pem)?;
        put(&format!("{name}.crt"), &ca.cert_pem)?;
    }
    let service_accounts = KeyPair::generate().map_err(io::Error::other)?;
    put(SA_KEY, &service_accounts.serialize_pem())?;
    put(SA_PUB, &service_accounts.public_key_pem())?;
    put(ENCRYPTION, &documents::encryption(&random::<32>().map_err(io::Error::other)?))?;
    sync_dir(staging.path())?;
    std::fs::rename(staging.path(), dir)?;
    // Its old place is empty, so the guard has nothing to remove.
    let _ = staging.keep();
    sync_dir(parent)
}

/// Reads the material, or describes the fault of a file.
pub(super) fn load(dir: &Path, now: jiff::Timestamp) -> Result<Material, String> {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).map_err(|error| format!("{name}: {error}"));
    let authority = |(name, _): (&str, &str)| {
        let open = || {
            let found = Authority::new(read(&format!("{name}.crt"))?, read(&format!("{name}.key"))?)?;
            if !found.is_ahead(now) {
                return Ok(found);
            }
            // What it has signed stays valid: name and key are the same.
            let again = found.issued_again(now)?;
            let written = write(&dir.join(format!("{name}.crt")), again.cert_pem.as_bytes(), 0o600);
            written.map(|()| again).map_err(|error| error.to_string())
        };
        open().map_err(|problem: String| format!("{name}.crt, {name}.key: {problem}"))
    };
    let material = Material {
        cluster: authority(CLUSTER_CA)?,
        etcd: authority(ETCD_CA)?,
        front_proxy: authority(FRONT_PROXY_CA)?,
        sa_key: read(SA_KEY)?,
        sa_pub: read(SA_PUB)?,
        encryption: read(ENCRYPTION)?,
    };
    let key = KeyPair::from_pem(&material.sa_key).map_err(|error| format!("{SA_KEY}: it cannot be read: {error}"))?;
    if key.public_key_pem() != material.sa_pub {
        return Err(format!("{SA_PUB}: it is not of {SA_KEY}"));
    }
    if !documents::is_encryption(&material.encryption) {
        return Err(format!("{ENCRYPTION}: it is not an EncryptionConfiguration"));
    }
    Ok(material)
}
