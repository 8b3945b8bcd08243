//! Values of addons: typed, with defaults, and read from `key=value`.

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
    /// Checks that a value has the type; the error says what is wrong.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let right = match self.kind {
            ValueKind::String => value.is_string(),
            ValueKind::Integer => value.is_i64() || value.is_u64(),
            ValueKind::Boolean => value.is_boolean(),
            ValueKind::List => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        };
        match right {
            true => Ok(()),
            false => Err(format!("{value} is not {}", self.kind.with_article())),
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
