//! Values of addons: typed, with defaults, and read from `key=value`.

use serde::Deserialize;

/// A value; [`ValueSchema::check`] says which are right.
pub type Value = serde_json::Value;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Texts.
    List,
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueSchema {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ValueKind,
    /// What it is unless somebody says otherwise.
    pub default: Value,
    /// What it does, in a few words.
    pub description: String,
}

impl ValueKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            ValueKind::String => "string",
            ValueKind::Integer => "integer",
            ValueKind::Boolean => "boolean",
            ValueKind::List => "list",
        }
    }
}

impl ValueSchema {
    /// Whether a value is of the type; else what is wrong.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let right = match self.kind {
            ValueKind::String => value.is_string(),
            ValueKind::Integer => value.is_i64() || value.is_u64(),
            ValueKind::Boolean => value.is_boolean(),
            ValueKind::List => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        };
        match right {
            true => Ok(()),
            false => Err(format!("{value} is no {}", self.kind.name())),
        }
    }
}

/// Reads a value from the right side of `key=value`; a list is of words with commas between.
pub fn parse(kind: ValueKind, text: &str) -> Result<Value, String> {
    let wrong = |right: &str| format!("\"{text}\" is no {}: {right}", kind.name());
    match kind {
        ValueKind::String => Ok(text.into()),
        ValueKind::Integer => text.parse::<i64>().map(Value::from).map_err(|_| wrong("write a number such as 3")),
        ValueKind::Boolean => text.parse::<bool>().map(Value::from).map_err(|_| wrong("write true or false")),
        ValueKind::List => {
            Ok(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Value::from).collect())
        }
    }
}
