//! kcl's web console: a page for one user on this computer, and the server that shows it.
//!
//! The server listens on loopback only. It serves the page ([`page`](self)) and passes the page's requests to
//! Kubernetes on to the API server as the session's user, whose rights the API server checks. Access takes three things
//! that a program without the user's rights cannot have together: a link that works once, requested through a private
//! Unix socket; the cookie that it is exchanged for, which browsers send only to pages below one unguessable path; and,
//! for every change, the page itself as the origin.
//!
//! The page is plain HTML, CSS and JavaScript modules in `page/`, embedded here. It loads nothing from other hosts.

mod addons;
mod answer;
mod cluster;
mod control;
mod guard;
mod identity;
mod omit;
mod own;
mod page;
mod proxy;
mod server;
mod session;
mod shared;
mod upstream;

pub use addons::{Addon, Addons};
pub use cluster::Cluster;
pub use control::{Reply, Request, Running};
pub use identity::Identity;
pub use server::{Config, Console};
