//! Follows the imports and paths of a package's modules to the files that define what they name.

use std::collections::{HashMap, HashSet};

use super::source::{Module, read};

/// An import, or a path in the code, that leaves its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub from: String,
    pub line: usize,
    /// A file of the package, or the name of another crate.
    pub to: String,
    pub path: String,
}

/// The sources of one package.
pub(crate) struct Package {
    name: String,
    nodes: Vec<Node>,
    library: Option<usize>,
}

struct Node {
    file: String,
    parent: Option<usize>,
    root: usize,
    children: HashMap<String, usize>,
    module: Module,
}

/// The place that a path leads to.
enum End {
    /// An item of a module, reached through imports in others.
    Item(usize, Vec<usize>),
    /// A module itself.
    Module,
    /// The root of another crate.
    Crate(String),
}

impl Package {
    /// Reads a package: the crate's name, its root files, and how to get a file's text.
    pub(crate) fn load(name: &str, roots: &[String], text: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut package = Self { name: name.to_owned(), nodes: Vec::new(), library: None };
        for root in roots {
            let module = read(&text(root).expect("the root file is there"));
            let id = package.add(root, None, module, text);
            if root.ends_with("lib.rs") {
                package.library = Some(id);
            }
        }
        package
    }

    fn add(
        &mut self,
        file: &str,
        parent: Option<usize>,
        mut module: Module,
        text: &dyn Fn(&str) -> Option<String>,
    ) -> usize {
        let id = self.nodes.len();
        let children = std::mem::take(&mut module.children);
        let root = parent.map_or(id, |parent| self.nodes[parent].root);
        self.nodes.push(Node { file: file.to_owned(), parent, root, children: HashMap::new(), module });
        // Modules of a root and of a `mod.rs` are beside it, those of another file in a folder of its name.
        let (folder, _) = file.rsplit_once('/').expect("files lie in a folder");
        let beside = parent.is_none() || file.ends_with("/mod.rs");
        let folder = if beside { folder } else { file.trim_end_matches(".rs") };
        for (name, inside) in children {
            let below = format!("{folder}/{name}");
            let (file, module) = match inside {
                Some(module) => (file.to_owned(), module),
                None => [format!("{below}.rs"), format!("{below}/mod.rs")]
                    .into_iter()
                    .find_map(|file| Some((file.clone(), read(&text(&file)?))))
                    .unwrap_or_else(|| panic!("{file} has a module `{name}` without a file")),
            };
            let child = self.add(&file, Some(id), module, text);
            self.nodes[id].children.insert(name, child);
        }
        id
    }

    /// Returns all arrows; `crates` names the other crates of the workspace.
    pub(crate) fn arrows(&self, crates: &HashSet<String>) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let module = &node.module;
            let imports = module.imports.iter().filter_map(|import| {
                // A parent that only re-exports a child's name does not need it itself.
                let handed_on = import.public && self.leads_to_child(id, &import.path);
                let line = if handed_on { *module.words.get(&import.name)? } else { import.line };
                Some((&import.path, line))
            });
            // A path that begins with an imported item counts with the import.
            let counted = |name: &String| {
                let import = module.imports.iter().find(|import| import.name == *name);
                import.is_some_and(|import| !self.targets(id, &import.path, crates).is_empty())
            };
            let paths = module.paths.iter().filter(|(path, _)| !counted(&path[0])).map(|(path, line)| (path, *line));
            for (path, line) in imports.chain(paths) {
                for to in self.targets(id, path, crates) {
                    arrows.push(Arrow { from: node.file.clone(), line, to, path: path.join("::") });
                }
            }
        }
        arrows
    }

    fn leads_to_child(&self, id: usize, path: &[String]) -> bool {
        let first = path.iter().find(|segment| *segment != "self");
        first.is_some_and(|first| self.nodes[id].children.contains_key(first))
    }

    /// Returns the files and crates that a path in a module needs.
    fn targets(&self, id: usize, path: &[String], crates: &HashSet<String>) -> Vec<String> {
        match self.resolve(id, path, crates, &mut HashSet::new()) {
            Some(End::Item(end, by_way_of)) => {
                let mut ends = vec![end];
                // A parent's import of its child, or of what its children need, is not a target of its own.
                ends.extend(by_way_of.into_iter().filter(|&way| !self.is_above(way, end) && !self.is_above(way, id)));
                let files = ends.into_iter().map(|end| self.nodes[end].file.clone());
                files.filter(|file| *file != self.nodes[id].file).collect()
            }
            Some(End::Crate(name)) => vec![name],
            Some(End::Module) | None => Vec::new(),
        }
    }

    fn is_above(&self, above: usize, id: usize) -> bool {
        let parents = std::iter::successors(Some(id), |&id| self.nodes[id].parent);
        parents.into_iter().any(|parent| parent == above)
    }

    /// Follows a path from a module's scope.
    fn resolve(
        &self,
        id: usize,
        path: &[String],
        crates: &HashSet<String>,
        seen: &mut HashSet<(usize, usize)>,
    ) -> Option<End> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(self.nodes[id].root, rest, crates, seen),
            "self" => self.walk(id, rest, crates, seen),
            "super" => self.walk(self.nodes[id].parent?, rest, crates, seen),
            name => self.walk(id, path, crates, seen).or_else(|| match self.library {
                Some(library) if name == self.name => self.walk(library, rest, crates, seen),
                _ => crates.contains(name).then(|| End::Crate(name.to_owned())),
            }),
        }
    }

    /// Follows a path down from a module.
    fn walk(
        &self,
        id: usize,
        path: &[String],
        crates: &HashSet<String>,
        seen: &mut HashSet<(usize, usize)>,
    ) -> Option<End> {
        let Some((name, rest)) = path.split_first() else { return Some(End::Module) };
        if name == "super" {
            return self.walk(self.nodes[id].parent?, rest, crates, seen);
        }
        let node = &self.nodes[id];
        let child = node.children.get(name);
        // A name that more segments follow is a module first, as a function may have the same name.
        if let (Some(&child), false) = (child, rest.is_empty())
            && let Some(end) = self.walk(child, rest, crates, seen)
        {
            return Some(end);
        }
        if node.module.items.contains(name) {
            return Some(End::Item(id, Vec::new()));
        }
        let mut module = None;
        for (at, import) in node.module.imports.iter().enumerate() {
            let more = match import.name.as_str() {
                "*" => path,
                import if import == name => rest,
                _ => continue,
            };
            let whole = [&import.path, more].concat();
            // An import does not explain its own path: `use name::name`.
            if !seen.insert((id, at)) {
                continue;
            }
            let end = self.resolve(id, &whole, crates, seen);
            seen.remove(&(id, at));
            match end {
                Some(End::Item(end, mut by_way_of)) => {
                    by_way_of.push(id);
                    return Some(End::Item(end, by_way_of));
                }
                Some(End::Crate(_)) if import.name == "*" => {}
                Some(End::Crate(name)) => return Some(End::Crate(name)),
                Some(End::Module) => module = Some(End::Module),
                None => {}
            }
        }
        module.or_else(|| child.map(|_| End::Module))
    }
}
