//! Checks that no file, room or crate imports itself through others, and that rooms and crates import only what the
//! drawing in ARCHITECTURE.md allows.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use graph::Graph;
use package::{Arrow, Package};

mod graph;
mod package;
mod reading;
mod source;

const HOUSE: &str = env!("CARGO_MANIFEST_DIR");

/// A crate of the workspace.
struct Crate {
    /// The folder of the crate; `src` for kcl itself.
    place: String,
    /// The folder of its sources.
    sources: String,
    name: String,
    arrows: Vec<Arrow>,
}

impl Crate {
    /// Returns the room of one of the crate's files: the first folder or file below the crate's sources.
    fn room(&self, file: &str) -> Option<String> {
        let below = file.strip_prefix(&self.sources)?.strip_prefix('/')?;
        let room = below.split('/').next()?;
        Some(format!("{}/{}", self.sources, room.strip_suffix(".rs").unwrap_or(room)))
    }
}

/// Reads all crates of the workspace.
fn workspace() -> Vec<Crate> {
    let manifest = |folder: &str| -> toml::Table {
        let path = Path::new(HOUSE).join(folder).join("Cargo.toml");
        fs::read_to_string(&path).expect("a manifest").parse().expect("TOML")
    };
    let members = manifest("")["workspace"]["members"].as_array().expect("members").clone();
    let folders = members.iter().map(|member| member.as_str().expect("a folder").to_owned());
    let named: Vec<_> = folders
        .chain([String::new()])
        .map(|folder| (manifest(&folder)["package"]["name"].as_str().expect("a name").replace('-', "_"), folder))
        .collect();
    let crates: HashSet<_> = named.iter().map(|(name, _)| name.clone()).collect();
    let read = |(name, folder): (String, String)| {
        let sources = Path::new(&folder).join("src").to_str().expect("UTF-8").to_owned();
        let package =
            Package::load(&name, &roots(&sources), &|file| fs::read_to_string(Path::new(HOUSE).join(file)).ok());
        let place = if folder.is_empty() { sources.clone() } else { folder };
        Crate { place, arrows: package.arrows(&crates), sources, name }
    };
    named.into_iter().map(read).collect()
}

/// Returns the root files of a package's library and programs.
fn roots(sources: &str) -> Vec<String> {
    let programs = fs::read_dir(Path::new(HOUSE).join(sources).join("bin")).into_iter().flatten();
    let programs = programs.map(|entry| format!("{sources}/bin/{}", entry.expect("an entry").file_name().display()));
    let usual = ["lib.rs", "main.rs"].map(|name| format!("{sources}/{name}"));
    usual.into_iter().filter(|root| Path::new(HOUSE).join(root).exists()).chain(programs).collect()
}

/// Reads the block `arrows` of ARCHITECTURE.md: for each room and crate the others that it may import.
fn drawing() -> BTreeMap<String, HashSet<String>> {
    let text = fs::read_to_string(Path::new(HOUSE).join("ARCHITECTURE.md")).expect("the drawing");
    let block = text.split("```arrows\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block `arrows`");
    let line = |line: &str| {
        let (from, to) = line.split_once("->")?;
        Some((from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect()))
    };
    block.lines().filter_map(line).collect()
}

/// Folders whose circles are not removed yet. The list only shrinks.
const KNOWN_CIRCLES: &[&str] = &[];

/// Arrows that are not in the drawing but not removed yet. The list only shrinks.
const KNOWN_ARROWS: &[(&str, &str)] = &[];

#[test]
fn files_and_rooms_import_each_other_in_no_circle() {
    let mut complaints = String::new();
    let mut known = KNOWN_CIRCLES.to_vec();
    for krate in workspace() {
        let file = |file: &str| file.contains('/').then(|| file.to_owned());
        for graph in [Graph::of(&krate.arrows, file), Graph::of(&krate.arrows, |file| krate.room(file))] {
            for circle in graph.circles() {
                let within = |folder: &&str| circle.iter().all(|name| Path::new(name).starts_with(folder));
                known.retain(|folder| !within(folder));
                if !KNOWN_CIRCLES.iter().any(within) {
                    let inside = |from: &str, to: &str| circle.contains(from) && circle.contains(to);
                    complaints += &format!("a circle of {}:\n{}", circle.len(), graph.tell(inside));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
    assert!(known.is_empty(), "circles that are gone; take them off the list: {known:?}");
}

#[test]
fn rooms_and_crates_import_what_the_drawing_has() {
    let crates = workspace();
    let places: BTreeMap<_, _> = crates.iter().map(|krate| (krate.name.as_str(), krate.place.as_str())).collect();
    let place = |krate: &Crate, end: &str| match places.get(end) {
        Some(place) => Some((*place).to_owned()),
        None => end.starts_with(&krate.sources).then(|| krate.place.clone()),
    };
    let between_crates = crates.iter().map(|krate| Graph::of(&krate.arrows, |end| place(krate, end)));
    let house = crates.iter().find(|krate| krate.place == "src").expect("kcl");
    let name = |room: String| room.trim_start_matches("src/").to_owned();
    let between_rooms = Graph::of(&house.arrows, |file| house.room(file).map(name));

    let drawing = drawing();
    let drawn = |from: &str, to: &str| drawing.get(from).is_some_and(|allowed| allowed.contains(to));
    let mut known: HashSet<_> = KNOWN_ARROWS.iter().copied().collect();
    let mut complaints = String::new();
    for graph in between_crates.chain([between_rooms]) {
        for arrow in graph.arrows() {
            known.retain(|known| *known != arrow);
        }
        complaints += &graph.tell(|from, to| !drawn(from, to) && !KNOWN_ARROWS.contains(&(from, to)));
    }
    assert!(complaints.is_empty(), "arrows that the drawing in ARCHITECTURE.md does not have:\n{complaints}");
    assert!(known.is_empty(), "arrows that are gone; take them off the list: {known:?}");
}
