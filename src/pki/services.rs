//! The CA of servers that are not part of Kubernetes, such as an ingress: the one that users make their systems trust. It is
//! believed for names of this computer and for those that addons were given, and for nothing else; its key is in kcl's home
//! and on no node.

use std::path::Path;

use kcl_files::write;
use rcgen::KeyPair;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;

use crate::pki::authority::{Authority, KeyedCertificate, constrained};

/// The file's name without its extension.
pub(super) const NAME: &str = "services-ca";

/// The domains that belong to nobody (RFC 6761, RFC 8375, ICANN's private use), and those of a cluster's Services.
const DOMAINS: [&str; 6] = ["localhost", "internal", "test", "home.arpa", "svc", "cluster.local"];

/// The CA and the domains that it may vouch for.
pub(super) struct Services {
    pub authority: Authority,
    domains: Vec<String>,
}

impl Services {
    /// Opens the CA in `dir`, which is made if it is missing, as in clusters of an older kcl.
    pub(super) fn open(dir: &Path, cluster: &str, now: jiff::Timestamp) -> Result<Self, String> {
        let pair = match KeyedCertificate::read(dir, NAME) {
            Some(pair) => pair,
            None => {
                let domains = DOMAINS.map(str::to_owned);
                let key = KeyPair::generate().map_err(|error| error.to_string())?;
                let pair = constrained(key, &format!("{cluster}-{NAME}"), &domains, now);
                keep(dir, pair.map_err(|error| error.to_string())?)?
            }
        };
        let authority = Authority::new(pair.cert_pem, pair.key_pem).map_err(|problem| format!("{NAME}: {problem}"))?;
        let domains = domains(&authority.cert_pem).ok_or_else(|| format!("{NAME}.crt: it names no domains"))?;
        let mut found = Services { authority, domains };
        if found.authority.is_due(now) {
            found.issue(dir, now)?;
        }
        Ok(found)
    }

    /// Issues the CA again, with the same key, if it does not vouch for all of these names yet.
    pub(super) fn cover(&mut self, dir: &Path, names: &[String], now: jiff::Timestamp) -> Result<(), String> {
        let bare = |name: &String| name.strip_prefix("*.").unwrap_or(name).to_ascii_lowercase();
        let new: Vec<String> = names.iter().map(bare).filter(|name| !self.covers(name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.domains.extend(new);
        self.issue(dir, now)
    }

    fn covers(&self, name: &str) -> bool {
        let below = |domain: &String| {
            name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.domains.iter().any(below)
    }

    fn issue(&mut self, dir: &Path, now: jiff::Timestamp) -> Result<(), String> {
        let issue = || {
            let key = KeyPair::from_pem(&self.authority.key_pem)?;
            constrained(key, &self.authority.common_name, &self.domains, now)
        };
        let pair = keep(dir, issue().map_err(|error: rcgen::Error| error.to_string())?)?;
        self.authority = Authority::new(pair.cert_pem, pair.key_pem)?;
        Ok(())
    }

    /// Returns a number of the key, the same for every certificate of it: eight hexadecimal digits.
    pub(super) fn number(&self) -> String {
        let key = KeyPair::from_pem(&self.authority.key_pem).map(|key| key.public_key_pem()).unwrap_or_default();
        base16ct::lower::encode_string(&Sha256::digest(key)[..4])
    }
}

fn keep(dir: &Path, pair: KeyedCertificate) -> Result<KeyedCertificate, String> {
    for (ending, content) in [("key", &pair.key_pem), ("crt", &pair.cert_pem)] {
        let path = dir.join(format!("{NAME}.{ending}"));
        write(&path, content.as_bytes(), 0o600).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(pair)
}

/// Returns the domains that a certificate of a CA permits.
fn domains(cert_pem: &str) -> Option<Vec<String>> {
    let pem = pem::parse(cert_pem).ok()?;
    let (_, cert) = x509_parser::parse_x509_certificate(pem.contents()).ok()?;
    let constraints = cert.name_constraints().ok()??.value;
    let names = constraints.permitted_subtrees.iter().flatten().filter_map(|subtree| match &subtree.base {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Some(names.collect()).filter(|names: &Vec<String>| !names.is_empty())
}
