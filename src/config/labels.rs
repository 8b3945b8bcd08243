//! Rules for labels of nodes.

use std::collections::BTreeMap;

use super::validate::{self, Checked};

/// Checks labels of a Node by the rules of the API server and of the kubelet's `--node-labels`.
pub(super) fn check(labels: &BTreeMap<String, String>) -> Checked<()> {
    for (key, value) in labels {
        let (prefix, name) = key.split_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if name.is_empty() || !is_label_word(name) || prefix.is_some_and(|prefix| validate::domain(prefix).is_err()) {
            return Err(format!("\"{key}\" is not a key for a label: write it as \"disk\" or \"example.org/disk\""));
        }
        if !is_label_word(value) {
            return Err(format!(
                "\"{value}\" is not a value for the label \"{key}\": use up to 63 letters, digits, '-', '_' and '.', \
                 with a letter or digit at either end"
            ));
        }
        if prefix.is_some_and(is_reserved) && !OPEN_LABELS.contains(&key.as_str()) {
            return Err(format!(
                "the label \"{key}\" is Kubernetes's own, and a kubelet refuses to set it: use a prefix of your own, \
                 or set it with kubectl"
            ));
        }
    }
    Ok(())
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
