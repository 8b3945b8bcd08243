//! The page of the documentation about cluster files, compared with what is read.

use std::path::Path;

use super::super::cluster_file::{ClusterFile, Nodes};
use crate::text::unknown_word;

const PAGE: &str = include_str!("../../../docs/cluster-file.md");

#[test]
fn its_example_is_a_cluster_file() {
    let example = PAGE.split("```").nth(1).and_then(|block| block.strip_prefix("toml")).expect("an example");
    let file = ClusterFile::parse(example, Path::new("example")).expect("a cluster file");
    assert!(matches!(file.nodes, Some(Nodes::List(nodes)) if nodes.len() == 3));
}

/// The names of a table's keys are those that the reader lists when a key is wrong.
#[test]
fn it_has_all_keys() {
    for (heading, text) in [
        ("## The cluster\n", "zzz = 1"),
        ("## `[[nodes]]`\n", "[[nodes]]\nzzz = 1"),
        ("## `[network]`\n", "[network]\nzzz = 1"),
        ("## `[apiserver]`\n", "[apiserver]\nzzz = 1"),
    ] {
        let section = PAGE.split(heading).nth(1).expect(heading);
        let section = section.split("\n## ").next().unwrap_or(section);
        let first_cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        let mut documented: Vec<_> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let error = toml::from_str::<ClusterFile>(text).expect_err(text);
        let (_, mut known) = unknown_word(error.message()).expect("the known keys");
        // These keys have headings of their own.
        known.retain(|key| !["network", "apiserver"].contains(key));
        documented.sort_unstable();
        known.sort_unstable();
        assert_eq!(documented, known, "{heading}");
    }
}
