//! Addons: named, versioned pieces of cluster software that are enabled and disabled. What an addon is, is data: a folder
//! with `addon.toml` and templates of manifests (`addons/` in this repository, or a user's own).

mod apply;
mod chart;
mod definition;
mod enable;
mod images;
mod ready;
mod record;
mod registry;
mod remove;
mod render;
mod selection;
mod source;
mod values;

pub use definition::{Addon, Open};
pub use enable::{Enabling, Material};
pub use images::ensure as ensure_images;
pub use record::{Record, State, records};
pub use registry::{kept_chart, pull};
pub use remove::remove;
pub use render::{Certificates, Facts, Pair, objects};
pub use selection::{AddonConfig, Selected, find, select, want};
pub use source::{BUILT_IN, forget, known, own, take};
pub use values::{Value, ValueKind, ValueSchema, parse as parse_value};

/// The label of everything that an addon made: its name.
pub const LABEL: &str = "kcl.dev/addon";

/// An annotation, `"true"`: users' data. Kept when the addon is disabled, unless the user says otherwise.
pub const KEEP: &str = "kcl.dev/keep";
