//! The documents of a file, split as kubectl does it (`YAMLOrJSONDecoder`, and `FileVisitor` for encodings).

use std::borrow::Cow;

use serde_json::{Deserializer, Value};

use super::{scalar, yaml};

/// A document that has a value.
pub(super) struct Document {
    /// The number of the line at which it begins, from 1.
    pub line: usize,
    /// The value of the document.
    pub value: Value,
}

/// The sign between documents.
const SEPARATOR: &str = "---";

/// Reads the documents of a file: JSON values one after the other, or YAML documents. Empty ones are left out. An error
/// begins with the line.
pub(super) fn documents(content: &[u8]) -> Result<Vec<Document>, String> {
    let text = text(content);
    let (mut documents, rest) = match text.trim_start().starts_with('{') {
        true => json(&text)?,
        false => (Vec::new(), Some((1, &*text))),
    };
    if let Some((line, rest)) = rest {
        documents.extend(yaml_documents(line, rest)?);
    }
    documents.retain(|document| !document.value.is_null());
    Ok(documents)
}

/// Decodes a manifest: UTF-16 where a byte order mark says so, and UTF-8 elsewhere. Lines end with a newline afterwards, the last one
/// too, as for kubectl.
pub fn text(content: &[u8]) -> Cow<'_, str> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks(2).map(|pair| unit([pair[0], *pair.get(1).unwrap_or(&0)])).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    let mut text = match content {
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        _ => String::from_utf8_lossy(content),
    };
    if text.contains("\r\n") {
        text = Cow::Owned(text.replace("\r\n", "\n"));
    }
    if !text.ends_with('\n') {
        text.to_mut().push('\n');
    }
    text
}

/// The number of a line, and the text from there on.
type Rest<'a> = (usize, &'a str);

/// Reads JSON values until the end, or until something else comes, which may be YAML: a flow mapping looks like JSON at
/// its start. Returns the rest in that case.
fn json(text: &str) -> Result<(Vec<Document>, Option<Rest<'_>>), String> {
    let mut documents = Vec::new();
    let (mut line, mut end) = (1, 0);
    let mut stream = Deserializer::from_str(text).into_iter::<Value>();
    while let Some(read) = stream.next() {
        let blank = text[end..].len() - text[end..].trim_start().len();
        match read {
            Ok(mut value) => {
                scalar::as_read_from_json(&mut value);
                let begin = end + blank;
                let at = line + newlines(&text[end..begin]);
                line = at + newlines(&text[begin..stream.byte_offset()]);
                end = stream.byte_offset();
                documents.push(Document { line: at, value });
            }
            Err(error) if documents.len() > 1 => {
                return Err(format!("line {}: not valid JSON: {error}", line + newlines(&text[end..end + blank])));
            }
            Err(_) => {
                let rest = text[end..].trim_start_matches([' ', '\t']);
                let (skipped, rest) = rest.strip_prefix('\n').map_or((0, rest), |rest| (1, rest));
                return Ok((documents, Some((line + skipped, rest))));
            }
        }
    }
    Ok((documents, None))
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Counts the lines before the first one that is not empty, a comment or a separator.
fn blank_lines(text: &str) -> usize {
    let blank =
        |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with(SEPARATOR);
    text.lines().take_while(blank).count()
}

/// Reads YAML documents from a text whose first line has the number `first`.
fn yaml_documents(first: usize, text: &str) -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    let mut read = |line: usize, chunk: &str| -> Result<(), String> {
        let value = yaml::value(chunk).map_err(|(at, problem)| format!("line {}: {problem}", line + at - 1))?;
        documents.push(Document { line: line + blank_lines(chunk), value });
        Ok(())
    };
    let (mut begin, mut begin_line, mut end) = (0, first, 0);
    for (number, line) in (first..).zip(text.split_inclusive('\n')) {
        let after = line.strip_prefix(SEPARATOR).map(str::trim);
        if let Some(after) = after {
            if !after.is_empty() && !after.starts_with('#') {
                return Err(format!(
                    "line {number}: \"{after}\" follows the separator {SEPARATOR}, which stands alone or before a comment"
                ));
            }
            if begin < end {
                read(begin_line, &text[begin..end])?;
                (begin, begin_line) = (end + line.len(), number + 1);
            }
        }
        end += line.len();
    }
    if begin < end {
        read(begin_line, &text[begin..end])?;
    }
    Ok(documents)
}
