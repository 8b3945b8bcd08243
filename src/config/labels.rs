//! Rules for labels and taints of nodes.

use std::collections::BTreeMap;

use kcl_node_spec::Taint;

use super::validate::{self, Checked};

/// Parses a label as `kubectl label` writes it: `key=value`.
pub(super) fn parse(text: &str) -> Checked<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("\"{text}\" is not a label: write it as \"disk=fast\" or \"example.org/disk=fast\""))?;
    let label = (key.to_owned(), value.to_owned());
    check(&BTreeMap::from([label.clone()]))?;
    Ok(label)
}

/// Checks the keys and values of taints, which are written as those of labels.
pub(super) fn check_taints(taints: &[Taint]) -> Checked<()> {
    for (index, taint) in taints.iter().enumerate() {
        check_key(&taint.key, "taint")?;
        check_value(&taint.value, &taint.key, "taint")?;
        if taints[..index].iter().any(|other| (&other.key, other.effect) == (&taint.key, taint.effect)) {
            return Err(format!("there are two taints \"{}\" with the effect {}", taint.key, taint.effect.name()));
        }
    }
    Ok(())
}

/// Checks labels of a Node by the rules of the API server and of the kubelet's `--node-labels`.
pub(super) fn check(labels: &BTreeMap<String, String>) -> Checked<()> {
    for (key, value) in labels {
        let prefix = check_key(key, "label")?;
        check_value(value, key, "label")?;
        if prefix.is_some_and(is_reserved) && !OPEN_LABELS.contains(&key.as_str()) {
            return Err(format!(
                "the label \"{key}\" is Kubernetes's own, and a kubelet refuses to set it: use a prefix of your own, \
                 or set it with kubectl"
            ));
        }
    }
    Ok(())
}

/// Checks a key of this `kind`. Returns its prefix.
fn check_key<'a>(key: &'a str, kind: &str) -> Checked<Option<&'a str>> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if name.is_empty() || !is_label_word(name) || prefix.is_some_and(|prefix| validate::domain(prefix).is_err()) {
        return Err(format!("\"{key}\" is not a key for a {kind}: write it as \"disk\" or \"example.org/disk\""));
    }
    Ok(prefix)
}

fn check_value(value: &str, key: &str, kind: &str) -> Checked<()> {
    match is_label_word(value) {
        true => Ok(()),
        false => Err(format!(
            "\"{value}\" is not a value for the {kind} \"{key}\": use up to 63 letters, digits, '-', '_' and '.', \
             with a letter or digit at either end"
        )),
    }
}

/// Labels with a reserved prefix that a kubelet may set on its node (`IsKubeletLabel` in Kubernetes).
const OPEN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Returns true if a kubelet refuses labels with this prefix.
fn is_reserved(prefix: &str) -> bool {
    let within = |domain: &str| prefix == domain || prefix.ends_with(&format!(".{domain}"));
    (within("kubernetes.io") || within("k8s.io")) && !within("kubelet.kubernetes.io") && !within("node.kubernetes.io")
}

/// Checks the name part of a label's key, or a label's value.
fn is_label_word(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_have_the_form_of_labels_and_are_distinct() {
        let check = |texts: &[&str]| check_taints(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(check(&["gpu=a100:NoSchedule", "gpu:NoExecute"]), Ok(()));
        assert!(check(&["g pu:NoExecute"]).unwrap_err().contains("is not a key for a taint"));
        assert!(check(&["gpu=-:NoExecute"]).unwrap_err().contains("is not a value for the taint"));
        assert!(check(&["gpu=a:NoSchedule", "gpu=b:NoSchedule"]).unwrap_err().contains("two taints"));
        assert!(parse("disk").unwrap_err().contains("disk=fast"));
        assert_eq!(parse("disk="), Ok(("disk".to_owned(), String::new())));
    }

    #[test]
    fn labels_are_what_a_kubelet_takes() {
        let check_one = |key: &str, value: &str| check(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
        for key in ["disk", "example.org/disk", "topology.kubernetes.io/zone", "x.node.kubernetes.io/a"] {
            assert_eq!(check_one(key, "fast"), Ok(()));
        }
        assert_eq!(check_one("disk", ""), Ok(()));
        for key in ["", "/a", "a/", "a/b/c", "-a", "a b", "Ex/a"] {
            assert!(check_one(key, "x").unwrap_err().contains("is not a key"), "{key}");
        }
        assert!(check_one("disk", "a b").unwrap_err().contains("is not a value"));
        assert!(check_one("node-role.kubernetes.io/x", "").unwrap_err().contains("a kubelet refuses"));
    }
}
