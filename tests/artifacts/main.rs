//! Tests of the artifacts room with real tools and local servers.

mod bundle;
mod real;
mod release;
mod server;
