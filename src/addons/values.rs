//! Values of addons: typed, with defaults, and read from `key=value`.

use regex::Regex;
use serde::Deserialize;

/// A value, which [`ValueSchema::check`] checks.
pub type Value = serde_json::Value;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// A single text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list of texts.
    List,
}

/// The type, default and description of a value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueSchema {
    /// The type of the value.
    #[serde(rename = "type")]
    pub kind: ValueKind,
    /// The default of the value.
    pub default: Value,
    /// A short description.
    pub description: String,
    /// The regular expression that a whole string matches, or each string of a list.
    pub pattern: Option<String>,
    /// The smallest integer.
    pub minimum: Option<i64>,
    /// The largest integer.
    pub maximum: Option<i64>,
}

impl ValueKind {
    /// Returns the name of the type.
    pub fn name(self) -> &'static str {
        match self {
            ValueKind::String => "string",
            ValueKind::Integer => "integer",
            ValueKind::Boolean => "boolean",
            ValueKind::List => "list",
        }
    }

    fn with_article(self) -> String {
        format!("{} {}", if self == ValueKind::Integer { "an" } else { "a" }, self.name())
    }
}

impl ValueSchema {
    /// Checks that a value has the type and is in its bounds; the error says what is wrong.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let right = match self.kind {
            ValueKind::String => value.is_string(),
            ValueKind::Integer => value.is_i64() || value.is_u64(),
            ValueKind::Boolean => value.is_boolean(),
            ValueKind::List => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        };
        if !right {
            return Err(format!("{value} is not {}", self.kind.with_article()));
        }
        match value {
            Value::Number(number) => self.check_bounds(number.as_i64().unwrap_or(i64::MAX)),
            Value::String(text) => self.check_text(text),
            Value::Array(list) => list.iter().filter_map(Value::as_str).try_for_each(|text| self.check_text(text)),
            _ => Ok(()),
        }
    }

    fn check_bounds(&self, number: i64) -> Result<(), String> {
        let (least, most) = (self.minimum.unwrap_or(i64::MIN), self.maximum.unwrap_or(i64::MAX));
        if (least..=most).contains(&number) {
            return Ok(());
        }
        let right = match (self.minimum, self.maximum) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (_, most) => format!("at most {}", most.unwrap_or(i64::MAX)),
        };
        Err(format!("{number} is out of range: it has to be {right}"))
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        let Some(pattern) = &self.pattern else { return Ok(()) };
        let whole = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| format!("its pattern: {error}"))?;
        match whole.is_match(text) {
            true => Ok(()),
            false => Err(format!("\"{text}\" is not valid ({}); it has to match {pattern}", self.description)),
        }
    }
}

/// Parses a value from the right side of `key=value`; a list is written with commas.
pub fn parse(kind: ValueKind, text: &str) -> Result<Value, String> {
    let wrong = |right: &str| format!("\"{text}\" is not {}: {right}", kind.with_article());
    match kind {
        ValueKind::String => Ok(text.into()),
        ValueKind::Integer => text.parse::<i64>().map(Value::from).map_err(|_| wrong("write a number such as 3")),
        ValueKind::Boolean => text.parse::<bool>().map(Value::from).map_err(|_| wrong("write true or false")),
        ValueKind::List => {
            Ok(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Value::from).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> ValueSchema {
        toml::from_str(&format!("description = 'such as 7d'\n{text}")).expect("a schema")
    }

    #[test]
    fn texts_match_the_whole_pattern() {
        let time = schema("type = 'string'\ndefault = '7d'\npattern = '[0-9]+[hdw]'");
        assert!(time.check(&"12h".into()).is_ok());
        for wrong in ["banana", "7d and more", "x7d", ""] {
            let said = time.check(&wrong.into()).unwrap_err();
            assert!(said.contains(&format!("\"{wrong}\"")) && said.contains("such as 7d"), "{said}");
        }
        let list = schema("type = 'list'\ndefault = []\npattern = '[a-z]+'");
        assert!(list.check(&serde_json::json!(["a", "b"])).is_ok());
        assert!(list.check(&serde_json::json!(["a", "1"])).unwrap_err().contains("\"1\""));
    }

    #[test]
    fn numbers_have_bounds() {
        let port = schema("type = 'integer'\ndefault = 1\nminimum = 1\nmaximum = 65535");
        assert!(port.check(&1.into()).is_ok() && port.check(&65535.into()).is_ok());
        assert!(port.check(&0.into()).unwrap_err().contains("from 1 to 65535"));
        assert!(port.check(&u64::MAX.into()).is_err());
        let least = schema("type = 'integer'\ndefault = 1\nminimum = 1");
        assert!(least.check(&(-1).into()).unwrap_err().contains("at least 1"));
    }
}
