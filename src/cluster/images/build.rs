//! `kcl image build`: BuildKit in the cluster stores images directly on its node; the other nodes get what they lack.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use kcl_driver_api::Machine;

use super::exchange::locate;
use super::{LoadedImage, connect, distribute, machines, push_image};
use crate::app::App;
use crate::artifacts::Artifacts;
use crate::cluster::addons::{AddonOptions, enable, info};
use crate::cluster::interrupt::interruptible;
use crate::error::{Error, Family, Result};
use crate::images::forward::Forward;
use crate::images::reference::normalize;
use crate::images::send::wait_visible;

/// The name of the addon, and of the artifact with its client.
const ADDON: &str = "buildkit";

/// The path of BuildKit's socket on its node, the first of the cluster.
pub const SOCKET: &str = "/run/buildkit/buildkitd.sock";

/// The options of a build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The directory that the Dockerfile copies from.
    pub context: PathBuf,
    /// The names of the image.
    pub names: Vec<String>,
    /// The Dockerfile; none: the one in the context.
    pub file: Option<PathBuf>,
    /// The build arguments, as `KEY=VALUE`; without a value, the variable of kcl's own environment counts.
    pub args: Vec<String>,
    /// The stage to build.
    pub target: Option<String>,
    /// The results of earlier builds are not used.
    pub no_cache: bool,
    /// Base images are looked up in their registries, even if the node has them.
    pub pull: bool,
    /// The secrets, as `id=…,src=…` in BuildKit's syntax.
    pub secrets: Vec<String>,
    /// The style of progress output: `auto`, `plain` or `quiet`.
    pub progress: String,
    /// The image is also pushed to its registry.
    pub push: bool,
}

/// Builds an image and brings it to all nodes.
pub async fn build_image(
    app: &App,
    cluster: &str,
    request: &BuildRequest,
    options: &AddonOptions,
) -> Result<Vec<LoadedImage>> {
    let names: Vec<String> = request.names.iter().map(|name| normalize(name)).collect::<Result<_>>()?;
    let [first, ..] = names.as_slice() else {
        return Err(Error::new(Family::Usage, "the image has no name").hint("name it with: -t app:1"));
    };
    let dockerfile = dockerfile(request)?;
    let all = machines(app, cluster, &[]).await?;
    if !info(app, cluster, ADDON)?.enabled {
        app.progress
            .info("The cluster gets BuildKit, as this is its first build (kcl addons disable buildkit removes it)");
        enable(app, cluster, &[ADDON.to_owned()], options).await?;
    }
    let artifacts = Artifacts::open(&app.store.paths().cache, options.artifacts.clone())?;
    let client = artifacts.tool(ADDON, "buildctl", &options.way, &app.progress).await?;
    let builder: Arc<dyn Machine> = Arc::from(all.into_iter().next().expect("a cluster has a node"));
    let builder_name = builder.name().to_owned();
    let work = async {
        run(&client, builder, request, &names, &dockerfile).await?;
        let mut nodes = connect(app, cluster, &[]).await?;
        let mut built = None;
        let others = nodes.split_off(1);
        for (index, name) in names.iter().enumerate() {
            let found = locate(&nodes, name).await?;
            let missing = || {
                Error::new(
                    Family::Cluster,
                    format!("BuildKit has built {name}, and node {builder_name} does not have it"),
                )
            };
            let (node, image) = found.ok_or_else(missing)?;
            wait_visible(&node, name, image.id()).await?;
            if index == 0 {
                built = Some(image);
            }
        }
        let mut image = built.expect("there is a first name");
        image.names.clone_from(&names);
        let mut loaded = if others.is_empty() {
            LoadedImage {
                id: image.id().to_owned(),
                repo_tags: names.clone(),
                size: image.size(),
                nodes: BTreeMap::new(),
            }
        } else {
            distribute(app, &others, &image).await?
        };
        loaded.nodes.insert(builder_name.clone(), crate::images::send::Sent { sent: 0, present: image.size() });
        Ok(loaded)
    };
    let loaded = interruptible(work).await?;
    if request.push {
        push_image(app, cluster, first, &[]).await?;
    }
    Ok(vec![loaded])
}

/// Returns the directory of the Dockerfile, and its name there.
fn dockerfile(request: &BuildRequest) -> Result<(PathBuf, String)> {
    let context = &request.context;
    if !context.is_dir() {
        return Err(Error::new(
            Family::Usage,
            format!("{} is no directory: an image is built from one", context.display()),
        ));
    }
    let path = request.file.clone().unwrap_or_else(|| context.join("Dockerfile"));
    if !path.is_file() {
        return Err(Error::new(Family::Usage, format!("there is no {}", path.display()))
            .hint("name the Dockerfile with: -f FILE"));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((directory.to_owned(), name))
}

async fn run(
    client: &Path,
    builder: Arc<dyn Machine>,
    request: &BuildRequest,
    names: &[String],
    (directory, file): &(PathBuf, String),
) -> Result<()> {
    let failed = |error: std::io::Error| Error::new(Family::Host, format!("a socket cannot be made: {error}"));
    let sockets = tempfile::Builder::new().prefix("kcl-").tempdir().map_err(failed)?;
    let forward = Forward::open(&sockets.path().join("b.sock"), builder, SOCKET)?;
    let mut command = tokio::process::Command::new(client);
    command.arg("--addr").arg(forward.url()).args(["build", "--frontend", "dockerfile.v0"]);
    command.arg("--local").arg(format!("context={}", request.context.display()));
    command.arg("--local").arg(format!("dockerfile={}", directory.display()));
    command.arg("--opt").arg(format!("filename={file}"));
    command.arg("--opt").arg(format!("image-resolve-mode={}", if request.pull { "pull" } else { "local" }));
    for argument in &request.args {
        let argument = match argument.split_once('=') {
            Some(_) => argument.clone(),
            None => format!("{argument}={}", std::env::var(argument).unwrap_or_default()),
        };
        command.arg("--opt").arg(format!("build-arg:{argument}"));
    }
    if let Some(target) = &request.target {
        command.arg("--opt").arg(format!("target={target}"));
    }
    for secret in &request.secrets {
        command.arg("--secret").arg(secret);
    }
    if request.no_cache {
        command.arg("--no-cache");
    }
    // An image that goes to no registry is not compressed: that would cost more time than it saves.
    let compression = if request.push { "gzip" } else { "uncompressed" };
    command.arg("--output").arg(format!(
        "type=image,\"name={}\",unpack=true,oci-mediatypes=true,compression={compression}",
        names.join(",")
    ));
    let progress = match request.progress.as_str() {
        "quiet" => "none",
        other => other,
    };
    command.arg("--progress").arg(progress);
    // kcl's stdout is for data, so BuildKit's output goes to stderr.
    command.stdin(Stdio::null()).stdout(std::io::stderr()).kill_on_drop(true);
    let unable = |error| Error::new(Family::Artifact, format!("{} cannot be run: {error}", client.display()));
    let status = command.status().await.map_err(unable)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(Family::Cluster, format!("{} could not be built: why is said above", names.join(", ")))
        .hint("a base image that no registry in reach has is taken from the nodes: kcl image load debian:12")
        .hint("see how BuildKit is with: kcl kubectl -- -n kcl-buildkit logs deployment/buildkit"))
}
