//! The context that every part of the driver shares.

use std::path::PathBuf;

use kcl_driver_api::Result;
use tokio::sync::{Mutex, OnceCell};

use crate::engine::Engine;
use crate::names::Names;

/// The settings that every part of the driver uses, and the engine.
pub(crate) struct Context {
    home: PathBuf,
    host: Option<String>,
    engine: OnceCell<Engine>,
    /// Held while an image is loaded.
    pub loading: Mutex<()>,
}

impl Context {
    /// Returns a context that has not connected yet.
    pub(crate) fn new(home: PathBuf, host: Option<String>) -> Self {
        Context { home, host, engine: OnceCell::new(), loading: Mutex::default() }
    }

    /// Returns the engine, which is connected to once.
    pub(crate) async fn engine(&self) -> Result<&Engine> {
        self.engine.get_or_try_init(|| Engine::connect(self.host.as_deref())).await
    }

    /// Returns the names of things on the engine.
    pub(crate) async fn names(&self) -> Result<Names> {
        Ok(Names::new(&self.home, self.engine().await?.facts.local))
    }
}
