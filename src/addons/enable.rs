//! Reconciles the addons of a running cluster. An addon that fails does not keep the others from being applied.

use kube::api::DynamicObject;

use super::apply::apply;
use super::context::Enabling;
use super::definition::Ready;
use super::record::{Record, State, records};
use super::remove::remove;
use super::render::objects;
use super::selection::Selected;
use super::{ready, release, trouble};
use crate::error::{Error, Id, Result};

impl Enabling<'_> {
    /// Applies what has changed since the last time, and removes addons that are no longer wanted. Returns what failed.
    pub async fn catch_up(&self) -> Vec<Error> {
        let before = match records(self.client).await {
            Ok(before) => before,
            Err(error) => return vec![error],
        };
        let mut failed = Vec::new();
        for selected in self.selected {
            let name = &selected.addon.name;
            failed.extend(self.apply(selected, before.get(name), false).await.err());
        }
        let wanted = |name: &String| self.selected.iter().any(|one| one.addon.name == *name);
        for record in before.values().filter(|record| !wanted(&record.addon) && record.state != State::Kept) {
            failed.extend(self.remove(record, false).await.err());
        }
        failed
    }

    /// Removes an addon: its release, and what it made itself. Without `data`, users' data stays.
    pub async fn remove(&self, record: &Record, data: bool) -> Result<()> {
        let left = release::uninstall(self.client, self.helm, self.access, record).await?;
        remove(self.client, &left, data).await
    }

    /// Applies the addons called `names`, even if nothing has changed, and waits until they are ready. Returns what
    /// failed.
    pub async fn enable(&self, names: &[String]) -> Vec<Error> {
        let before = match records(self.client).await {
            Ok(before) => before,
            Err(error) => return vec![error],
        };
        let (mut applied, mut failed) = (Vec::new(), Vec::new());
        for selected in self.selected.iter().filter(|one| names.contains(&one.addon.name)) {
            match self.apply(selected, before.get(&selected.addon.name), true).await {
                Ok(()) => applied.push(selected),
                Err(error) => failed.push(error),
            }
        }
        failed.extend(self.ready(&applied).await);
        failed
    }

    /// Waits until the addons that the user enabled are ready; the default ones are not waited for. Returns what failed.
    pub async fn asked_are_ready(&self) -> Vec<Error> {
        self.ready(&self.selected.iter().filter(|one| one.asked).collect::<Vec<_>>()).await
    }

    async fn ready(&self, these: &[&Selected]) -> Vec<Error> {
        let mut failed = Vec::new();
        for selected in these {
            failed.extend(self.one_ready(selected).await.err());
        }
        failed
    }

    async fn one_ready(&self, selected: &Selected) -> Result<()> {
        let addon = &selected.addon;
        let step = self.progress.step("addons", format!("Waiting for {}", addon.name));
        let awaited = self.awaited(selected).await?;
        ready::wait(self.client, addon, &awaited, |message| step.message(message)).await?;
        step.finish(format!("{} {} is ready", addon.name, addon.description.version));
        Ok(())
    }

    async fn apply(&self, selected: &Selected, before: Option<&Record>, always: bool) -> Result<()> {
        let own = self.objects(selected)?;
        match &selected.addon.description.chart {
            Some(chart) => release::reconcile(self, selected, chart, &own, before, always).await,
            None => apply(self.client, selected, &own, before, always, self.patience()).await,
        }
    }

    fn objects(&self, selected: &Selected) -> Result<Vec<DynamicObject>> {
        objects(selected, self.facts, self.material)
    }

    /// Returns the objects of an addon that have to be ready, and of its release.
    async fn awaited(&self, selected: &Selected) -> Result<Vec<Ready>> {
        let mut objects = self.objects(selected)?;
        if let Some(chart) = &selected.addon.description.chart {
            objects.extend(release::objects(self, &selected.addon.name, chart).await?);
        }
        Ok(ready::awaited(&selected.addon, &objects))
    }

    /// Makes the error for a wait that timed out: it says which of these addons are not ready, and why.
    pub async fn timed_out(&self, names: &[String], seconds: u64) -> Error {
        let mut late = Vec::new();
        for selected in self.selected.iter().filter(|one| names.contains(&one.addon.name)) {
            let awaited = self.awaited(selected).await.unwrap_or_default();
            if !ready::is_ready(self.client, &awaited).await {
                late.push(trouble::why(self.client, &selected.addon, &awaited).await);
            }
        }
        let reasons: Vec<String> = late.iter().map(|error| format!(": {}", error.message)).collect();
        let message = format!("not ready within {seconds} s (--wait-timeout){}", reasons.join("\n"));
        let hints = late.into_iter().flat_map(|error| error.hints);
        hints.fold(Error::new(Id::AddonNotReady, message), Error::hint)
    }
}
