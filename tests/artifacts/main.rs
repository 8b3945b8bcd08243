//! The artifacts room against real tools and local servers.

mod real;
