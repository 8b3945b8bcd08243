//! The choice of addons and values for a cluster: the user's settings, and defaults.

use std::collections::BTreeMap;

use super::definition::Addon;
use super::values::Value;
use crate::addon_config::AddonConfig;
use crate::error::{Error, Id, Result};
use crate::text::suggestion;

/// An addon of a cluster, with its values.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The addon itself.
    pub addon: Addon,
    /// The values, defaults included.
    pub values: BTreeMap<String, Value>,
    /// True if the user enabled the addon, or one that needs it.
    pub asked: bool,
}

/// Returns the addons of a cluster, each after those that it needs.
///
/// # Errors
/// `Usage` for an unknown addon or value, a value of another type, and a version of Kubernetes that an addon does not
/// support.
pub(super) fn select(
    known: &BTreeMap<String, Addon>,
    said: &BTreeMap<String, AddonConfig>,
    kubernetes: &str,
) -> Result<Vec<Selected>> {
    for (name, config) in said {
        check(find(known, name)?, config)?;
    }
    let wanted =
        |addon: &&Addon| said.get(&addon.name).and_then(|config| config.enabled).unwrap_or(addon.description.default);
    let mut selected = Vec::new();
    for addon in known.values().filter(wanted) {
        let asked = said.get(&addon.name).is_some_and(|config| config.enabled == Some(true));
        add(known, said, addon, asked, &mut Vec::new(), &mut selected)?;
    }
    for one in &selected {
        if !one.addon.works_with(kubernetes) {
            let addon = &one.addon;
            let message = format!(
                "the addon {} {} requires Kubernetes {}, but the cluster has {kubernetes}",
                addon.name, addon.description.version, addon.description.kubernetes
            );
            return Err(Error::new(Id::AddonConflict, message).hint("choose another version with --kubernetes-version"));
        }
    }
    Ok(selected)
}

fn add(
    known: &BTreeMap<String, Addon>,
    said: &BTreeMap<String, AddonConfig>,
    addon: &Addon,
    asked: bool,
    path: &mut Vec<String>,
    selected: &mut Vec<Selected>,
) -> Result<()> {
    if let Some(there) = selected.iter_mut().find(|one| one.addon.name == addon.name) {
        there.asked |= asked;
        return Ok(());
    }
    if path.contains(&addon.name) {
        return Err(Error::new(
            Id::AddonConflict,
            format!("addons depend on each other in a cycle: {}", path.join(", ")),
        ));
    }
    path.push(addon.name.clone());
    for name in &addon.description.needs {
        if said.get(name).is_some_and(|config| config.enabled == Some(false)) {
            let message = format!("the addon {} needs {name}, which is disabled", addon.name);
            return Err(
                Error::new(Id::AddonConflict, message).hint(format!("enable {name} too, or disable {}", addon.name))
            );
        }
        add(known, said, find(known, name)?, asked, path, selected)?;
    }
    path.pop();
    let mut values: BTreeMap<_, _> =
        addon.description.values.iter().map(|(name, schema)| (name.clone(), schema.default.clone())).collect();
    values.extend(said.get(&addon.name).map(|config| config.values.clone()).unwrap_or_default());
    selected.push(Selected { addon: addon.clone(), values, asked });
    Ok(())
}

/// Returns an addon by its name; the error suggests the nearest one.
pub(super) fn find<'a>(known: &'a BTreeMap<String, Addon>, name: &str) -> Result<&'a Addon> {
    known.get(name).ok_or_else(|| {
        let right = suggestion(name, known.keys().map(String::as_str), "known are");
        Error::new(Id::AddonUnknown, format!("\"{name}\" is not an addon: {right}"))
            .hint("enable one of your own by its folder or archive: kcl addons enable ./my-addon")
    })
}

fn check(addon: &Addon, config: &AddonConfig) -> Result<()> {
    let wrong = |message: String| Error::new(Id::AddonInvalid, format!("the addon {}: {message}", addon.name));
    config.values.iter().try_for_each(|(name, value)| check_value(addon, name, value).map_err(wrong))
}

/// Checks a value of an addon; the error says what is wrong.
pub(super) fn check_value(addon: &Addon, name: &str, value: &Value) -> std::result::Result<(), String> {
    let schemas = &addon.description.values;
    let Some(schema) = schemas.get(name) else {
        let right = match schemas.is_empty() {
            true => "it has no values".to_owned(),
            false => suggestion(name, schemas.keys().map(String::as_str), "it has"),
        };
        return Err(format!("\"{name}\" is not one of its values: {right}"));
    };
    schema.check(value).map_err(|problem| format!("{name}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(texts: &[(&str, &str)]) -> BTreeMap<String, Addon> {
        let addon = |(name, more): &(&str, &str)| {
            let text = format!("title = 't'\nversion = '1'\n{more}");
            let files = [("addon.toml".to_owned(), text), ("a.yaml".to_owned(), String::new())].into();
            ((*name).to_owned(), Addon::parse(name, "test", files).expect(name))
        };
        texts.iter().map(addon).collect()
    }

    fn said(name: &str, enabled: bool) -> BTreeMap<String, AddonConfig> {
        [(name.to_owned(), AddonConfig { enabled: Some(enabled), ..AddonConfig::default() })].into()
    }

    fn names(selected: &[Selected]) -> Vec<&str> {
        selected.iter().map(|one| one.addon.name.as_str()).collect()
    }

    #[test]
    fn what_is_needed_comes_first() {
        let known = known(&[("a", "needs = ['z']"), ("m", "default = true"), ("z", "")]);
        let selected = select(&known, &said("a", true), "v1.37.0").expect("a selection");
        assert_eq!(names(&selected), ["z", "a", "m"]);
        assert!(selected[0].asked && !selected[2].asked);
        assert_eq!(names(&select(&known, &said("m", false), "v1.37.0").expect("a selection")), Vec::<&str>::new());
    }

    #[test]
    fn what_cannot_be_is_told_with_what_is_right() {
        let known = known(&[
            ("ingress", "kubernetes = '>=1.40'\n[values.replicas]\ntype = 'integer'\ndefault = 1\ndescription = 'd'"),
            ("a", "needs = ['b']"),
            ("b", "needs = ['a']"),
        ]);
        let error =
            |said: BTreeMap<String, AddonConfig>| select(&known, &said, "v1.37.0").expect_err("an error").message;
        assert!(error(said("ingres", true)).contains("did you mean \"ingress\"?"));
        assert!(error(said("ingress", true)).contains("requires Kubernetes >=1.40"));
        assert!(error(said("a", true)).contains("cycle"));
        let mut wrong = said("ingress", true);
        wrong.get_mut("ingress").unwrap().values.insert("replicas".into(), "two".into());
        assert!(error(wrong).contains("replicas: \"two\" is not an integer"));
        let mut wrong = said("ingress", true);
        wrong.get_mut("ingress").unwrap().values.insert("replica".into(), 2.into());
        assert!(error(wrong).contains("did you mean \"replicas\"?"));
    }
}
