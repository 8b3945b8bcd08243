//! Helpers that the unit tests share.

use kcl_node_spec::Addresses;

use crate::objects::Key;

/// Returns the key of a Service in the namespace `default`.
pub(crate) fn key(name: &str) -> Key {
    Key { namespace: "default".to_owned(), name: name.to_owned() }
}

/// Returns an address of the network 10.0.0.0/24.
pub(crate) fn ip(last: u8) -> Addresses {
    [10, 0, 0, last].into()
}
