//! Golden plans: what `start` would do in each situation, through the driver with machines in memory, compared with the
//! files in `snapshots/`. `INSTA_UPDATE=always` writes them anew; the difference is what a review reads.

mod mixed;
mod nodes;
mod plans;
mod world;
