//! What is inside the one file that is installed: the catalog, the build inputs, the image definitions, the node agent,
//! the pause program and the programs of addons.

use include_dir::{Dir, include_dir};

use crate::error::{Error, Family, Result};

/// `images/catalog.toml`.
pub const CATALOG: &str = include_str!("../../images/catalog.toml");

static COMPONENTS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/images/components");
static IMAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/images/oci");
static PACKAGES: &str = include_str!("../../images/node/packages.toml");
static KERNEL: &str = include_str!("../../images/node/kernel.toml");

/// The built-in addons: name, and texts by file name; sorted.
pub const ADDONS: &[(&str, &[(&str, &str)])] = include!(concat!(env!("OUT_DIR"), "/addons.rs"));

/// A static program.
pub struct Program {
    /// The file.
    pub bytes: &'static [u8],
    /// Its SHA-256 digest, in hexadecimal. Known since the build: every command that looks for artifacts asks for it.
    pub digest: &'static str,
}

macro_rules! program {
    ($file:literal) => {
        Program { bytes: include_bytes!(env!($file)), digest: env!(concat!($file, "_SHA256")) }
    };
}

/// The node agent.
pub static AGENT: Program = program!("KCL_EMBED_AGENT");
static PAUSE: Program = program!("KCL_EMBED_PAUSE");
static LOAD_BALANCER: Program = program!("KCL_EMBED_LOAD_BALANCER");

/// A file below `images/components`.
pub fn component(path: &str) -> Result<&'static [u8]> {
    COMPONENTS.get_file(path).map(|file| file.contents()).ok_or_else(|| missing(&format!("images/components/{path}")))
}

/// A definition below `images/node`.
pub fn node(path: &str) -> Result<&'static str> {
    match path {
        "packages.toml" => Ok(PACKAGES),
        "kernel.toml" => Ok(KERNEL),
        _ => Err(missing(&format!("images/node/{path}"))),
    }
}

/// The image definitions: name (of the file, without its extension) and text, sorted by name.
pub fn images() -> Vec<(&'static str, &'static str)> {
    let mut images: Vec<_> =
        IMAGES.files().filter_map(|file| Some((file.path().file_stem()?.to_str()?, file.contents_utf8()?))).collect();
    images.sort_unstable();
    images
}

/// The program that an image definition calls by `name`.
pub fn program(name: &str) -> Result<&'static Program> {
    match name {
        "pause" => Ok(&PAUSE),
        "load-balancer" => Ok(&LOAD_BALANCER),
        _ => Err(missing(name)),
    }
}

fn missing(what: &str) -> Error {
    Error::new(Family::Internal, format!("{what} is named in a definition but is not in this kcl"))
}
