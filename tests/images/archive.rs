//! Archives as `docker save` wrote them before Docker 25, right or wrong.

use std::fs::File;
use std::path::Path;

use sha2::{Digest, Sha256};

/// An image to be written.
pub(crate) struct Image {
    /// The image's name.
    pub name: Option<String>,
    /// The architecture of its platform.
    pub architecture: &'static str,
    /// A byte of its layer is another one.
    pub damaged: bool,
}

impl Image {
    /// One of this machine, with nothing wrong.
    pub(crate) fn new(name: &str) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Image { name: Some(name.to_owned()), architecture, damaged: false }
    }
}

/// Writes the archive of an image of one layer.
pub(crate) fn write(to: &Path, image: &Image) {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "file", image.architecture.as_bytes());
    let mut layer = layer.into_inner().expect("a layer");
    let config = serde_json::json!({
        "architecture": image.architecture,
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
    });
    let config = config.to_string().into_bytes();
    let path = format!("{}.json", digest(&config));
    if image.damaged {
        // Of the file's own bytes.
        layer[512] ^= 1;
    }
    let manifest =
        serde_json::json!([{ "Config": path, "RepoTags": image.name.as_slice(), "Layers": ["1/layer.tar"] }]);
    let mut archive = tar::Builder::new(File::create(to).expect("a file"));
    append(&mut archive, "1/layer.tar", &layer);
    append(&mut archive, &path, &config);
    append(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    archive.finish().expect("an archive");
}

fn append<W: std::io::Write>(archive: &mut tar::Builder<W>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, bytes).expect("an entry");
}

fn digest(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}
