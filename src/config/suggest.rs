//! The word that the user may have meant.

/// The word of `known` that is nearest to `found`, where one is near.
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

/// The unknown word and the known ones of serde's messages ``unknown field `a`, expected one of `b`, `c` `` and
/// ``unknown variant `a`, expected `b` ``.
pub(super) fn unknown_word(message: &str) -> Option<(&str, Vec<&str>)> {
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
