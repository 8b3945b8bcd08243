//! What drivers share, whatever their machines are: documents on disk that are whole or not there, blocking work off the
//! async threads, changes of a machine that take turns, the ends of processes, and networks that are free.

pub mod checks;
pub mod context;
pub mod link;
pub mod lock;
pub mod names;
pub mod process;
pub mod storage;
pub mod streams;
pub mod subnet;
pub mod task;
pub mod terminal;
