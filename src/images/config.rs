//! The part of an image's configuration that kcl reads. The specification's own types refuse what older tools and those
//! for images without programs leave out, and what Docker and containerd accept.

use oci_spec::image::Arch;
use serde::{Deserialize, Deserializer};

/// The configuration of an image (OCI image specification 1.1, `config.md`; Docker image specification 1.2).
#[derive(Debug, Default, Deserialize)]
pub(super) struct ImageConfig {
    #[serde(flatten)]
    platform: Platform,
    #[serde(default, deserialize_with = "or_default")]
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<String>,
}

/// The platform of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    variant: String,
}

impl ImageConfig {
    /// Reads a configuration.
    pub(super) fn parse(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }

    /// Returns the digests of the uncompressed layers, the lowest first.
    pub(super) fn diff_ids(&self) -> &[String] {
        &self.rootfs.diff_ids
    }

    /// Returns the image's platform.
    pub(super) fn platform(&self) -> &Platform {
        &self.platform
    }
}

impl Platform {
    /// Returns the nodes' platform: `linux/amd64`.
    pub(super) fn of_nodes() -> String {
        format!("linux/{}", Arch::default())
    }

    /// Returns true if images of the platform run on the nodes. What the image does not say is taken to be the nodes', as
    /// Docker takes it to be the engine's.
    pub(super) fn fits(&self) -> bool {
        self.to_string() == Platform::of_nodes()
    }

    /// Returns true for an image that any processor of the architecture runs; others are for newer ones.
    pub(super) fn is_common(&self) -> bool {
        ["", "v1", "v8"].contains(&self.variant.as_str())
    }

    /// Returns true for the platform by which attestations are told from images (BuildKit, `attestation-storage.md`).
    pub(super) fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }
}

impl std::fmt::Display for Platform {
    /// Writes `OS/ARCHITECTURE`, with Go's names as containerd normalizes them.
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (os, architecture) = (self.os.to_lowercase(), self.architecture.to_lowercase());
        let ours = Arch::default().to_string();
        let os = if os.is_empty() { "linux" } else { &os };
        let architecture = match architecture.as_str() {
            "" => &ours,
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        write!(to, "{os}/{architecture}")
    }
}

/// Reads `null` as the default, as Go writes lists without elements.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> ImageConfig {
        ImageConfig::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn what_a_config_leaves_out_is_the_nodes() {
        for text in [
            "{}",
            r#"{"os": "linux"}"#,
            r#"{"os": "", "architecture": null, "rootfs": null}"#,
            r#"{"rootfs": {"type": "layers"}, "config": null}"#,
            r#"{"rootfs": {"type": "layers", "diff_ids": null}, "history": 5}"#,
        ] {
            let config = config(text);
            assert!(config.platform().fits() && config.diff_ids().is_empty(), "{text}");
        }
        let foreign = config(r#"{"architecture": "s390x", "os": "linux", "rootfs": {"diff_ids": ["sha256:0"]}}"#);
        assert_eq!((foreign.platform().fits(), foreign.diff_ids().len()), (false, 1));
        assert_eq!(foreign.platform().to_string(), "linux/s390x");
        assert!(!config(r#"{"os": "windows"}"#).platform().fits());
        for text in ["", "[]", "{\"os\": 5}", "{\"rootfs\": {\"diff_ids\": [1]}}"] {
            assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_processors_are_those_of_containerd() {
        let ours = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
        assert!(config(&format!(r#"{{"os": "Linux", "architecture": "{ours}"}}"#)).platform().fits());
    }
}
