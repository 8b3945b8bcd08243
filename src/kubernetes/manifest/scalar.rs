//! Types of scalars: those of YAML 1.1 as go-yaml 2 resolves them (`resolve.go`), and numbers as kubectl sends them.

use serde_json::{Number, Value};

/// The prefix of the types of YAML.
const TYPES: &str = "tag:yaml.org,2002:";

/// A scalar with a type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Boolean(bool),
    Integer(i64),
    /// An integer beyond those of 64 bits with a sign.
    Large(u64),
    Float(f64),
    Text(String),
}

/// Resolves the type of a scalar. A quoted one without a tag is a text.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Scalar, String> {
    let tag = match tag {
        None if !plain => return Ok(Scalar::Text(text.to_owned())),
        None => return Ok(untagged(text)),
        Some(tag) => tag,
    };
    let found = untagged(text);
    let right = match tag.strip_prefix(TYPES).unwrap_or_default() {
        "null" => found == Scalar::Null,
        "bool" => matches!(found, Scalar::Boolean(_)),
        "int" => matches!(found, Scalar::Integer(_) | Scalar::Large(_)),
        "float" => match found {
            Scalar::Integer(number) => return Ok(Scalar::Float(number as f64)),
            _ => matches!(found, Scalar::Float(_)),
        },
        "binary" => return binary(text),
        // Texts, and types that JSON does not have: times, and those of others.
        _ => return Ok(Scalar::Text(text.to_owned())),
    };
    right.then_some(found).ok_or_else(|| format!("\"{text}\" is not of the type !!{}", &tag[TYPES.len()..]))
}

fn binary(text: &str) -> Result<Scalar, String> {
    use base64::Engine as _;
    let text: String = text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    let bytes = bytes.map_err(|error| format!("a value of the type !!binary is not base64: {error}"))?;
    Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Resolves the type of a plain scalar by its text.
fn untagged(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Boolean(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Boolean(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes()[0] {
        b'.' if underscores_separate_digits(text) => float(&text.replace('_', "")),
        b'+' | b'-' | b'0'..=b'9' => {
            let text = text.replace('_', "");
            integer(&text).or_else(|| float(&text))
        }
        _ => None,
    };
    number.unwrap_or_else(|| Scalar::Text(text.to_owned()))
}

/// Returns true if each underscore is between two digits, which numbers with a point at their start need.
fn underscores_separate_digits(text: &str) -> bool {
    let (mut after, mut before) = (text.split('_').skip(1), text.rsplit('_').skip(1));
    after.all(|part| part.starts_with(|first: char| first.is_ascii_digit()))
        && before.all(|part| part.ends_with(|last: char| last.is_ascii_digit()))
}

/// Reads an integer as Go does with base 0: a 0 before other digits makes it octal.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let number = if negative { -number } else { number };
    match i64::try_from(number) {
        Ok(number) => Some(Scalar::Integer(number)),
        // A sign makes the number a signed one, which is then out of range.
        Err(_) if text.starts_with(['+', '-']) => None,
        Err(_) => u64::try_from(number).ok().map(Scalar::Large),
    }
}

/// Reads a number with a point or an exponent, or an integer that is too large for 64 bits.
fn float(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(n, e)| (n, Some(e)));
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let right = all_digits(whole)
        && fraction.is_none_or(all_digits)
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty))
        && exponent.is_none_or(|text| {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            !digits.is_empty() && all_digits(digits)
        });
    // A number beyond those of 64 bits stays a text.
    text.parse().ok().filter(|number: &f64| right && number.is_finite()).map(Scalar::Float)
}

impl Scalar {
    /// Returns the value in JSON, which has no infinite numbers.
    pub(super) fn into_value(self) -> Result<Value, String> {
        Ok(match self {
            Scalar::Null => Value::Null,
            Scalar::Boolean(boolean) => boolean.into(),
            Scalar::Integer(number) => number.into(),
            Scalar::Large(number) => number_of(number as f64).into(),
            Scalar::Float(number) if number.is_finite() => number_of(number).into(),
            Scalar::Float(number) => return Err(format!("{number} has no form in JSON")),
            Scalar::Text(text) => text.into(),
        })
    }

    /// Returns the key in JSON, where keys are texts.
    pub(super) fn into_key(self) -> Result<String, String> {
        match self {
            Scalar::Boolean(boolean) => Ok(boolean.to_string()),
            Scalar::Integer(number) => Ok(number.to_string()),
            Scalar::Float(number) => Ok(key_of(number as f32)),
            Scalar::Text(text) => Ok(text),
            Scalar::Null => Err("a key is null; quote it if it is a text".to_owned()),
            Scalar::Large(number) => Err(format!("the key {number} is too large; quote it if it is a text")),
        }
    }
}

/// Writes a number as Go does for keys: `strconv.FormatFloat(number, 'g', -1, 32)`.
fn key_of(number: f32) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            ".nan"
        } else if number > 0.0 {
            ".inf"
        } else {
            "-.inf"
        }
        .to_owned();
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').expect("it has an exponent");
    let exponent: i32 = exponent.parse().expect("it is a number");
    match exponent {
        -4..6 => number.to_string(),
        _ => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

/// Returns a number as kubectl sends it: an integer if it has no fraction and 64 bits are enough for its shortest digits,
/// so that `1.0` and `1e3` are integers for the API server.
fn number_of(number: f64) -> Number {
    let whole = (number.fract() == 0.0).then(|| number.to_string().parse::<i64>().ok()).flatten();
    whole.map_or_else(|| Number::from_f64(number).expect("it is finite"), Number::from)
}

/// Gives the numbers of a JSON value the types that they have for kubectl.
pub(super) fn as_read_from_json(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_i64() => {
            if let Some(float) = number.as_f64() {
                *number = number_of(float);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(as_read_from_json),
        Value::Object(fields) => fields.values_mut().for_each(as_read_from_json),
        _ => {}
    }
}
