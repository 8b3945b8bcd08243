//! Command line flags: those of kcl, overridden by the user's.

use std::collections::BTreeMap;

use kcl_node_spec::NodeSpec;

/// The flags of one component, in order and without repetition.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags(Vec<(String, String)>);

impl Flags {
    /// Sets a flag, replacing an earlier value.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Flags {
        let value = value.into();
        match self.0.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        self
    }

    /// Removes a flag.
    pub(super) fn remove(&mut self, name: &str) -> &mut Flags {
        self.0.retain(|(found, _)| found != name);
        self
    }

    /// Sets the feature gates, if there are any.
    pub(super) fn feature_gates(&mut self, spec: &NodeSpec) -> &mut Flags {
        let gates: Vec<String> =
            spec.kubernetes.feature_gates.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if gates.is_empty() { self } else { self.set("feature-gates", gates.join(",")) }
    }

    /// Sets the user's flags of `component`, which override all earlier ones.
    pub(super) fn extra(&mut self, spec: &NodeSpec, component: &str) -> &mut Flags {
        for (name, value) in extra(spec, component) {
            self.set(name, value.as_str());
        }
        self
    }

    /// Returns the command line arguments.
    pub(super) fn args(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("--{name}={value}")).collect()
    }
}

/// Returns the user's settings of `component`.
pub(super) fn extra<'a>(spec: &'a NodeSpec, component: &str) -> impl Iterator<Item = (&'a String, &'a String)> {
    spec.kubernetes.extra.get(component).into_iter().flat_map(BTreeMap::iter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    #[test]
    fn the_user_has_the_last_word() {
        let mut spec = spec();
        let wanted = [("v".to_owned(), "4".to_owned()), ("profiling".to_owned(), "true".to_owned())];
        spec.kubernetes.extra.insert("scheduler".to_owned(), wanted.into());
        spec.kubernetes.feature_gates.insert("X".to_owned(), false);
        let mut flags = Flags::default();
        flags.set("profiling", "false").feature_gates(&spec).extra(&spec, "scheduler");
        assert_eq!(flags.args(), ["--profiling=true", "--feature-gates=X=false", "--v=4"]);
    }
}
