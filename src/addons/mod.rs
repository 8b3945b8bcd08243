//! Addons: named, versioned pieces of cluster software that can be enabled. An addon is data: a folder
//! with `addon.toml` and templates of manifests (`addons/` in this repository, or a user's own).

mod apply;
mod available;
mod chart;
mod context;
mod copies;
mod definition;
mod enable;
mod files;
mod images;
mod material;
mod ready;
mod record;
mod registry;
mod release;
mod remove;
mod render;
mod selection;
mod template;
mod trouble;
mod used;
mod values;

pub use available::{Available, BUILT_IN};
pub use chart::Helm;
pub use context::Enabling;
pub use copies::forget;
pub use definition::{Addon, LABEL, Open};
pub use images::{ensure as ensure_images, mark_nodes};
pub use material::Material;
pub use record::{ObjectName, Record, State, records};
pub use registry::kept_chart;
pub use render::{Certificates, Facts, Pair, objects};
pub use selection::Selected;
pub use used::images as used_images;
pub use values::{Value, ValueKind, ValueSchema, parse as parse_value};
