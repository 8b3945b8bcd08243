//! Reads the images of an engine, to copy them elsewhere.

use std::path::PathBuf;

use bollard::errors::Error as BollardError;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use kcl_driver_api::Result;

use crate::engine::{Engine, EngineContext as _, status};

/// The images of the engine that the docker command would use.
pub struct Library {
    engine: Engine,
}

/// An image of an engine.
#[derive(Clone, Debug)]
pub struct Found {
    /// The image's id: `sha256:…`.
    pub id: String,
    /// The engine's data directory, if it is on this host.
    pub root: Option<PathBuf>,
}

impl Library {
    /// Finds the engine and connects to it.
    ///
    /// # Errors
    /// `Host` if there is no engine, or this user may not use it.
    pub async fn connect() -> Result<Self> {
        Ok(Library { engine: Engine::connect(None).await? })
    }

    /// Returns the engine's name, `Docker` or `Podman`.
    pub fn name(&self) -> &str {
        &self.engine.facts.name
    }

    /// Returns the engine's address.
    pub fn address(&self) -> String {
        self.engine.endpoint.address.to_string()
    }

    /// Returns the image with that name, if there is one.
    ///
    /// # Errors
    /// `Engine` if the engine cannot be asked.
    pub async fn find(&self, name: &str) -> Result<Option<Found>> {
        match self.engine.docker.inspect_image(name).await {
            Err(error) if status(&error) == Some(404) => Ok(None),
            found => {
                let found = found.with_context(|| format!("look for the image {name}"))?;
                let root = self.engine.facts.local.then(|| PathBuf::from(&self.engine.facts.root));
                Ok(Some(Found { id: found.id.unwrap_or_default(), root }))
            }
        }
    }

    /// Streams an image as the archive of `docker save`.
    pub fn export(&self, name: &str) -> BoxStream<'static, std::result::Result<Bytes, BollardError>> {
        let (docker, name) = (self.engine.docker.clone(), name.to_owned());
        futures::stream::once(async move { docker.export_image(&name).boxed() }).flatten().boxed()
    }
}
