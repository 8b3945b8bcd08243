//! The artifacts room against real tools and local servers.

mod bundle;
mod real;
mod release;
mod server;
