//! NetworkPolicies: what they select and allow, and the packet rules that they become.
//!
//! The engine on each node ([`compile`]) and `kcl policy test` ([`evaluate`]) share the objects ([`World`]) and the
//! questions about them, so both give the same answers.

pub mod compile;
pub mod evaluate;
mod objects;
mod policy;
mod selector;
#[cfg(test)]
mod testing;
mod world;

pub use objects::{ApiPod, Key, Labels, Pod, Protocol};
pub use policy::Policy;
pub use world::World;
