//! What the console asks of whoever runs addons: kcl itself, which the crate does not know.

use async_trait::async_trait;
use serde::Serialize;

/// An addon as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addon {
    /// Its name.
    pub name: String,
    /// What it is for, in a line.
    pub title: String,
    /// The version of its software.
    pub version: String,
    /// Whether it is on.
    pub enabled: bool,
    /// The names of the addons that it needs.
    pub needs: Vec<String>,
}

/// The addons of the cluster. Errors are texts for the user.
#[async_trait]
pub trait Addons: Send + Sync {
    /// All there are, by name.
    async fn list(&self) -> Result<Vec<Addon>, String>;

    /// Switches one on, and returns once it is ready.
    async fn enable(&self, name: &str) -> Result<(), String>;

    /// Switches one off, and returns once what it made is gone.
    async fn disable(&self, name: &str) -> Result<(), String>;
}
