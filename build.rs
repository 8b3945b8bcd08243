//! Embeds the node agent.
fn main() {}
