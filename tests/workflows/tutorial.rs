//! A tutorial that is run: the `sh` blocks of a README, in order, in one shell, as a user would type them.
//!
//! | fence | what it says |
//! | --- | --- |
//! | `sh` | commands, each of which succeeds |
//! | `sh until` | commands that are repeated until they succeed and say what the text after them shows |
//! | `sh fails` | commands that are refused |
//! | `text` | what the commands before it say: these lines in this order, others may be between; … is anything |

use std::path::{Path, PathBuf};

use super::shell::Shell;
use crate::support::{Home, LIMIT};

/// The expected end of a block's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Succeeds,
    Until,
    Fails,
}

/// Commands, and what they say.
struct Block {
    section: String,
    kind: Kind,
    commands: String,
    said: Option<String>,
}

/// A tutorial in a shell of its own, in a copy of its folder.
pub(crate) struct Tutorial<'h> {
    home: &'h Home,
    name: String,
    blocks: std::vec::IntoIter<Block>,
    shell: Shell,
}

impl<'h> Tutorial<'h> {
    /// Opens the tutorial `tests/workflows/<name>/README.md`.
    pub(crate) fn open(home: &'h Home, name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workflows").join(name);
        let readme = source.join("README.md");
        Self::of(home, name, &readme, &copy(&source, home.scratch()))
    }

    /// A tutorial that stands in `readme`, in the directory `place`.
    pub(crate) fn of(home: &'h Home, name: &str, readme: &Path, place: &Path) -> Self {
        let text = std::fs::read_to_string(readme).unwrap_or_else(|error| panic!("{}: {error}", readme.display()));
        let blocks = blocks(&text);
        assert!(!blocks.is_empty(), "{}: no commands", readme.display());
        let mut shell = Shell::open(home, place);
        // Another tutorial may have ended in the middle.
        shell.attempt("kubectl config set-context --current --namespace=default");
        Tutorial { home, name: name.to_owned(), blocks: blocks.into_iter(), shell }
    }

    /// Runs the next section, which has to have this heading; what its commands said.
    #[track_caller]
    pub(crate) fn section(&mut self, heading: &str) -> String {
        self.home.step(&format!("{}: {heading}", self.name));
        let mut all = String::new();
        let mut any = false;
        while let Some(next) = self.blocks.as_slice().first()
            && next.section == heading
        {
            let block = self.blocks.next().expect("the next one");
            all.push_str(&self.run(&block));
            any = true;
        }
        let next = self.blocks.as_slice().first().map(|block| &block.section);
        assert!(any, "{}: the next section is {next:?}, not {heading:?}", self.name);
        all
    }

    /// Leaves the next commands out, which have to be these.
    pub(crate) fn skip(&mut self, commands: &str) {
        let next = self.blocks.next().map(|block| block.commands);
        assert_eq!(next.as_deref(), Some(commands));
    }

    /// Runs what is left.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        while let Some(next) = self.blocks.as_slice().first() {
            let heading = next.section.clone();
            self.section(&heading);
        }
    }

    #[track_caller]
    fn run(&mut self, block: &Block) -> String {
        let end = std::time::Instant::now() + LIMIT;
        loop {
            let (ended, output) = match block.kind {
                Kind::Succeeds => (true, self.shell.run(&block.commands)),
                Kind::Until | Kind::Fails => {
                    let (succeeded, output) = self.shell.attempt(&block.commands);
                    (succeeded == (block.kind == Kind::Until), output)
                }
            };
            let differs = block.said.as_ref().and_then(|said| difference(said, &output));
            let problem = match (ended, differs) {
                (true, None) => return output,
                (false, _) => format!("they should end otherwise: {:?}", block.kind),
                (true, Some(line)) => format!("this line is not said: {line}"),
            };
            if block.kind != Kind::Until || std::time::Instant::now() > end {
                panic!("{}, {}: {problem}\n{}\n--- said\n{output}", self.name, block.section, block.commands);
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    }
}

/// The blocks of a README.
fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut section) = (Vec::<Block>::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        }
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let body = body.join("\n");
        let kind = match info {
            "sh" => Kind::Succeeds,
            "sh until" => Kind::Until,
            "sh fails" => Kind::Fails,
            "text" => {
                blocks.last_mut().expect("a text is said by commands before it").said = Some(body);
                continue;
            }
            _ => continue,
        };
        blocks.push(Block { section: section.clone(), kind, commands: body, said: None });
    }
    blocks
}

/// The first line of a text that was not said.
fn difference<'t>(text: &'t str, said: &str) -> Option<&'t str> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut said = said.lines().map(words);
    text.lines().filter(|line| !line.trim().is_empty()).find(|line| !said.any(|other| is_like(&words(line), &other)))
}

/// Matches a line against a pattern, in which … stands for anything.
fn is_like(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Copies a folder into another one.
fn copy(source: &Path, into: &Path) -> PathBuf {
    let place = into.join(source.file_name().expect("a name"));
    for entry in walkdir::WalkDir::new(source) {
        let entry = entry.expect("the tutorial's folder");
        let to = place.join(entry.path().strip_prefix(source).expect("below it"));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&to).expect("a directory");
        } else {
            std::fs::copy(entry.path(), &to).expect("a copy");
        }
    }
    place
}

#[test]
fn a_readme_is_read() {
    let text = "# T\n```sh\none\n```\n## A\n```sh until\ntwo\nthree\n```\nthen\n```text\nNAME  AGE\nx-…   …s\n```\n";
    let blocks = blocks(text);
    assert_eq!(blocks.len(), 2);
    assert_eq!((&*blocks[1].section, blocks[1].kind, &*blocks[1].commands), ("A", Kind::Until, "two\nthree"));
    let said = blocks[1].said.as_deref().expect("a text");
    assert_eq!(difference(said, "NAME    AGE\ny 1\nx-12 5s\n"), None);
    assert_eq!(difference(said, "NAME    AGE\nx-12 5m\n"), Some("x-…   …s"));
    assert!(is_like("a … c … e", "a b c d e") && !is_like("a … c", "a c b") && !is_like("ab", "abc"));
}
