//! The certificates that a cluster has, as they are on this host.

use std::path::Path;

use jiff::Timestamp;

use crate::pki::authority::due;
use crate::pki::{NodeIdentity, Pki, leaf, rotation, services};

/// A certificate of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The name of the file without its extension: `apiserver`, `etcd/peer`, `ca`.
    pub name: String,
    /// The node that uses it, if it is of one.
    pub node: Option<String>,
    /// The subject, as in RFC 4514.
    pub subject: String,
    /// The subject of the CA that signed it.
    pub issuer: String,
    /// The time from which on it is valid.
    pub begins: Timestamp,
    /// The time at which it ends.
    pub ends: Timestamp,
    /// True for a CA.
    pub authority: bool,
}

/// The validity of a certificate at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is valid.
    Valid,
    /// It is valid, and has to be issued again: less than a third of its life is left.
    Due,
    /// It is not valid yet: the clock was ahead when it was issued.
    NotYetValid,
    /// It has ended.
    Ended,
}

impl Certificate {
    /// Returns the time from which on it has to be issued again.
    pub fn due(&self) -> Timestamp {
        Timestamp::from_second(due(self.begins.as_second(), self.ends.as_second())).unwrap_or(self.ends)
    }

    /// Returns the validity at a time.
    pub fn health(&self, now: Timestamp) -> Health {
        match () {
            () if self.begins > now => Health::NotYetValid,
            () if self.ends <= now => Health::Ended,
            () if self.due() <= now => Health::Due,
            () => Health::Valid,
        }
    }

    /// Returns true for a CA that signs no more.
    pub fn is_previous(&self) -> bool {
        self.name.starts_with(rotation::PREVIOUS)
    }

    /// Returns the name with that of its node.
    pub fn full_name(&self) -> String {
        match &self.node {
            Some(node) => format!("{node}/{}", self.name),
            None => self.name.clone(),
        }
    }

    fn read(dir: &Path, name: &str, node: Option<&str>) -> Option<Certificate> {
        let pem = pem::parse(std::fs::read(dir.join(format!("{name}.crt"))).ok()?).ok()?;
        let (_, cert) = x509_parser::parse_x509_certificate(pem.contents()).ok()?;
        let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        Some(Certificate {
            name: name.to_owned(),
            node: node.map(str::to_owned),
            subject: cert.subject().to_string(),
            issuer: cert.issuer().to_string(),
            begins: at(cert.validity().not_before)?,
            ends: at(cert.validity().not_after)?,
            authority: cert.is_ca(),
        })
    }
}

impl Pki {
    /// Returns the certificates that there are: the CAs, the user's, those of these nodes, and those of servers of addons.
    pub fn certificates(&self, nodes: &[NodeIdentity], cluster: &super::ClusterIdentity) -> Vec<Certificate> {
        let of = |name: &str| Certificate::read(&self.dir, name, None);
        let names = self.material.authorities().map(|(name, _)| name);
        let mut found: Vec<Certificate> = names.into_iter().chain([services::NAME]).filter_map(of).collect();
        let before = names.map(rotation::previous);
        found.extend(before.iter().filter_map(|file| of(file.strip_suffix(".crt")?)));
        found.extend(of(leaf::admin().name));
        for node in nodes {
            let dir = self.dir.join("nodes").join(&node.name);
            let leaves = leaf::of_node(node, cluster);
            found.extend(leaves.iter().filter_map(|leaf| Certificate::read(&dir, leaf.name, Some(&node.name))));
        }
        let mut servers: Vec<_> = std::fs::read_dir(self.dir.join("servers")).into_iter().flatten().flatten().collect();
        servers.sort_by_key(std::fs::DirEntry::file_name);
        let server = |entry: &std::fs::DirEntry| {
            let name = format!("servers/{}", entry.file_name().to_string_lossy());
            let read = Certificate::read(&entry.path(), leaf::service(&[]).name, None)?;
            Some(Certificate { name, ..read })
        };
        found.extend(servers.iter().filter_map(server));
        found
    }
}
