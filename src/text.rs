//! Rules for names, and suggestions for misspelled ones.

/// Returns true for a DNS label as RFC 1123 defines it.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Returns the word of `known` that is most like `found`, if one is similar enough to be meant.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_ascii_lowercase().replace('_', "-");
    let found = plain(found);
    known
        .into_iter()
        .map(|word| match plain(word) {
            // `kube-apiserver` for `apiserver`.
            known if found.ends_with(&known) => (1.0, word),
            known => (strsim::jaro_winkler(&found, &known), word),
        })
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// Says which of `known` may be meant by `found`: "did you mean …?", or the whole list after `otherwise`.
pub fn suggestion<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
    otherwise: &str,
) -> String {
    let known = known.into_iter();
    match nearest(found, known.clone()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("{otherwise} {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Takes serde's messages ``unknown field `a`, expected one of `b`, `c` `` and ``unknown variant `a`, expected `b` ``
/// apart: the unknown word and the known ones.
pub fn unknown_word(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (found, rest) = rest.split_once('`')?;
    Some((found, rest.split('`').skip(1).step_by(2).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["name", "driver", "kubernetes-version", "apiserver"];
        assert_eq!(nearest("nmae", known), Some("name"));
        assert_eq!(nearest("kubernetes_version", known), Some("kubernetes-version"));
        assert_eq!(nearest("kube-apiserver", known), Some("apiserver"));
        assert_eq!(nearest("zzz", known), None);
    }

    #[test]
    fn serde_messages_are_taken_apart() {
        assert_eq!(unknown_word("unknown field `a`, expected one of `b`, `c`"), Some(("a", vec!["b", "c"])));
        assert_eq!(unknown_word("unknown variant `a`, expected `b` or `c`"), Some(("a", vec!["b", "c"])));
        assert_eq!(unknown_word("unknown field `a`, there are no fields"), Some(("a", vec![])));
        assert_eq!(unknown_word("invalid type"), None);
    }
}
