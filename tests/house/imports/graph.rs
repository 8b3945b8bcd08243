//! Circles in a graph of files, rooms or crates.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::package::Arrow;

/// The arrows between names, each with the imports that it stands for.
#[derive(Default)]
pub(crate) struct Graph(BTreeMap<(String, String), Vec<Arrow>>);

impl Graph {
    /// Builds a graph of the names that a function gives to both ends of each arrow.
    pub(crate) fn of(arrows: &[Arrow], name: impl Fn(&str) -> Option<String>) -> Self {
        let mut graph = Self::default();
        for arrow in arrows {
            if let (Some(from), Some(to)) = (name(&arrow.from), name(&arrow.to))
                && from != to
            {
                graph.0.entry((from, to)).or_default().push(arrow.clone());
            }
        }
        graph
    }

    /// Returns the arrows between names.
    pub(crate) fn arrows(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.keys().map(|(from, to)| (from.as_str(), to.as_str()))
    }

    /// Returns the largest sets of names that all lead to each other.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<&str>> {
        let reach: BTreeMap<_, _> = self.0.keys().map(|(from, _)| (from.as_str(), self.reach(from))).collect();
        let mut circles: Vec<BTreeSet<&str>> = Vec::new();
        for (name, reached) in &reach {
            if reached.contains(name) && !circles.iter().any(|circle| circle.contains(name)) {
                circles.push(
                    reached
                        .iter()
                        .filter(|other| reach.get(*other).is_some_and(|back| back.contains(name)))
                        .copied()
                        .collect(),
                );
            }
        }
        circles
    }

    fn reach<'a>(&'a self, from: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(name) = open.pop() {
            let next = self.arrows().filter(|(from, _)| *from == name).map(|(_, to)| to);
            open.extend(next.filter(|to| reached.insert(*to)));
        }
        reached
    }

    /// Lists the imports behind the arrows that a function picks, one per line.
    pub(crate) fn tell(&self, pick: impl Fn(&str, &str) -> bool) -> String {
        let mut text = String::new();
        for ((from, to), arrows) in self.0.iter().filter(|((from, to), _)| pick(from, to)) {
            writeln!(text, "  {from} -> {to}").expect("strings take everything");
            for arrow in arrows {
                writeln!(text, "    {}:{}: {}", arrow.from, arrow.line, arrow.path).expect("strings take everything");
            }
        }
        text
    }
}
