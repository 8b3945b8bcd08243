//! Selectors of objects by their labels.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::objects::Labels;

/// A label selector; without requirements it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(Vec<Requirement>);

/// A requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    /// An operator that a newer API may have: it selects nothing, as a guess could allow what was not meant.
    Unknown,
}

impl Selector {
    /// Returns true if an object with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed = || value.is_some_and(|value| requirement.values.contains(value));
            match requirement.operator {
                Operator::In => listed(),
                Operator::NotIn => !listed(),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
                Operator::Unknown => false,
            }
        })
    }
}

impl From<&LabelSelector> for Selector {
    fn from(selector: &LabelSelector) -> Self {
        let labels = selector.match_labels.iter().flatten().map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        });
        let expressions = selector.match_expressions.iter().flatten().map(|expression| {
            let mut values = expression.values.clone().unwrap_or_default();
            values.sort();
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => Operator::Unknown,
            };
            Requirement { key: expression.key.clone(), operator, values }
        });
        // Sorted, so that selectors that are written differently share a set.
        let mut all: Vec<Requirement> = labels.chain(expressions).collect();
        all.sort();
        all.dedup();
        Selector(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: serde_json::Value, labels: &[(&str, &str)]) -> bool {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Selector::from(&selector).matches(&labels)
    }

    #[test]
    fn all_operators_select_as_the_api_says() {
        let expression = |operator: &str, values: &[&str]| serde_json::json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        let cases = [
            (serde_json::json!({}), true, true, true),
            (serde_json::json!({"matchLabels": {"app": "web"}}), true, false, false),
            (expression("In", &["db", "web"]), true, false, false),
            (expression("NotIn", &["web"]), false, true, true),
            (expression("Exists", &[]), true, true, false),
            (expression("DoesNotExist", &[]), false, false, true),
            (expression("Like", &["w*"]), false, false, false),
        ];
        for (selector, web, api, none) in cases {
            let found = [&[("app", "web")][..], &[("app", "api")], &[]].map(|labels| selects(selector.clone(), labels));
            assert_eq!(found, [web, api, none], "{selector}");
        }
    }

    #[test]
    fn all_requirements_have_to_hold() {
        let selector = serde_json::json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["test"]}],
        });
        assert!(selects(selector.clone(), &[("app", "web")]));
        assert!(!selects(selector.clone(), &[("app", "web"), ("tier", "test")]));
        assert!(!selects(selector, &[("tier", "production")]));
    }
}
