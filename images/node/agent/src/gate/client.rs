//! TLS with the kubelet's identity, taken from its kubeconfig.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files;

/// The TLS client for the API servers and for the components of this node.
pub(crate) struct Client {
    /// The certificate, the key and the CA.
    config: RwLock<Arc<ClientConfig>>,
    /// The server name to verify: every serving certificate of a control plane names the loopback address, where
    /// clients connect.
    pub name: ServerName<'static>,
}

impl Client {
    /// Reads a kubeconfig that kcl wrote: JSON, with the certificates in it.
    pub(crate) fn from_kubeconfig(path: &Path) -> Result<Client> {
        let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        Ok(Client { config: RwLock::new(config(path)?), name })
    }

    /// Returns the certificate, the key and the CA as they are now.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads a kubeconfig again. On an error the client stays as it was.
    pub(crate) fn read_again(&self, path: &Path) -> Result<()> {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config(path)?;
        Ok(())
    }
}

fn config(path: &Path) -> Result<Arc<ClientConfig>> {
    let wrong = |what: String| Error::Invalid(format!("{}: {what}", path.display()));
    let document: Value = serde_json::from_str(&files::read(path)?).map_err(|error| wrong(error.to_string()))?;
    let pem = |pointer: &str| -> Result<Vec<u8>> {
        let text = document.pointer(pointer).and_then(Value::as_str);
        let text = text.ok_or_else(|| wrong(format!("{pointer} is missing: a base64 text of a PEM file is due")))?;
        STANDARD.decode(text).map_err(|error| wrong(format!("{pointer} is not base64: {error}")))
    };
    let (user, cluster) = ("/users/0/user", "/clusters/0/cluster");
    let authority = pem(&format!("{cluster}/certificate-authority-data"))?;
    let certificate = pem(&format!("{user}/client-certificate-data"))?;
    tls(&authority, &certificate, &pem(&format!("{user}/client-key-data"))?).map_err(wrong)
}

/// Makes a TLS client of PEM files: the CAs that it trusts, its certificate and its key.
pub(crate) fn tls(authority: &[u8], certificate: &[u8], key: &[u8]) -> std::result::Result<Arc<ClientConfig>, String> {
    let certificates = |what: &str, pem: &[u8]| -> std::result::Result<Vec<CertificateDer<'static>>, String> {
        let read = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<_, _>>();
        read.map_err(|error| format!("{what} is not a certificate: {error}"))
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates("the CA", authority)? {
        roots.add(authority).map_err(|error| format!("the CA cannot be used: {error}"))?;
    }
    let private =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key is not a private key: {error}"))?;
    let own = certificates("the client's certificate", certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(own, private))
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_without_a_key_is_told_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubelet.conf");
        std::fs::write(&path, r#"{"clusters": [{"cluster": {"certificate-authority-data": "!"}}]}"#).unwrap();
        let error = Client::from_kubeconfig(&path).err().unwrap().to_string();
        assert!(error.contains("kubelet.conf"), "{error}");
        assert!(error.contains("/clusters/0/cluster/certificate-authority-data is not base64"), "{error}");
    }
}
