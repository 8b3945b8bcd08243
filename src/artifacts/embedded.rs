//! The files embedded in the kcl binary: the catalog, the build inputs, the image definitions, the node agent, the
//! policy engine, the pause program and the programs of addons.

use include_dir::{Dir, include_dir};
use serde::de::DeserializeOwned;

use crate::error::{Error, Id, Result};

/// The text of `images/catalog.toml`.
pub const CATALOG: &str = include_str!("../../images/catalog.toml");

/// The text of `images/pins.toml`.
pub const PINS: &str = include_str!("../../images/pins.toml");

/// The text of `Cargo.lock`.
pub const LOCK: &str = include_str!("../../Cargo.lock");

static COMPONENTS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/images/components");
static IMAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/images/oci");
static PACKAGES: &str = include_str!("../../images/node/packages.toml");
static KERNEL: &str = include_str!("../../images/node/kernel.toml");

/// The built-in addons: name, and texts by file name; sorted.
pub const ADDONS: &[(&str, &[(&str, &str)])] = include!(concat!(env!("OUT_DIR"), "/addons.rs"));

/// A static program.
pub struct Program {
    /// The contents of the file.
    pub bytes: &'static [u8],
    /// Its SHA-256 digest in hexadecimal, computed by the build, as every command that looks for artifacts needs it.
    pub digest: &'static str,
}

macro_rules! program {
    ($file:literal) => {
        Program { bytes: include_bytes!(env!($file)), digest: env!(concat!($file, "_SHA256")) }
    };
}

/// The node agent.
pub static AGENT: Program = program!("KCL_EMBED_AGENT");
/// The policy engine.
pub static POLICY: Program = program!("KCL_EMBED_POLICY");
static PAUSE: Program = program!("KCL_EMBED_PAUSE");
static LOAD_BALANCER: Program = program!("KCL_EMBED_LOAD_BALANCER");

/// Returns a file below `images/components`.
pub fn component(path: &str) -> Result<&'static [u8]> {
    COMPONENTS.get_file(path).map(|file| file.contents()).ok_or_else(|| missing(&format!("images/components/{path}")))
}

/// Returns a definition below `images/node`.
pub fn node(path: &str) -> Result<&'static str> {
    match path {
        "packages.toml" => Ok(PACKAGES),
        "kernel.toml" => Ok(KERNEL),
        _ => Err(missing(&format!("images/node/{path}"))),
    }
}

/// Parses a definition below `images/node`.
pub fn definition<T: DeserializeOwned>(path: &str) -> Result<T> {
    toml::from_str(node(path)?).map_err(|error| Error::new(Id::Internal, format!("images/node/{path}: {error}")))
}

/// Returns the image definitions: name (of the file, without its extension) and text, sorted by name.
pub fn images() -> Vec<(&'static str, &'static str)> {
    let mut images: Vec<_> =
        IMAGES.files().filter_map(|file| Some((file.path().file_stem()?.to_str()?, file.contents_utf8()?))).collect();
    images.sort_unstable();
    images
}

/// Returns the program that an image definition refers to by `name`.
pub fn program(name: &str) -> Result<&'static Program> {
    match name {
        "pause" => Ok(&PAUSE),
        "load-balancer" => Ok(&LOAD_BALANCER),
        _ => Err(missing(name)),
    }
}

fn missing(what: &str) -> Error {
    Error::new(Id::Internal, format!("{what} is named in a definition but is not in this kcl"))
}
