//! The node agent of kcl: process 1 of a node.
fn main() {}
