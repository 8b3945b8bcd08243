//! How an image of one layer is run: the configuration of the OCI image specification.

use oci_spec::image as spec;
use serde::Deserialize;

use crate::error::{Error, Family, Result};

/// How an image is run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// The program.
    pub entrypoint: Vec<String>,
    /// Its arguments, or the whole command.
    pub cmd: Vec<String>,
    /// Variables: `KEY=VALUE`.
    pub env: Vec<String>,
    /// The user: a name or number, also with a group.
    pub user: Option<String>,
    /// The directory that it begins in.
    pub working_dir: Option<String>,
    /// Ports that it listens on: `80`, `53/udp`.
    pub exposed: Vec<String>,
}

impl ImageConfig {
    /// The configuration of an image with this layer, by the layer's `sha256:…` before it was compressed. The same layer
    /// makes the same configuration.
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

/// An image that the specification does not allow.
pub(super) fn invalid(error: oci_spec::OciSpecError) -> Error {
    Error::new(Family::Internal, format!("an image is not as the OCI image specification has it: {error}"))
}
