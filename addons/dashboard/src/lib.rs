//! kcl's web console: a page for one user on this computer, and the server that shows it.
//!
//! The server listens on loopback only. It shows the page ([`page`](self)) and passes what the page asks of Kubernetes on
//! to the API server, as the user whom the session is for: what that user may not, the API server refuses. Who may use it
//! at all is decided by three things that a program without the user's rights cannot have together: a link that works
//! once, asked for through a private Unix socket; the cookie that it is exchanged for, which only pages below one path
//! that nobody can guess are sent; and, for whatever changes something, an origin that is the page itself.
//!
//! The page is plain HTML, CSS and JavaScript modules in `page/`, embedded here. It uses nothing from elsewhere.

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
