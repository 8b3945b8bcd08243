//! An image of one layer out of the archive of a root file system.

use std::path::Path;

use oci_spec::image as spec;

use super::docker;
use super::files::{Files, blocking};
use crate::error::{Error, Family, Result};
use crate::images::image::{Blob, Data, Image};

/// How an image is run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The program.
    pub entrypoint: Vec<String>,
    /// Its arguments, or the whole command.
    pub cmd: Vec<String>,
    /// Variables: `KEY=VALUE`.
    pub env: Vec<String>,
    /// The directory that it begins in.
    pub workdir: Option<String>,
    /// The user: a name or number, also with a group.
    pub user: Option<String>,
    /// Ports that it listens on: `80`, `53/udp`.
    pub expose: Vec<String>,
}

/// The image of an archive (`-`: standard input), with this whole name.
pub async fn image(word: &str, name: String, run: Run, scratch: &Path) -> Result<Image> {
    let path = Path::new(word);
    let files = match word {
        "-" => Files::of_stream(std::io::stdin(), "standard input", scratch).await?,
        _ if path.is_file() => Files::of_archive(path, scratch).await?,
        _ => {
            return Err(Error::new(Family::Usage, format!("there is no file {word}")).hint(
                "a root file system is imported from a tar archive, compressed or not, or - for standard input",
            ));
        }
    };
    if files.has("manifest.json") || files.has("oci-layout") {
        return Err(Error::new(
            Family::Usage,
            format!("{} is an archive of an image, not of a root file system", files.name),
        )
        .hint(format!("load it with: kcl image load {word}")));
    }
    let Some((file, size)) = files.archive() else {
        return Err(Error::new(Family::Internal, "a directory is no archive"));
    };
    let mut layer = docker::plain_layer(Data::Part(file, 0), size, "");
    let layer = blocking(move || {
        let unreadable = |error| Error::new(Family::Artifact, format!("{} cannot be read: {error}", files.name));
        layer.descriptor.digest = layer.digest_here().map_err(unreadable)?;
        Ok(layer)
    })
    .await?;
    let config = configuration(&layer, run)?;
    docker::assemble(vec![name], config.into(), vec![layer])
}

fn configuration(layer: &Blob, run: Run) -> Result<Vec<u8>> {
    let invalid = |error: oci_spec::OciSpecError| {
        Error::new(Family::Internal, format!("an image is not as the OCI image specification has it: {error}"))
    };
    let mut config = spec::ConfigBuilder::default();
    if !run.entrypoint.is_empty() {
        config = config.entrypoint(run.entrypoint);
    }
    if !run.cmd.is_empty() {
        config = config.cmd(run.cmd);
    }
    if !run.expose.is_empty() {
        let whole = |port: String| if port.contains('/') { port } else { format!("{port}/tcp") };
        config = config.exposed_ports(run.expose.into_iter().map(whole).collect::<Vec<_>>());
    }
    if let Some(user) = run.user {
        config = config.user(user);
    }
    let mut env = run.env;
    if !env.iter().any(|one| one.starts_with("PATH=")) {
        env.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    }
    let config = config.env(env).working_dir(run.workdir.unwrap_or_else(|| "/".to_owned())).build().map_err(invalid)?;
    let rootfs = spec::RootFsBuilder::default()
        .typ("layers".to_owned())
        .diff_ids(vec![layer.descriptor.digest.clone()])
        .build()
        .map_err(invalid)?;
    let whole = spec::ImageConfigurationBuilder::default()
        // The same archive makes the same image.
        .created("1970-01-01T00:00:00Z".to_owned())
        .architecture(spec::Arch::default())
        .os(spec::Os::Linux)
        .config(config)
        .rootfs(rootfs)
        .build()
        .map_err(invalid)?;
    serde_json::to_vec(&whole)
        .map_err(|error| Error::new(Family::Internal, format!("an image cannot be described: {error}")))
}
