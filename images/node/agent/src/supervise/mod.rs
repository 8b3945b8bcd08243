//! Supervises the components: starts them, restarts them and stops them.

mod component;
mod logs;
mod notify;
mod pods;
mod probe;
mod reaper;
mod spawn;
mod stop;

pub use component::{Command, Component};
pub use logs::{errors, rotate_forever};
pub use reaper::Reaper;
pub use stop::{order, refresh, stop};
