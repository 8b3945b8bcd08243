//! TLS as the servers of a node speak it.

/// The cipher suites of TLS 1.2 that servers accept: forward secrecy, and authenticated encryption. Those of TLS 1.3 are all
/// sound and cannot be chosen. This is the common part of the lists of the CIS benchmark for API server and kubelet.
pub(super) const CIPHER_SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
];
