//! Reads one Rust source: its modules, items, imports and paths, except what only tests compile.

use std::collections::{HashMap, HashSet};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The parts of a module that say which other modules it needs.
#[derive(Default)]
pub(crate) struct Module {
    /// Child modules by name; one written in the same file comes with its own parts.
    pub children: Vec<(String, Option<Module>)>,
    /// Names of the items that the module defines.
    pub items: HashSet<String>,
    pub imports: Vec<Import>,
    /// Paths of two segments or more outside of imports, with their lines.
    pub paths: Vec<(Vec<String>, usize)>,
    /// Names that stand alone or begin a path, with the line of their first use.
    pub words: HashMap<String, usize>,
}

/// One name that a `use` brings into scope.
pub(crate) struct Import {
    pub path: Vec<String>,
    /// The name in this module; `*` for all names.
    pub name: String,
    pub public: bool,
    pub line: usize,
}

/// Reads the text of a source file.
pub(crate) fn read(text: &str) -> Module {
    let stream: TokenStream = text.parse().expect("tokens of Rust");
    let mut module = Module::default();
    body(stream, &mut module, true);
    module
}

/// Reads a stream of tokens; items count as the module's own only at its top level.
fn body(stream: TokenStream, module: &mut Module, top: bool) {
    let tokens: Vec<_> = stream.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        at = step(&tokens, at, module, top);
    }
}

/// Reads what begins at a token and returns the index after it.
fn step(tokens: &[TokenTree], at: usize, module: &mut Module, top: bool) -> usize {
    match &tokens[at] {
        TokenTree::Group(group) => body(group.stream(), module, false),
        TokenTree::Punct(punct) => match punct.as_char() {
            '#' => return attribute(tokens, at, module),
            // A lifetime, a field, a method, a variable of a macro.
            '\'' | '.' | '$' if word(tokens, at + 1).is_some_and(|word| word != "crate") => return at + 2,
            // The rest of a path after generic arguments.
            ':' if joins(tokens, at) && word(tokens, at + 2).is_some() => return segments(tokens, at + 2).1,
            ':' | '.' if punct.spacing() == Spacing::Joint => return at + 2,
            _ => {}
        },
        TokenTree::Ident(_) => return keyword(tokens, at, module, top),
        TokenTree::Literal(_) => {}
    }
    at + 1
}

/// Reads an item, an import or a path that begins with a word.
fn keyword(tokens: &[TokenTree], at: usize, module: &mut Module, top: bool) -> usize {
    let next = word(tokens, at + 1);
    match (word(tokens, at).as_deref(), next) {
        (Some("use"), _) if !punct(tokens, at + 1, '<') => {
            let end = (at..tokens.len()).find(|&at| punct(tokens, at, ';')).unwrap_or(tokens.len());
            let public = at > 0 && (word(tokens, at - 1).as_deref() == Some("pub") || restricted(tokens, at));
            imports(&tokens[at + 1..end], &[], public, module);
            end + 1
        }
        (Some("mod"), Some(name)) => {
            let inside = match tokens.get(at + 2) {
                Some(TokenTree::Group(group)) => {
                    let mut inside = Module::default();
                    body(group.stream(), &mut inside, true);
                    Some(inside)
                }
                _ => None,
            };
            module.children.push((name, inside));
            at + 3
        }
        (Some("fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static"), Some(name))
            if !matches!(name.as_str(), "fn" | "mut" | "unsafe" | "async" | "extern") =>
        {
            if top {
                module.items.insert(name);
            }
            at + 2
        }
        _ => {
            let (path, end) = segments(tokens, at);
            let line = tokens[at].span().start().line;
            let annotated = punct(tokens, end, ':') && !joins(tokens, end);
            if path.len() > 1 || !annotated {
                module.words.entry(path[0].clone()).or_insert(line);
            }
            if path.len() > 1 {
                module.paths.push((path, line));
            }
            end
        }
    }
}

/// Reads an attribute; items with `#[cfg(test)]` are left out.
fn attribute(tokens: &[TokenTree], at: usize, module: &mut Module) -> usize {
    let at = at + 1 + usize::from(punct(tokens, at + 1, '!'));
    let Some(TokenTree::Group(group)) = tokens.get(at) else { return at };
    let text = group.stream().to_string().replace(' ', "");
    if text == "cfg(test)" {
        return behind_item(tokens, at + 1);
    }
    if !text.starts_with("doc") {
        body(group.stream(), module, false);
        quoted(group.stream(), module);
    }
    at + 1
}

/// Reads the quoted paths in an attribute, such as serde's.
fn quoted(stream: TokenStream, module: &mut Module) {
    for token in stream {
        match token {
            TokenTree::Group(group) => quoted(group.stream(), module),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let path: Vec<_> = text.trim_matches('"').split("::").map(str::to_owned).collect();
                let is_name = |name: &String| name.chars().all(|char| char.is_alphanumeric() || char == '_');
                if path.len() > 1 && path.iter().all(is_name) {
                    module.paths.push((path, literal.span().start().line));
                }
            }
            _ => {}
        }
    }
}

/// Returns the index after the item, field or variant that begins at a token.
fn behind_item(tokens: &[TokenTree], mut at: usize) -> usize {
    let mut item = false;
    let mut value = false;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(ident) => match ident.to_string().as_str() {
                "fn" | "struct" | "enum" | "union" | "trait" | "mod" | "impl" | "macro_rules" => {
                    item = true;
                    value = false;
                }
                "use" | "const" | "static" | "type" | "let" if !item => {
                    item = true;
                    value = true;
                }
                _ => {}
            },
            TokenTree::Punct(punct) if punct.as_char() == ';' || (punct.as_char() == ',' && !item) => return at + 1,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !value => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Reads the tree of a `use`.
fn imports(tokens: &[TokenTree], prefix: &[String], public: bool, module: &mut Module) {
    for tree in tokens.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')) {
        let mut path = prefix.to_vec();
        let mut name = None;
        let mut nested = false;
        let mut at = 0;
        while at < tree.len() {
            match &tree[at] {
                TokenTree::Ident(ident) if ident == "as" => {
                    name = word(tree, at + 1);
                    at += 1;
                }
                TokenTree::Ident(ident) if ident == "self" && !path.is_empty() => {}
                TokenTree::Ident(_) => path.extend(word(tree, at)),
                TokenTree::Punct(punct) if punct.as_char() == '*' => name = Some("*".to_owned()),
                TokenTree::Group(group) => {
                    imports(&group.stream().into_iter().collect::<Vec<_>>(), &path, public, module);
                    nested = true;
                }
                _ => {}
            }
            at += 1;
        }
        if let (false, Some(first), Some(last)) = (nested, tree.first(), path.last()) {
            let name = name.unwrap_or_else(|| last.clone());
            module.imports.push(Import { name, public, line: first.span().start().line, path });
        }
    }
}

/// Returns the segments of the path that begins at a word, and the index after them.
fn segments(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut path: Vec<_> = word(tokens, at).into_iter().collect();
    at += 1;
    while let (true, Some(segment)) = (joins(tokens, at), word(tokens, at + 2)) {
        path.push(segment);
        at += 3;
    }
    (path, at)
}

/// Returns the word at an index.
fn word(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at) {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string().trim_start_matches("r#").to_owned()),
        _ => None,
    }
}

/// Returns true if a certain punctuation character is at an index.
fn punct(tokens: &[TokenTree], at: usize, char: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

/// Returns true if `::` is at an index.
fn joins(tokens: &[TokenTree], at: usize) -> bool {
    punct(tokens, at, ':') && punct(tokens, at + 1, ':')
}

/// Returns true if `pub(…)` is before an index.
fn restricted(tokens: &[TokenTree], at: usize) -> bool {
    at > 1 && matches!(tokens[at - 1], TokenTree::Group(_)) && word(tokens, at - 2).as_deref() == Some("pub")
}
