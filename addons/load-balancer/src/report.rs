//! Events on Services: the reason for a missing address, and changes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::decide::Decision;
use crate::objects::Service;

/// Writes Events, each once.
pub(crate) struct Reports {
    recorder: Recorder,
    /// The last reported problem, by the Service's uid.
    told: BTreeMap<String, String>,
}

impl Reports {
    /// Returns a report that has no Events yet.
    pub(crate) fn new(client: Client) -> Self {
        let reporter = Reporter { controller: "kcl-load-balancer".to_owned(), instance: None };
        Reports { recorder: Recorder::new(client, reporter), told: BTreeMap::new() }
    }

    /// Reports the new problems among all decisions; Services that no longer exist are forgotten.
    pub(crate) async fn problems(&mut self, decisions: &[Decision]) {
        self.told.retain(|uid, _| decisions.iter().any(|one| one.uid == *uid && one.problem.is_some()));
        for decision in decisions {
            let Some(problem) = &decision.problem else { continue };
            let note = problem.to_string();
            if self.told.get(&decision.uid) != Some(&note)
                && self.publish(decision, EventType::Warning, problem.reason(), &note).await
            {
                self.told.insert(decision.uid.clone(), note);
            }
        }
    }

    /// Reports that a decision is in effect. `before` is the former Service.
    pub(crate) async fn change(&self, decision: &Decision, before: &Service) {
        let Some(address) = decision.addresses.first() else { return };
        let had_all = address.iter().all(|ip| before.addresses().any(|before| before == ip));
        match &decision.by {
            Some(node) if before.announced_by() != Some(node) || !had_all => {
                let note = format!("{address} is answered for by node {node}");
                self.publish(decision, EventType::Normal, "AddressAnnounced", &note).await;
            }
            _ => {}
        }
    }

    async fn publish(&self, decision: &Decision, type_: EventType, reason: &str, note: &str) -> bool {
        println!("{}: {reason}: {note}", decision.key);
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: "GiveAddress".to_owned(),
            secondary: None,
        };
        let service = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            name: Some(decision.key.name.clone()),
            namespace: Some(decision.key.namespace.clone()),
            uid: Some(decision.uid.clone()),
            ..ObjectReference::default()
        };
        let published = self.recorder.publish(&event, &service).await;
        published.inspect_err(|error| eprintln!("{}: the event cannot be written: {error}", decision.key)).is_ok()
    }
}
