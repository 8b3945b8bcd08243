//! The material that a cluster keeps for its life: the CAs, the service account key, the encryption configuration.

use std::io;
use std::path::Path;

use kcl_files::write;
use rcgen::KeyPair;

use crate::pki::authority::{Authority, random, self_signed};
use crate::pki::staging::{CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA, Staging};
use crate::pki::{documents, rotation};

const SA_KEY: &str = "sa.key";
const SA_PUB: &str = "sa.pub";
const ENCRYPTION: &str = "encryption.json";

/// The material, read and checked.
pub(super) struct Material {
    pub cluster: Authority,
    pub etcd: Authority,
    pub front_proxy: Authority,
    pub sa_key: String,
    pub sa_pub: String,
    pub encryption: String,
}

impl Material {
    /// Returns the CAs, each with its file's name without the extension.
    pub(super) fn authorities(&self) -> [(&'static str, &Authority); 3] {
        [(CLUSTER_CA.0, &self.cluster), (ETCD_CA.0, &self.etcd), (FRONT_PROXY_CA.0, &self.front_proxy)]
    }
}

/// Creates the material in `dir`, which does not exist: beside it first, then renamed.
pub(super) fn create(dir: &Path, cluster: &str, now: jiff::Timestamp) -> io::Result<()> {
    let staging = Staging::beside(dir)?;
    let put = |name: &str, content: &str| staging.put(name, content);
    for (name, subject) in [CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA] {
        let ca = self_signed(&format!("{cluster}-{subject}"), now).map_err(io::Error::other)?;
        put(&format!("{name}.key"), &ca.key_pem)?;
        put(&format!("{name}.crt"), &ca.cert_pem)?;
    }
    let service_accounts = KeyPair::generate().map_err(io::Error::other)?;
    put(SA_KEY, &service_accounts.serialize_pem())?;
    put(SA_PUB, &service_accounts.public_key_pem())?;
    put(ENCRYPTION, &documents::encryption(&random::<32>().map_err(io::Error::other)?))?;
    staging.place(dir)
}

/// Reads the material, or describes the fault of a file.
pub(super) fn load(dir: &Path, now: jiff::Timestamp) -> Result<Material, String> {
    rotation::resume(dir).map_err(|error| format!("the rotation of the CAs cannot be resumed: {error}"))?;
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).map_err(|error| format!("{name}: {error}"));
    let authority = |(name, _): (&str, &str)| {
        let open = || {
            let mut found = Authority::new(read(&format!("{name}.crt"))?, read(&format!("{name}.key"))?)?;
            found.cross_pem = read(&rotation::cross(name)).unwrap_or_default();
            found.previous_pem = read(&rotation::previous(name)).unwrap_or_default();
            if !found.is_due(now) {
                return Ok(found);
            }
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
