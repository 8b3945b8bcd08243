//! Errors that say what was attempted.

use std::fmt::Display;
use std::io;

use kcl_driver_api::{Error, ErrorKind, Result};

/// Turns an error of the system into a driver's error that says what was attempted.
pub trait Context<T> {
    /// Adds `what` to the error; it completes "could not …".
    fn with_context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Context<T> for std::result::Result<T, E> {
    fn with_context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|cause| {
            let io = (&cause as &dyn std::any::Any).downcast_ref::<io::Error>().map(io::Error::kind);
            let message = format!("could not {}: {cause}", what());
            let error = match io {
                Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                    Error::new(ErrorKind::DiskFull, message).hint("free some disk space there")
                }
                _ => Error::new(ErrorKind::Host, message),
            };
            error.source(cause)
        })
    }
}
