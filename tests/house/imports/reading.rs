//! Tests of the reader itself, on small made-up sources.

use std::collections::{HashMap, HashSet};

use super::graph::Graph;
use super::package::Package;

/// Reads a made-up package: its files below `src/`, `lib.rs` first.
fn package(files: &[(&str, &str)]) -> Package {
    let files: HashMap<_, _> = files.iter().map(|(file, text)| (format!("src/{file}"), (*text).to_owned())).collect();
    Package::load("house", &["src/lib.rs".to_owned()], &|file| files.get(file).cloned())
}

/// Returns the arrows of a made-up package, as `from:line to`.
fn arrows(files: &[(&str, &str)]) -> Vec<String> {
    let crates = ["other_crate".to_owned(), "house".to_owned()].into();
    let short = |file: &str| file.trim_start_matches("src/").to_owned();
    let arrows = package(files).arrows(&crates);
    let mut arrows: Vec<_> =
        arrows.iter().map(|arrow| format!("{}:{} {}", short(&arrow.from), arrow.line, short(&arrow.to))).collect();
    arrows.sort();
    arrows.dedup();
    arrows
}

const ROOMS: &str = "mod a;\nmod b;\n";

#[test]
fn imports_lead_to_the_file_of_the_item() {
    let a =
        "use crate::b::{self, deep::{Deep, other as another}, Top};\npub(crate) use super::b::deep::Deep as Deeper;";
    let deep = "pub struct Deep;\npub fn other() {}";
    let found =
        arrows(&[("lib.rs", ROOMS), ("a.rs", a), ("b/mod.rs", "mod deep;\npub enum Top {}"), ("b/deep.rs", deep)]);
    assert_eq!(found, ["a.rs:1 b/deep.rs", "a.rs:1 b/mod.rs", "a.rs:2 b/deep.rs"]);
}

#[test]
fn paths_in_expressions_types_macros_and_attributes_count() {
    let a = r#"
        fn f(x: crate::b::Type) {}
        fn g() { crate::b::call(); }
        fn h() { println!("{}", super::b::call()); }
        #[serde(with = "crate::b::format")] struct S;
        macro_rules! m { () => { $crate::b::call() } }
        use super::b;
        fn i() { b::call::<u8>().b::<u8>(); Vec::<u8>::b(); }
    "#;
    let b = "pub fn call() {}\npub struct Type;\npub mod format {}";
    let lines = [2, 3, 4, 6, 8].map(|line| format!("a.rs:{line} b.rs"));
    assert_eq!(arrows(&[("lib.rs", ROOMS), ("a.rs", a), ("b.rs", b)]), lines);
}

#[test]
fn what_only_tests_compile_is_left_out() {
    let a = "#[cfg(test)]\nmod tests;\n#[cfg(test)] mod inside { use crate::b::X; }\n#[cfg(test)]\npub(super) use crate::b::{X, Y};\n\
             #[cfg(test)] const C: [u8; 1] = crate::b::Z;\nstruct S { #[cfg(test)] x: crate::b::X, y: crate::b::Y }";
    assert_eq!(arrows(&[("lib.rs", ROOMS), ("a.rs", a), ("b.rs", "pub struct X; pub struct Y;")]), ["a.rs:7 b.rs"]);
}

#[test]
fn a_name_that_a_parent_hands_on_is_its_childs() {
    let b = "mod deep;\npub use deep::run;\npub struct Own;";
    let found = arrows(&[
        ("lib.rs", ROOMS),
        ("a.rs", "use crate::b::run;\nfn f() { crate::b::run(); }"),
        ("b/mod.rs", b),
        ("b/deep.rs", "use super::Own;\npub fn run() {}"),
    ]);
    assert_eq!(found, ["a.rs:1 b/deep.rs", "a.rs:2 b/deep.rs", "b/deep.rs:1 b/mod.rs"]);
    let circle = [
        ("lib.rs", "mod b;"),
        ("b/mod.rs", "mod deep;\npub use deep::run;\npub struct Own;\nfn f() { run() }"),
        ("b/deep.rs", "use super::Own;\npub fn run() {}"),
    ];
    assert_eq!(arrows(&circle), ["b/deep.rs:1 b/mod.rs", "b/mod.rs:4 b/deep.rs"]);
}

#[test]
fn a_name_that_another_room_hands_on_leads_to_both() {
    let found = arrows(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "use crate::b::Own;"),
        ("b.rs", "pub use crate::c::*;"),
        ("c.rs", "pub struct Own;"),
    ]);
    assert_eq!(found, ["a.rs:1 b.rs", "a.rs:1 c.rs"]);
}

#[test]
fn other_crates_are_found_by_alias_too() {
    let found = arrows(&[
        ("lib.rs", "mod a;\nuse other_crate::process;\nuse foreign::x;\npub struct Own;"),
        ("a.rs", "use house::Own;\nfn f() { crate::process::run(); }"),
    ]);
    assert_eq!(found, ["a.rs:1 lib.rs", "a.rs:2 other_crate", "lib.rs:2 other_crate"]);
}

#[test]
fn circles_are_found_however_long() {
    let package = package(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        ("b.rs", "use crate::c::C;\npub struct B;"),
        ("c.rs", "pub struct C;\nfn f(_: crate::a::A) {}"),
        ("d.rs", "use crate::a::A;"),
    ]);
    let graph = Graph::of(&package.arrows(&HashSet::new()), |file| Some(file.to_owned()));
    let circles = graph.circles();
    assert_eq!(circles, [["src/a.rs", "src/b.rs", "src/c.rs"].into()]);
    let told = graph.tell(|from, to| circles[0].contains(from) && circles[0].contains(to));
    assert!(told.contains("src/c.rs -> src/a.rs\n    src/c.rs:2: crate::a::A\n"), "{told}");
}
