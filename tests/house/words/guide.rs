//! The rules: functions from a file's text to its findings.

/// The first words of a doc comment that asks instead of telling.
const ASKING: [&str; 9] = ["What", "How", "Whether", "Where", "Who", "Whom", "Whose", "Why", "Which"];

/// The words that the guide replaces by the field's terms.
const FORBIDDEN: [&str; 14] = [
    "mend",
    "mends",
    "mended",
    "mending",
    "anew",
    "gone on with",
    "taken back",
    "is none",
    "is told",
    "makes do",
    "in the way",
    "at hand",
    "besides",
    "there is none to",
];

/// The fewest words of a whole sentence.
const SENTENCE: usize = 3;

/// A line's number, from 1, and the complaint.
pub(crate) type Finding = (usize, String);

/// Finds words that the guide forbids, in code and comments alike; they may stretch over lines.
pub(crate) fn forbidden(text: &str) -> Vec<Finding> {
    let tokens: Vec<(usize, String)> =
        (1..).zip(text.lines()).flat_map(|(number, line)| tokens(line).map(move |token| (number, token))).collect();
    let mut findings = Vec::new();
    for phrase in FORBIDDEN {
        let words: Vec<&str> = phrase.split(' ').collect();
        for window in tokens.windows(words.len()) {
            if window.iter().map(|(_, token)| token.as_str()).eq(words.iter().copied()) {
                findings.push((window[0].0, format!("\"{phrase}\" is not a word of the guide")));
            }
        }
    }
    findings
}

/// Returns a line's words in lower case, without what marks comments and continued strings; anything between words but
/// spaces is a word of its own, so that no phrase reaches over it.
fn tokens(line: &str) -> impl Iterator<Item = String> {
    let line = line.trim().trim_start_matches(['/', '!', '#', '*', '>', '-']).trim_end_matches('\\');
    let mut tokens = vec![String::new()];
    for character in line.to_lowercase().chars() {
        let is_word = character.is_alphanumeric() || character == '_' || character == '\'';
        if !is_word {
            tokens.push(String::new());
        }
        if is_word {
            tokens.last_mut().expect("at least one").push(character);
        } else if !character.is_whitespace() {
            tokens.extend([character.to_string(), String::new()]);
        }
    }
    tokens.into_iter().filter(|token| !token.is_empty())
}

/// Finds doc comments that start with a question, and paragraphs in them that are no sentence.
pub(crate) fn doc_comments(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The paragraph that is being read: its first line's number and its words; and the state of the comment around it.
    let mut paragraph: (usize, Vec<&str>) = (0, Vec::new());
    let (mut is_first, mut is_code) = (true, false);
    for (number, line) in (1..).zip(text.lines().chain([""])) {
        let comment = doc(line);
        let line = comment.unwrap_or_default().trim();
        let is_fence = line.starts_with("```");
        if comment.is_none() || line.is_empty() || is_fence {
            if !paragraph.1.is_empty() {
                findings.extend(judge(&paragraph.1, is_first).map(|finding| (paragraph.0, finding)));
                paragraph.1.clear();
                is_first = false;
            }
            is_code = comment.is_some() && (is_code != is_fence);
            is_first |= comment.is_none();
        } else if !is_code {
            if paragraph.1.is_empty() {
                paragraph.0 = number;
            }
            paragraph.1.extend(line.split_whitespace());
        }
    }
    findings
}

/// Returns the text of a line of a doc comment.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    (!text.starts_with('/')).then_some(text)
}

/// Returns the complaint about a paragraph of a doc comment.
fn judge(words: &[&str], is_first: bool) -> Option<String> {
    let start = words.iter().find(|word| **word != "And")?;
    let start = start.split(|character: char| !character.is_alphabetic()).next()?;
    if is_first && ASKING.iter().any(|asking| asking.eq_ignore_ascii_case(start)) {
        return Some(format!("a doc comment does not start with \"{start}\": {}", words.join(" ")));
    }
    // Names, links and the help texts of flags end without a full stop.
    let is_sentence = words[words.len() - 1].ends_with(['.', '?']) && !words[0].starts_with(['`', '#']);
    (is_sentence && words.len() < SENTENCE).then(|| format!("a fragment: {}", words.join(" ")))
}

#[test]
fn questions_fragments_and_forbidden_words_are_found() {
    let text = "/// What it is.\n///\n/// Does it.\n///\n/// # Errors\n///\n/// ```\n/// short\n/// ```\nlet a = b.is_none();\n\
                /// And how\n/// it is gone on\n/// with.\n//! Tells more than two words.\n";
    let lines: Vec<usize> = doc_comments(text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [1, 3, 11]);
    assert_eq!(forbidden(text), [(12, "\"gone on with\" is not a word of the guide".to_owned())]);
    assert_eq!(
        forbidden("There is. None at\\\n  hand, mended")[..].iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        [2, 1]
    );
}
