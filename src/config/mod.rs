//! The wishes of the user: defaults, cluster file, environment and flags become one validated [`ClusterSpec`].

mod change;
mod cluster_file;
mod fields;
mod file;
mod flag;
mod flags;
mod labels;
mod limits;
mod mount;
mod nodes;
mod source;
mod spec;
#[cfg(test)]
mod tests;
mod units;
mod validate;
mod view;

pub use flags::Overrides;
pub use mount::{check_mounts, parse_mount};
pub use nodes::NewNode;
pub use source::Source;
pub use spec::{ClusterSpec, DEFAULT_NAME, EXTRA_CONFIG_COMPONENTS, MAX_NODES, NodeConfig, node_name};
pub use units::{format_lifetime, format_memory, parse_lifetime, parse_memory};
pub use validate::check_name;
