//! Connects to libvirt, and converts its errors.

use std::ops::Deref;

use kcl_driver_api::{Error, ErrorKind, Result};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::network::Network;

/// The owner of a libvirt's machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The host, on which libvirt can make bridges.
    System,
    /// A user, without root.
    Session,
}

/// A libvirt of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uri {
    text: String,
    pub scope: Scope,
}

impl Uri {
    /// Parses a connection URI (libvirt's "Connection URIs") of QEMU on this host.
    pub(crate) fn parse(text: &str) -> Result<Uri> {
        let (plain, _) = text.split_once('?').unwrap_or((text, ""));
        let scope = match plain {
            "qemu:///system" | "qemu+unix:///system" => Scope::System,
            "qemu:///session" | "qemu+unix:///session" => Scope::Session,
            _ => {
                let message = format!("{text:?} is not a libvirt that kcl can use: it must run QEMU on this computer");
                let hint = "set KCL_LIBVIRT_URI or LIBVIRT_DEFAULT_URI to qemu:///system or qemu:///session";
                return Err(Error::new(ErrorKind::State, message).hint(hint));
            }
        };
        Ok(Uri { text: text.to_owned(), scope })
    }
}

impl std::fmt::Display for Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A connection that is closed when it is dropped.
pub(crate) struct Connection(Connect);

impl Connection {
    /// Connects to libvirt. libvirt itself starts a session's daemon that is not running.
    pub(crate) fn open(uri: &Uri) -> Result<Connection> {
        // Otherwise the library writes each error on standard error, too.
        virt::error::clear_error_callback();
        let connect = Connect::open(Some(&uri.text)).with_context(|| format!("be reached at {uri}"))?;
        Ok(Connection(connect))
    }

    /// Returns the domain with that name, if there is one.
    pub(crate) fn domain(&self, name: &str) -> Result<Option<Domain>> {
        match Domain::lookup_by_name(&self.0, name) {
            Err(error) if error.code() == ErrorNumber::NoDomain => Ok(None),
            result => result.map(Some).with_context(|| format!("look for the domain {name}")),
        }
    }

    /// Returns the network with that name, if there is one.
    pub(crate) fn network(&self, name: &str) -> Result<Option<Network>> {
        match Network::lookup_by_name(&self.0, name) {
            Err(error) if error.code() == ErrorNumber::NoNetwork => Ok(None),
            result => result.map(Some).with_context(|| format!("look for the network {name}")),
        }
    }
}

impl Deref for Connection {
    type Target = Connect;

    fn deref(&self) -> &Connect {
        &self.0
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A connection that cannot be closed is gone.
        let _ = self.0.close();
    }
}

/// Turns an error of libvirt into a driver's error that says what was attempted.
pub(crate) trait LibvirtContext<T> {
    /// Adds `what` to the error; it completes "libvirt could not …".
    fn with_context(self, what: impl FnOnce() -> String) -> Result<T>;
    /// Does the same, but succeeds if what was to be ended is not running.
    fn unless_ended(self, what: impl FnOnce() -> String) -> Result<()>;
}

impl<T> LibvirtContext<T> for std::result::Result<T, virt::error::Error> {
    fn with_context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::engine(format!("libvirt could not {}: {}", what(), error.message())))
    }

    fn unless_ended(self, what: impl FnOnce() -> String) -> Result<()> {
        match self {
            Err(error) if error.code() == ErrorNumber::OperationInvalid => Ok(()),
            result => result.map(drop).with_context(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_qemu_on_this_computer() {
        assert_eq!(Uri::parse("qemu:///session").unwrap().scope, Scope::Session);
        assert_eq!(Uri::parse("qemu+unix:///system?socket=/a/b").unwrap().scope, Scope::System);
        for text in ["", "qemu+ssh://host/system", "lxc:///system", "qemu:///embed", "qemu:///systems"] {
            assert_eq!(Uri::parse(text).unwrap_err().kind, ErrorKind::State, "{text}");
        }
    }
}
