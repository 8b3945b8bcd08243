//! Reconciles the addons of a running cluster.

use futures::future::try_join_all;
use kube::Client;
use kube::api::DynamicObject;
use tokio::time::Instant;

use super::apply::apply;
use super::material::Material;
use super::record::{Record, State, records};
use super::render::{Facts, objects};
use super::selection::Selected;
use super::{ready, remove};
use crate::error::{Error, Family, Result};
use crate::kubernetes::Patience;
use crate::progress::Progress;

/// The context of enabling addons.
pub struct Enabling<'a> {
    /// The client of the cluster's API.
    pub client: &'a Client,
    /// The wanted addons, each after those that it needs.
    pub selected: &'a [Selected],
    /// The facts for templates.
    pub facts: &'a Facts,
    /// The artifacts that addons are made from.
    pub material: &'a Material,
    /// The receiver of progress.
    pub progress: &'a Progress,
    /// The end of the time to wait.
    pub until: Instant,
}

impl Enabling<'_> {
    /// Applies what has changed since the last time, and removes addons that are no longer wanted.
    pub async fn catch_up(&self) -> Result<()> {
        let before = records(self.client).await?;
        for selected in self.selected {
            let name = &selected.addon.name;
            self.apply(selected, before.get(name), false).await?;
        }
        let wanted = |name: &String| self.selected.iter().any(|one| one.addon.name == *name);
        let gone = before.values().filter(|record| !wanted(&record.addon) && record.state != State::Kept);
        try_join_all(gone.map(|record| remove(self.client, record, false))).await?;
        Ok(())
    }

    /// Applies the addons called `names`, even if nothing has changed, and waits until they are ready.
    pub async fn enable(&self, names: &[String]) -> Result<()> {
        let before = records(self.client).await?;
        let these: Vec<&Selected> = self.selected.iter().filter(|one| names.contains(&one.addon.name)).collect();
        for selected in &these {
            self.apply(selected, before.get(&selected.addon.name), true).await?;
        }
        self.ready(&these).await
    }

    /// Waits until the addons that the user enabled are ready; the default ones are not waited for.
    pub async fn asked_are_ready(&self) -> Result<()> {
        self.ready(&self.selected.iter().filter(|one| one.asked).collect::<Vec<_>>()).await
    }

    async fn ready(&self, these: &[&Selected]) -> Result<()> {
        for selected in these {
            let addon = &selected.addon;
            let step = self.progress.step("addons", format!("Waiting for {}", addon.name));
            let awaited = ready::awaited(addon, &self.objects(selected)?);
            ready::wait(self.client, addon, &awaited, |message| step.message(message)).await?;
            step.finish(format!("{} {} is ready", addon.name, addon.description.version));
        }
        Ok(())
    }

    async fn apply(&self, selected: &Selected, before: Option<&Record>, always: bool) -> Result<()> {
        let patience = Patience { progress: self.progress, until: self.until };
        apply(self.client, selected, &self.objects(selected)?, before, always, patience).await
    }

    fn objects(&self, selected: &Selected) -> Result<Vec<DynamicObject>> {
        objects(selected, self.facts, self.material)
    }

    /// Makes the error for a wait that timed out: it says which of these addons are not ready, and why.
    pub async fn timed_out(&self, names: &[String], seconds: u64) -> Error {
        let mut late = Vec::new();
        for selected in self.selected.iter().filter(|one| names.contains(&one.addon.name)) {
            let awaited = self.objects(selected).map(|objects| ready::awaited(&selected.addon, &objects));
            if !ready::is_ready(self.client, &awaited.unwrap_or_default()).await {
                late.push(ready::why(self.client, &selected.addon).await);
            }
        }
        let reasons: Vec<String> = late.iter().map(|error| format!(": {}", error.message)).collect();
        let message = format!("not ready within {seconds} s (--wait-timeout){}", reasons.join("\n"));
        let hints = late.into_iter().flat_map(|error| error.hints);
        hints.fold(Error::new(Family::Timeout, message), Error::hint)
    }
}
