//! The interface to the cluster's addons, which kcl implements: this crate does not know kcl.

use async_trait::async_trait;
use serde::Serialize;

/// An addon as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addon {
    /// The addon's name.
    pub name: String,
    /// The purpose of the addon, in one line.
    pub title: String,
    /// The version of the addon's software.
    pub version: String,
    /// True if the addon is enabled.
    pub enabled: bool,
    /// The names of the addons that this one needs.
    pub needs: Vec<String>,
}

/// The addons of the cluster. Errors are messages for the user.
#[async_trait]
pub trait Addons: Send + Sync {
    /// Returns all addons, by name.
    async fn list(&self) -> Result<Vec<Addon>, String>;

    /// Enables an addon and returns once it is ready.
    async fn enable(&self, name: &str) -> Result<(), String>;

    /// Disables an addon and returns once everything that it created is gone.
    async fn disable(&self, name: &str) -> Result<(), String>;
}
