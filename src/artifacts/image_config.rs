//! The configuration of an image of one layer (OCI image specification).

use oci_spec::image as spec;
use serde::Deserialize;

use crate::error::{Error, Id, Result};

/// The configuration of an image's containers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// The program to run.
    pub entrypoint: Vec<String>,
    /// Its arguments, or the whole command.
    pub cmd: Vec<String>,
    /// Its environment variables: `KEY=VALUE`.
    pub env: Vec<String>,
    /// The user: a name or number, also with a group.
    pub user: Option<String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// The ports that it listens on: `80`, `53/udp`.
    pub exposed: Vec<String>,
}

impl ImageConfig {
    /// Returns the configuration of an image with one layer, given the digest (`sha256:…`) of the uncompressed layer.
    /// The result is reproducible.
    pub fn of_layer(&self, diff_id: &str) -> Result<spec::ImageConfiguration> {
        let mut config = spec::ConfigBuilder::default();
        if !self.entrypoint.is_empty() {
            config = config.entrypoint(self.entrypoint.clone());
        }
        if !self.cmd.is_empty() {
            config = config.cmd(self.cmd.clone());
        }
        if !self.exposed.is_empty() {
            let whole = |port: &String| if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
            config = config.exposed_ports(self.exposed.iter().map(whole).collect::<Vec<_>>());
        }
        if let Some(user) = &self.user {
            config = config.user(user.clone());
        }
        let mut env = self.env.clone();
        if !env.iter().any(|one| one.starts_with("PATH=")) {
            env.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        }
        let working_dir = self.working_dir.clone().unwrap_or_else(|| "/".to_owned());
        let config = config.env(env).working_dir(working_dir).build().map_err(invalid)?;
        let layers = spec::RootFsBuilder::default()
            .typ("layers".to_owned())
            .diff_ids(vec![diff_id.to_owned()])
            .build()
            .map_err(invalid)?;
        spec::ImageConfigurationBuilder::default()
            .created("1970-01-01T00:00:00Z".to_owned())
            .architecture(spec::Arch::default())
            .os(spec::Os::Linux)
            .config(config)
            .rootfs(layers)
            .build()
            .map_err(invalid)
    }
}

/// Returns the error for an image that the specification does not allow.
pub(super) fn invalid(error: oci_spec::OciSpecError) -> Error {
    Error::new(Id::Internal, format!("an image violates the OCI image specification: {error}"))
}
