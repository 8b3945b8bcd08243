//! Images in nodes, by containerd's own API, blob by blob: `source` reads the user's images, `send` transfers them.

pub mod auth;
pub mod beneath;
pub mod carry;
pub mod compression;
mod config;
pub mod containerd;
pub mod forward;
pub mod image;
pub mod list;
pub mod meter;
pub mod reference;
pub mod save;
pub mod send;
pub mod source;
pub mod split;
