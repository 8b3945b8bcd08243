//! The parts that all drivers share: documents on disk, exclusive and blocking work, the streams of commands and kcl's
//! terminal, the ends of processes, links, free networks, and kernel parameters.

pub mod checks;
pub mod context;
pub mod link;
pub mod lock;
pub mod names;
pub mod parameters;
pub mod process;
pub mod storage;
pub mod streams;
pub mod subnet;
pub mod task;
pub mod terminal;
