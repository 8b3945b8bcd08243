//! [`Enabling`]: the values that reconciling addons works with.

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

use super::chart::Helm;
use super::material::Material;
use super::render::Facts;
use super::selection::Selected;
use crate::kubernetes::{Access, Patience};
use crate::progress::Progress;

/// The context of enabling addons.
pub struct Enabling<'a> {
    /// The client of the cluster's API.
    pub client: &'a Client,
    /// The cluster's API, for Helm.
    pub access: &'a Access,
    /// The wanted addons, each after those that it needs.
    pub selected: &'a [Selected],
    /// The facts for templates.
    pub facts: &'a Facts,
    /// The artifacts that addons are made from.
    pub material: &'a Material,
    /// Helm, for addons with a chart.
    pub helm: &'a Helm,
    /// The receiver of progress.
    pub progress: &'a Progress,
    /// The end of the time to wait.
    pub until: Instant,
}

impl Enabling<'_> {
    /// Returns the patience with objects that cannot be applied yet.
    pub(super) fn patience(&self) -> Patience<'_> {
        Patience { progress: self.progress, until: self.until }
    }

    /// Returns the time that is left.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
