//! The cluster's certificates and keys: three CAs, the key of service account tokens, the key of Secrets, and a leaf
//! certificate for each use on each node. Leaf certificates are issued again before they expire, or when their subject
//! changes. CAs are too, with the same key; another key they get by a rotation only.

mod authority;
mod documents;
mod identity;
mod inventory;
mod leaf;
mod material;
mod renewal;
mod rotation;
mod services;
mod staging;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kcl_driver_api::File;
use kcl_node_spec::{Role, paths};

use crate::config::check_name;
use crate::error::{Error, Id, Result};
use crate::kubernetes::Credentials;
use authority::{Authority, KeyedCertificate};
pub use identity::{ClusterIdentity, NodeIdentity};
pub use inventory::{Certificate, Health};
use leaf::{Leaf, Signer};
use material::Material;
use services::Services;

/// The files of a node, and the changes in them.
#[derive(Debug)]
pub struct IssuedFiles {
    /// All files below `/etc/kubernetes` of the node.
    pub files: Vec<File>,
    /// The certificates that were replaced, each with the reason: `apiserver.crt: it ends soon`.
    pub renewed: Vec<String>,
    /// One of them was not valid, so that components which had read it cannot work until they are restarted.
    pub was_invalid: bool,
}

impl IssuedFiles {
    fn none() -> Self {
        IssuedFiles { files: Vec::new(), renewed: Vec::new(), was_invalid: false }
    }
}

/// The certificates and keys of a cluster.
pub struct Pki {
    dir: PathBuf,
    cluster: String,
    material: Material,
    /// Opened when it is first needed.
    services: Mutex<Option<Services>>,
}

impl Pki {
    /// Opens the material in `dir` (`clusters/<name>/pki`). If the directory is missing, it is created whole; `cluster`
    /// names the CAs. Damaged material is an error and is never replaced: nodes still trust it.
    pub fn open_or_create(dir: &Path, cluster: &str, now: jiff::Timestamp) -> Result<Self> {
        if !dir.exists() {
            material::create(dir, cluster, now).map_err(|error| {
                Error::new(Id::PkiUnusable, format!("certificates cannot be made in {}: {error}", dir.display()))
                    .source(error)
            })?;
        }
        let material = material::load(dir, now).map_err(|problem| {
            Error::new(Id::PkiUnusable, format!("{}: {problem}", dir.display()))
                .hint("restore the file from a copy")
                .hint(format!("or `kcl delete -p {cluster}` and start the cluster again"))
        })?;
        Ok(Pki { dir: dir.to_owned(), cluster: cluster.to_owned(), material, services: Mutex::default() })
    }

    /// Returns the certificate of the cluster's CA, for clients of its API; during a rotation also that of the one before.
    pub fn ca_pem(&self) -> String {
        self.material.cluster.trusted()
    }

    /// Returns all files below `/etc/kubernetes` for a node. Certificates that are still valid are reused.
    pub fn node_files(
        &self,
        node: &NodeIdentity,
        cluster: &ClusterIdentity,
        now: jiff::Timestamp,
    ) -> Result<IssuedFiles> {
        let mut issued = IssuedFiles { files: self.shared_files(node.role), ..IssuedFiles::none() };
        let kept = self.dir.join("nodes").join(&node.name);
        for leaf in leaf::of_node(node, cluster) {
            let signer = self.signer(leaf.signer);
            let pair = self.obtain(signer, &kept, &leaf, cluster.expiration, now, &mut issued)?;
            match leaf.kubeconfig {
                Some(path) => {
                    let document = documents::kubeconfig(&cluster.cluster, leaf.name, &self.ca_pem(), &pair);
                    issued.files.push(file(path.into(), 0o600, document));
                }
                None => {
                    issued.files.push(pki_file(&format!("{}.crt", leaf.name), 0o644, signer.chain(&pair.cert_pem)));
                    issued.files.push(pki_file(&format!("{}.key", leaf.name), 0o600, pair.key_pem));
                }
            }
        }
        Ok(issued)
    }

    /// Returns the credentials of the user, which are kept in `dir` like those of nodes.
    pub fn admin_credentials(&self, expiration: Duration, now: jiff::Timestamp) -> Result<Credentials> {
        let mut issued = IssuedFiles::none();
        let admin = leaf::admin();
        let pair = self.obtain(self.signer(admin.signer), &self.dir, &admin, expiration, now, &mut issued)?;
        Ok(Credentials { ca_pem: self.ca_pem(), cert_pem: pair.cert_pem, key_pem: pair.key_pem })
    }

    /// Returns the certificate and key of a server in the cluster, which are kept by a name. They stay the same while
    /// they are valid and the DNS names do not change.
    ///
    /// # Errors
    /// `Usage` for an invalid name.
    pub fn server_certificate(
        &self,
        name: &str,
        dns_names: &[String],
        expiration: Duration,
        now: jiff::Timestamp,
    ) -> Result<(String, String)> {
        check_name(name)?;
        let mut issued = IssuedFiles::none();
        let kept = self.dir.join("servers").join(name);
        self.with_services(now, |services| {
            services.cover(&self.dir, dns_names, now).map_err(|problem| self.unusable(&problem))?;
            let leaf = leaf::service(dns_names);
            let pair = self.obtain(&services.authority, &kept, &leaf, expiration, now, &mut issued)?;
            Ok((pair.cert_pem, pair.key_pem))
        })
    }

    /// Returns the certificate of the CA of servers in the cluster, for users to trust, and a number of its key.
    pub fn services_ca(&self, now: jiff::Timestamp) -> Result<(String, String)> {
        self.with_services(now, |services| Ok((services.authority.cert_pem.clone(), services.number())))
    }

    fn with_services<T>(&self, now: jiff::Timestamp, work: impl FnOnce(&mut Services) -> Result<T>) -> Result<T> {
        // A panic elsewhere does not make it wrong.
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if services.is_none() {
            let opened = Services::open(&self.dir, &self.cluster, now);
            *services = Some(opened.map_err(|problem| self.unusable(&problem))?);
        }
        work(services.as_mut().expect("it has just been opened"))
    }

    fn unusable(&self, problem: &str) -> Error {
        Error::new(Id::PkiUnusable, format!("{}: {problem}", self.dir.display()))
    }

    /// Begins a rotation of the CAs: others sign from now on, and these are still trusted. One that is unfinished goes on.
    pub fn begin_rotation(&mut self, now: jiff::Timestamp) -> Result<()> {
        if !rotation::is_unfinished(&self.dir) {
            rotation::begin(&self.dir, self.material.authorities(), now).map_err(|problem| self.unusable(&problem))?;
        }
        self.material = material::load(&self.dir, now).map_err(|problem| self.unusable(&problem))?;
        Ok(())
    }

    /// Returns true if CAs are trusted that sign no more.
    pub fn is_rotating(&self) -> bool {
        rotation::is_unfinished(&self.dir)
    }

    /// Ends a rotation: the CAs before are not trusted any more.
    pub fn end_rotation(&mut self, now: jiff::Timestamp) -> Result<()> {
        rotation::end(&self.dir).map_err(|error| self.unusable(&error.to_string()))?;
        self.material = material::load(&self.dir, now).map_err(|problem| self.unusable(&problem))?;
        Ok(())
    }

    /// Forgets all leaf certificates, so that they are issued again when they are next needed.
    pub fn forget_leaves(&self) -> Result<()> {
        let admin = leaf::admin().name;
        let failed = |path: &Path, error: std::io::Error| self.unusable(&format!("{}: {error}", path.display()));
        for name in ["nodes", "servers"] {
            let dir = self.dir.join(name);
            kcl_files::remove_tree(&dir).map_err(|error| failed(&dir, error))?;
        }
        for name in ["crt", "key"] {
            let file = self.dir.join(format!("{admin}.{name}"));
            kcl_files::remove(&file).map_err(|error| failed(&file, error))?;
        }
        Ok(())
    }

    /// Removes the certificates of a deleted node.
    pub fn forget_node(&self, name: &str) -> Result<()> {
        let dir = self.dir.join("nodes").join(name);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(Id::PkiUnusable, format!("{} cannot be removed: {error}", dir.display())).source(error))
            }
            _ => Ok(()),
        }
    }

    fn signer(&self, signer: Signer) -> &Authority {
        match signer {
            Signer::Cluster => &self.material.cluster,
            Signer::Etcd => &self.material.etcd,
            Signer::FrontProxy => &self.material.front_proxy,
        }
    }

    /// Returns the certificate in `dir`, or issues one and keeps it there.
    fn obtain(
        &self,
        signer: &Authority,
        dir: &Path,
        leaf: &Leaf,
        life: Duration,
        now: jiff::Timestamp,
        issued: &mut IssuedFiles,
    ) -> Result<KeyedCertificate> {
        if let Some(kept) = KeyedCertificate::read(dir, leaf.name) {
            match renewal::needs_renewal(&kept, leaf, &signer.cert_pem, now) {
                None => return Ok(kept),
                Some(reason) => {
                    issued.renewed.push(format!("{}.crt: {reason}", leaf.name));
                    issued.was_invalid |= [renewal::AHEAD, renewal::ENDED].contains(&reason);
                }
            }
        }
        let failed = |error: &dyn std::fmt::Display| {
            let path = dir.join(leaf.name);
            Error::new(Id::PkiUnusable, format!("the certificate {} cannot be issued: {error}", path.display()))
        };
        let pair = signer.issue(leaf, life, now).map_err(|error| failed(&error))?;
        pair.write(dir, leaf.name).map_err(|error| failed(&error).source(error))?;
        Ok(pair)
    }

    /// Returns the files that are the same on all nodes of a role.
    fn shared_files(&self, role: Role) -> Vec<File> {
        let material = &self.material;
        let mut files = vec![pki_file(paths::pki::CA_CERT, 0o644, material.cluster.trusted())];
        if role == Role::ControlPlane {
            files.extend([
                pki_file(paths::pki::CA_KEY, 0o600, &material.cluster.key_pem),
                pki_file(paths::pki::SIGNING_CA_CERT, 0o644, &material.cluster.cert_pem),
                pki_file(paths::pki::FRONT_PROXY_CA_CERT, 0o644, material.front_proxy.trusted()),
                pki_file(paths::pki::ETCD_CA_CERT, 0o644, material.etcd.trusted()),
                pki_file(paths::pki::SA_KEY, 0o600, &material.sa_key),
                pki_file(paths::pki::SA_PUB, 0o644, &material.sa_pub),
                file(paths::ENCRYPTION_CONF.into(), 0o600, &material.encryption),
            ]);
        }
        files
    }
}

fn file(path: PathBuf, mode: u32, content: impl AsRef<[u8]>) -> File {
    File { path, mode, content: content.as_ref().to_vec() }
}

fn pki_file(name: &str, mode: u32, content: impl AsRef<[u8]>) -> File {
    file(Path::new(paths::PKI).join(name), mode, content)
}

#[cfg(test)]
mod tests;
