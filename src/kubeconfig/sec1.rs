//! The form of private keys in a kubeconfig: SEC 1 (RFC 5915), as kubeadm writes it. Java clients take a key of the other
//! form, PKCS #8, for one of RSA.

/// The first bytes of a key of the curve P-256 in PKCS #8 (RFC 5958), before its 32 bytes.
const PKCS8: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
    0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
];
/// The bytes between the private key and the 65 bytes of the public one, in both forms.
const PUBLIC: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];
/// The first bytes of the same key in SEC 1, before its 32 bytes.
const SEC1: [u8; 7] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
/// The name of the curve, which follows.
const CURVE: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Returns a key as kcl makes them in SEC 1; others are returned as they are.
pub(super) fn of(key_pem: &str) -> String {
    let converted = pem::parse(key_pem).ok().and_then(|key| {
        let (private, rest) = key.contents().strip_prefix(&PKCS8)?.split_first_chunk::<32>()?;
        let public: &[u8; 65] = rest.strip_prefix(&PUBLIC)?.try_into().ok()?;
        Some(pem::Pem::new("EC PRIVATE KEY", [&SEC1[..], private, &CURVE, &PUBLIC, public].concat()))
    });
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    converted.map_or_else(|| key_pem.to_owned(), |key| pem::encode_config(&key, unix))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn a_key_is_the_same_in_the_other_form() {
        let key = rcgen::KeyPair::generate().unwrap();
        let text = of(&key.serialize_pem());
        assert!(text.starts_with("-----BEGIN EC PRIVATE KEY-----\n") && text.is_ascii() && !text.contains('\r'));
        let read = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap();
        let signing = rustls::crypto::ring::sign::any_supported_type(&read).unwrap();
        let public = signing.public_key().unwrap();
        assert_eq!(public.as_ref(), rcgen::PublicKeyData::subject_public_key_info(&key));
    }

    #[test]
    fn what_is_no_such_key_stays_as_it_is() {
        for text in ["", "KEY", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(of(text), text);
        }
    }
}
