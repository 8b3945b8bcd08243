//! Supervises the components: starts them, restarts them and stops them.

mod component;
mod logs;
mod notify;
mod pods;
mod probe;
mod reaper;
mod spawn;
mod stop;

pub(crate) use component::{Command, Component};
pub(crate) use logs::{errors, rotate_forever};
pub(crate) use reaper::Reaper;
pub(crate) use stop::{order, refresh, stop};
