//! The command line as a user meets it: texts, exit codes, streams. Needs neither root nor artifacts: each test has an
//! empty home, and nothing here makes a cluster. `INSTA_UPDATE=always` rewrites the texts in `snapshots/`.

mod config;
mod foreign;
mod help;
mod home;
mod nothing;
mod wrong;
