//! Taints of nodes, as `kubectl taint` writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A taint of a node: pods that do not tolerate it are kept away. Written as `key=value:Effect` or `key:Effect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Taint {
    /// The key, which is written as that of a label.
    pub key: String,
    /// The value, which may be empty.
    pub value: String,
    /// The effect on pods that do not tolerate the taint.
    pub effect: Effect,
}

/// The effect of a taint on pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are not scheduled on the node.
    NoSchedule,
    /// They are scheduled on the node only if no other fits.
    PreferNoSchedule,
    /// They are not scheduled on the node, and those that run there are evicted.
    NoExecute,
}

impl Effect {
    const ALL: [Effect; 3] = [Effect::NoSchedule, Effect::PreferNoSchedule, Effect::NoExecute];

    /// Returns the effect as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Effect::NoSchedule => "NoSchedule",
            Effect::PreferNoSchedule => "PreferNoSchedule",
            Effect::NoExecute => "NoExecute",
        }
    }
}

impl FromStr for Taint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a taint: write it as \"key=value:NoSchedule\" or \"key:NoSchedule\"");
        let (rest, effect) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        let effect = Effect::ALL.into_iter().find(|known| known.name() == effect).ok_or_else(|| {
            let known = Effect::ALL.map(Effect::name).join(", ");
            format!("\"{effect}\" is not an effect of a taint: known are {known}")
        })?;
        if key.is_empty() {
            return Err(wrong());
        }
        Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect })
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.value.is_empty() { String::new() } else { format!("={}", self.value) };
        write!(f, "{}{value}:{}", self.key, self.effect.name())
    }
}

impl TryFrom<String> for Taint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Taint> for String {
    fn from(taint: Taint) -> String {
        taint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_written_as_kubectl_writes_them() {
        for text in ["gpu=a100:NoSchedule", "example.org/dedicated:NoExecute", "a=:PreferNoSchedule"] {
            let taint: Taint = text.parse().unwrap();
            assert_eq!(taint.to_string(), text.replace("=:", ":"));
            assert_eq!(taint.to_string().parse(), Ok(taint));
        }
        assert!("gpu=a100".parse::<Taint>().unwrap_err().contains("key=value:NoSchedule"));
        assert!("=x:NoSchedule".parse::<Taint>().unwrap_err().contains("key=value:NoSchedule"));
        assert!("gpu:noschedule".parse::<Taint>().unwrap_err().contains("known are NoSchedule"));
    }
}
