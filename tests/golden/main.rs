//! Golden plans: what `start` would do in each situation, through the driver with machines in memory, compared with the
//! files in `snapshots/`. `INSTA_UPDATE=always` rewrites them; the difference is what a review reads.

mod mixed;
mod nodes;
mod plans;
mod world;
