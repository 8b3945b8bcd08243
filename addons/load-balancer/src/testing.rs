//! Helpers that the unit tests share.

use std::net::Ipv4Addr;

use crate::objects::Key;

/// Returns the key of a Service in the namespace `default`.
pub fn key(name: &str) -> Key {
    Key { namespace: "default".to_owned(), name: name.to_owned() }
}

/// Returns an address of the network 10.0.0.0/24.
pub fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}
