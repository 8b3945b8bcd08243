//! What is inside the one file that is installed: the catalog, the build inputs, the image definitions, the node agent
//! and the pause program.

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

static AGENT: &[u8] = include_bytes!(env!("KCL_EMBED_AGENT"));
static PAUSE: &[u8] = include_bytes!(env!("KCL_EMBED_PAUSE"));

/// The node agent, a static program.
pub fn agent_bytes() -> &'static [u8] {
    AGENT
}

/// The program of the pause image, static.
pub fn pause_bytes() -> &'static [u8] {
    PAUSE
}

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
pub fn program(name: &str) -> Result<&'static [u8]> {
    match name {
        "pause" => Ok(PAUSE),
        _ => Err(missing(name)),
    }
}

fn missing(what: &str) -> Error {
    Error::new(Family::Internal, format!("{what} is named in a definition but is not in this kcl"))
}
