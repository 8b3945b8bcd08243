//! The check of a certificate against its specification.

use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

use crate::pki::authority::{KeyedCertificate, is_due};
use crate::pki::leaf::Leaf;

/// The reasons of certificates that nobody believes.
pub(super) const AHEAD: &str = "it is not valid yet: the clock was ahead when it was issued";
pub(super) const ENDED: &str = "it has ended";

/// Returns the reason why `kept` has to be issued again, or nothing if it is valid. Pure.
pub(super) fn needs_renewal(
    kept: &KeyedCertificate,
    leaf: &Leaf,
    ca_pem: &str,
    now: jiff::Timestamp,
) -> Option<&'static str> {
    let (Ok(cert), Ok(ca)) = (pem::parse(&kept.cert_pem), pem::parse(ca_pem)) else {
        return Some("it cannot be read");
    };
    let parse = x509_parser::parse_x509_certificate;
    let (Ok((_, cert)), Ok((_, ca))) = (parse(cert.contents()), parse(ca.contents())) else {
        return Some("it cannot be read");
    };
    let Ok(key) = rcgen::KeyPair::from_pem(&kept.key_pem) else {
        return Some("its key cannot be read");
    };
    if *cert.public_key().subject_public_key.data != *rcgen::PublicKeyData::der_bytes(&key) {
        return Some("its key is another one's");
    }
    if cert.verify_signature(Some(ca.public_key())).is_err() || cert.issuer() != ca.subject() {
        return Some("it is not signed by the present CA");
    }
    if !same_subject(cert.subject(), leaf) {
        return Some("its subject is not as wanted");
    }
    if !same_usages(&cert, leaf) {
        return Some("its usages are not as wanted");
    }
    if !same_names(&cert, leaf) {
        return Some("its names or addresses are not as wanted");
    }
    let (begin, end) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
    if begin > now.as_second() {
        return Some(AHEAD);
    }
    if end <= now.as_second() {
        return Some(ENDED);
    }
    is_due(begin, end, now).then_some("less than a third of its life is left")
}

fn same_subject(subject: &X509Name<'_>, leaf: &Leaf) -> bool {
    let names: Vec<_> = subject.iter_common_name().map(|name| name.as_str().ok()).collect();
    let organizations: Vec<_> = subject.iter_organization().map(|name| name.as_str().ok()).collect();
    names == [Some(leaf.common_name.as_str())]
        && organizations == leaf.organization.iter().map(|name| Some(*name)).collect::<Vec<_>>()
}

fn same_usages(cert: &X509Certificate<'_>, leaf: &Leaf) -> bool {
    match cert.extended_key_usage() {
        Ok(Some(usage)) => (usage.value.server_auth, usage.value.client_auth) == (leaf.server, leaf.client),
        _ => false,
    }
}

fn same_names(cert: &X509Certificate<'_>, leaf: &Leaf) -> bool {
    let Ok(extension) = cert.subject_alternative_name() else {
        return false;
    };
    let mut names = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.insert((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(bytes), _) => addresses.insert(IpAddr::from(bytes)),
                (_, Ok(bytes)) => addresses.insert(IpAddr::from(bytes)),
                _ => return false,
            },
            _ => return false,
        };
    }
    names == leaf.names.iter().cloned().collect() && addresses == leaf.addresses.iter().copied().collect()
}
