//! Connections to libvirt, its errors, and which libvirt it is.

use std::ops::Deref;

use kcl_driver_api::{Error, ErrorKind, Result};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::network::Network;

/// Whose machines a libvirt runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The host's: there are bridges.
    System,
    /// A user's: nothing takes root.
    Session,
}

/// A libvirt of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uri {
    text: String,
    pub scope: Scope,
}

impl Uri {
    /// From a connection URI (libvirt's "Connection URIs"): of QEMU, on this host.
    pub(crate) fn parse(text: &str) -> Result<Uri> {
        let (plain, _) = text.split_once('?').unwrap_or((text, ""));
        let scope = match plain {
            "qemu:///system" | "qemu+unix:///system" => Scope::System,
            "qemu:///session" | "qemu+unix:///session" => Scope::Session,
            _ => {
                let message = format!("{text:?} is no libvirt that kcl can use: it must run QEMU, on this computer");
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

/// A connection, which ends with this.
pub(crate) struct Connection(Connect);

impl Connection {
    /// Connects. A session's daemon is started by libvirt itself where it does not run.
    pub(crate) fn open(uri: &Uri) -> Result<Connection> {
        // Or the library writes each error on standard error too.
        virt::error::clear_error_callback();
        let connect = Connect::open(Some(&uri.text)).told(|| format!("be reached at {uri}"))?;
        Ok(Connection(connect))
    }

    /// The domain of a name.
    pub(crate) fn domain(&self, name: &str) -> Result<Option<Domain>> {
        match Domain::lookup_by_name(&self.0, name) {
            Err(error) if error.code() == ErrorNumber::NoDomain => Ok(None),
            result => result.map(Some).told(|| format!("look for the domain {name}")),
        }
    }

    /// The network of a name.
    pub(crate) fn network(&self, name: &str) -> Result<Option<Network>> {
        match Network::lookup_by_name(&self.0, name) {
            Err(error) if error.code() == ErrorNumber::NoNetwork => Ok(None),
            result => result.map(Some).told(|| format!("look for the network {name}")),
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
        // What cannot be closed is gone.
        let _ = self.0.close();
    }
}

/// Turns an error of libvirt into one of the driver that says what was being done.
pub(crate) trait Told<T> {
    /// `what` completes "libvirt could not …".
    fn told(self, what: impl FnOnce() -> String) -> Result<T>;
    /// The same, where it is no error that what was to be ended does not run.
    fn unless_ended(self, what: impl FnOnce() -> String) -> Result<()>;
}

impl<T> Told<T> for std::result::Result<T, virt::error::Error> {
    fn told(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::engine(format!("libvirt could not {}: {}", what(), error.message())))
    }

    fn unless_ended(self, what: impl FnOnce() -> String) -> Result<()> {
        match self {
            Err(error) if error.code() == ErrorNumber::OperationInvalid => Ok(()),
            result => result.map(drop).told(what),
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
