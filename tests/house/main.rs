//! Rules that the project keeps about its own sources. Needs neither root nor artifacts.

mod imports;
mod versions;
mod words;
