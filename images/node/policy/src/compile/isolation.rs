//! The pods of the node that policies isolate. Pods with the same policies share a chain, which leads through those of the
//! policies and ends with the loss of the packet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::tables::{Element, FAMILIES, ITSELF, Tables};
use crate::objects::Key;
use crate::policy::Direction;

/// A direction, and the chains of the policies.
type Policies = (Direction, Vec<String>);

/// The isolated pods.
#[derive(Default)]
pub(super) struct Isolations {
    pods: BTreeMap<Key, Isolated>,
    chains: BTreeMap<Policies, Chain>,
}

struct Isolated {
    addresses: Vec<IpAddr>,
    by: Vec<Policies>,
}

struct Chain {
    name: String,
    users: usize,
}

impl Isolations {
    /// Sets the policies that isolate a pod, in each direction.
    pub(super) fn set(
        &mut self,
        key: &Key,
        addresses: Vec<IpAddr>,
        by: Vec<Policies>,
        next: &mut u32,
        tables: &mut Tables,
    ) {
        if self.pods.get(key).is_some_and(|pod| pod.addresses == addresses && pod.by == by) {
            return;
        }
        let before = self.pods.remove(key);
        if let Some(before) = &before {
            self.remove_verdicts(before, tables);
        }
        if !by.is_empty() {
            for policies in &by {
                let chain = self.chains.entry(policies.clone()).or_insert_with(|| {
                    let (direction, chains) = policies;
                    let name = format!("isolated-{}-{next}", direction.name());
                    *next += 1;
                    let jumps = chains.iter().map(|chain| format!("jump {chain}"));
                    // No policy can keep a pod from itself.
                    let itself = FAMILIES.map(|family| {
                        let (header, set) = (family.header(), family.part(ITSELF));
                        format!("{header} saddr . {header} daddr @{set} accept")
                    });
                    tables.add_chain(&name, jumps.chain(itself).chain(["drop".to_owned()]).collect());
                    Chain { name, users: 0 }
                });
                chain.users += 1;
                for address in &addresses {
                    tables.add_verdict(policies.0, *address, &chain.name);
                }
            }
            for address in &addresses {
                tables.add_element(ITSELF, Element::Itself(*address));
            }
            self.pods.insert(key.clone(), Isolated { addresses, by });
        }
        // Last, so that a chain that stays in use is not replaced.
        for policies in before.iter().flat_map(|before| &before.by) {
            self.release(policies, tables);
        }
    }

    fn remove_verdicts(&self, pod: &Isolated, tables: &mut Tables) {
        for policies in &pod.by {
            let Some(chain) = self.chains.get(policies) else { continue };
            for address in &pod.addresses {
                tables.remove_verdict(policies.0, *address, &chain.name);
            }
        }
        for address in &pod.addresses {
            tables.remove_element(ITSELF, &Element::Itself(*address));
        }
    }

    fn release(&mut self, policies: &Policies, tables: &mut Tables) {
        let Some(chain) = self.chains.get_mut(policies) else { return };
        chain.users -= 1;
        if chain.users == 0 {
            tables.remove_chain(&chain.name);
            self.chains.remove(policies);
        }
    }
}
