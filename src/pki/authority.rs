//! CAs that issue certificates, and certificates with their keys in files.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use time::OffsetDateTime;

use crate::pki::leaf::Leaf;

/// The life of a CA: ten years, as in kubeadm.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// The time by which certificates are valid earlier, for clocks that are late.
pub(super) const BACKDATE: Duration = Duration::from_secs(3600);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(super) struct KeyedCertificate {
    pub cert_pem: String,
    pub key_pem: String,
}

/// A CA with its key.
pub(super) struct Authority {
    pub cert_pem: String,
    pub key_pem: String,
    pub common_name: String,
    /// The certificate of this CA that the one before it has signed, and those before, or nothing: who trusts only an earlier
    /// one believes this CA's certificates by them.
    pub cross_pem: String,
    /// The certificate of the CA before, while it is still trusted, or nothing.
    pub previous_pem: String,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Returns the CA of a certificate and a key that belong together.
    pub(super) fn new(cert_pem: String, key_pem: String) -> Result<Self, String> {
        let key = KeyPair::from_pem(&key_pem).map_err(|error| format!("the key cannot be read: {error}"))?;
        let pem = pem::parse(&cert_pem).map_err(|error| format!("the certificate cannot be read: {error}"))?;
        let (_, cert) = x509_parser::parse_x509_certificate(pem.contents())
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        if *cert.public_key().subject_public_key.data != *rcgen::PublicKeyData::der_bytes(&key) {
            return Err("the key is not the certificate's".to_owned());
        }
        let [not_before, not_after] =
            [cert.validity().not_before, cert.validity().not_after].map(|at| at.to_datetime());
        let common_name = cert.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let common_name = common_name.unwrap_or_default().to_owned();
        let issuer = Issuer::from_ca_cert_pem(&cert_pem, key).map_err(|error| error.to_string())?;
        let (cross_pem, previous_pem) = Default::default();
        Ok(Authority { cert_pem, key_pem, common_name, cross_pem, previous_pem, not_before, not_after, issuer })
    }

    /// Returns the certificates to trust.
    pub(super) fn trusted(&self) -> String {
        format!("{}{}", self.cert_pem, self.previous_pem)
    }

    /// Returns a certificate that this CA has issued, with what others need to believe it.
    pub(super) fn chain(&self, cert_pem: &str) -> String {
        format!("{cert_pem}{}", self.cross_pem)
    }

    /// Returns true if it has to be issued again: the clock was ahead when it was created, or less than a third of its life
    /// is left.
    pub(super) fn is_due(&self, now: jiff::Timestamp) -> bool {
        let [begin, end] = [self.not_before, self.not_after].map(OffsetDateTime::unix_timestamp);
        begin > now.as_second() || is_due(begin, end, now)
    }

    /// Returns the same CA, by name and key, valid from now on. What it has signed stays valid.
    pub(super) fn issued_again(&self, now: jiff::Timestamp) -> Result<Authority, String> {
        let issue = || self_signed_by(KeyPair::from_pem(&self.key_pem)?, params(&self.common_name, CA_LIFE, now)?);
        let KeyedCertificate { cert_pem, .. } = issue().map_err(|error: rcgen::Error| error.to_string())?;
        let (cross_pem, previous_pem) = (self.cross_pem.clone(), self.previous_pem.clone());
        Ok(Authority { cross_pem, previous_pem, ..Authority::new(cert_pem, self.key_pem.clone())? })
    }

    /// Creates the CA that follows this one, with another key and name. This one signs for it, so that it is believed by
    /// whoever trusts this one only.
    pub(super) fn successor(&self, now: jiff::Timestamp) -> Result<Authority, String> {
        let (name, number) = match self.common_name.rsplit_once('#') {
            Some((name, number)) => (name, number.parse().unwrap_or(1)),
            None => (self.common_name.as_str(), 1_u64),
        };
        let common_name = format!("{name}#{}", number + 1);
        let issue = || {
            let root = self_signed(&common_name, now)?;
            let key = KeyPair::from_pem(&root.key_pem)?;
            let mut params = ca_params(params(&common_name, CA_LIFE, now)?);
            params.not_after = params.not_after.min(self.not_after);
            params.use_authority_key_identifier_extension = true;
            Ok((root, params.signed_by(&key, &self.issuer)?.pem()))
        };
        let (root, cross_pem) = issue().map_err(|error: rcgen::Error| error.to_string())?;
        let cross_pem = format!("{cross_pem}{}", self.cross_pem);
        Ok(Authority { cross_pem, ..Authority::new(root.cert_pem, root.key_pem)? })
    }

    /// Issues a certificate for `leaf` that is valid for `life`, or as long as the CA.
    pub(super) fn issue(&self, leaf: &Leaf, life: Duration, now: jiff::Timestamp) -> Result<KeyedCertificate, String> {
        let issue = || -> Result<_, rcgen::Error> {
            let key = KeyPair::generate()?;
            let mut params = params(&leaf.common_name, life, now)?;
            params.not_after = params.not_after.min(self.not_after);
            if let Some(organization) = leaf.organization {
                params.distinguished_name.push(DnType::OrganizationName, organization);
            }
            for name in &leaf.names {
                params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
            }
            params.subject_alt_names.extend(leaf.addresses.iter().map(|address| SanType::IpAddress(*address)));
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            let usages = [
                (leaf.server, ExtendedKeyUsagePurpose::ServerAuth),
                (leaf.client, ExtendedKeyUsagePurpose::ClientAuth),
            ];
            params.extended_key_usages =
                usages.into_iter().filter(|(wanted, _)| *wanted).map(|(_, usage)| usage).collect();
            params.is_ca = IsCa::ExplicitNoCa;
            params.use_authority_key_identifier_extension = true;
            let cert = params.signed_by(&key, &self.issuer)?;
            Ok(KeyedCertificate { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
        };
        issue().map_err(|error| error.to_string())
    }
}

/// Creates a CA.
pub(super) fn self_signed(common_name: &str, now: jiff::Timestamp) -> Result<KeyedCertificate, rcgen::Error> {
    self_signed_by(KeyPair::generate()?, params(common_name, CA_LIFE, now)?)
}

/// Creates a CA of servers that is believed for these domains and what is below them, and for no address.
pub(super) fn constrained(
    key: KeyPair,
    common_name: &str,
    domains: &[String],
    now: jiff::Timestamp,
) -> Result<KeyedCertificate, rcgen::Error> {
    let mut params = params(common_name, CA_LIFE, now)?;
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: domains.iter().map(|domain| GeneralSubtree::DnsName(domain.clone())).collect(),
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    self_signed_by(key, params)
}

fn self_signed_by(key: KeyPair, params: CertificateParams) -> Result<KeyedCertificate, rcgen::Error> {
    let cert = ca_params(params).self_signed(&key)?;
    Ok(KeyedCertificate { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
}

fn ca_params(mut params: CertificateParams) -> CertificateParams {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// Returns true if less than a third of the life between these times is left. They are seconds; certificates begin earlier
/// than they were issued.
pub(super) fn is_due(begin: i64, end: i64, now: jiff::Timestamp) -> bool {
    due(begin, end) < now.as_second()
}

/// Returns the time from which on a certificate has to be issued again.
pub(super) fn due(begin: i64, end: i64) -> i64 {
    let issued = begin.saturating_add(BACKDATE.as_secs() as i64);
    end - end.saturating_sub(issued).max(0) / 3
}

/// Returns the parameters that all certificates share.
fn params(common_name: &str, life: Duration, now: jiff::Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::from_unix_timestamp(now.as_second()).map_err(|_| rcgen::Error::Time)?;
    params.not_before = now - BACKDATE;
    params.not_after = now + life;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let mut serial = random::<16>()?;
    // Positive, and never of fewer bytes.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// Returns bytes from the operating system's generator.
pub(super) fn random<const N: usize>() -> Result<[u8; N], rcgen::Error> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| rcgen::Error::RingUnspecified)?;
    Ok(bytes)
}

impl KeyedCertificate {
    /// Reads the pair in `dir` under `name`; returns nothing if a part of it is missing or unreadable.
    pub(super) fn read(dir: &Path, name: &str) -> Option<Self> {
        let read = |ending: &str| std::fs::read_to_string(dir.join(format!("{name}.{ending}"))).ok();
        Some(KeyedCertificate { cert_pem: read("crt")?, key_pem: read("key")? })
    }

    /// Writes the pair. It is not flushed to the disk: after a power cut a damaged one is issued again, and the start
    /// is faster.
    pub(super) fn write(&self, dir: &Path, name: &str) -> io::Result<()> {
        for (ending, content) in [("key", &self.key_pem), ("crt", &self.cert_pem)] {
            let path = dir.join(format!("{name}.{ending}"));
            kcl_files::user_dir(path.parent().unwrap_or(dir))?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            kcl_files::hand_over(&path)?;
            file.write_all(content.as_bytes())?;
        }
        Ok(())
    }
}
