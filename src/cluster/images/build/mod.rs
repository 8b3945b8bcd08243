//! `kcl image build`: BuildKit in the cluster stores images directly on its node; the other nodes get what they lack.

mod context;
mod dockerfile;
mod output;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use kcl_driver_api::Machine;
use kcl_node_spec::Proxy;
use serde::Deserialize;

use super::exchange::locate;
use super::{LoadedImage, connect, distribute_from, machines, push_image, scratch};
use crate::app::App;
use crate::artifacts::Artifacts;
use crate::cluster::addons::{AddonOptions, enable, info};
use crate::cluster::interrupt::interruptible;
use crate::error::{Error, Id, Result};
use crate::images::containerd::Containerd;
use crate::images::forward::Forward;
use crate::images::reference::normalize;
use crate::images::send::wait_visible;
use crate::task::blocking;
use context::{Context, Local};
use output::{ImageOutput, Outputs};

/// The name of the addon, and of the artifact with its client.
const ADDON: &str = "buildkit";

/// The path of BuildKit's socket on its node, the first of the cluster.
pub(super) const SOCKET: &str = "/run/buildkit/buildkitd.sock";

/// The name, before its digest, of an image that was built without one.
const NAMELESS: &str = "kcl.local/build";

/// The options of a build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The context: a directory, an archive, `-` for standard input, or an address.
    pub context: String,
    /// The names of the image; without one it is found by its id.
    pub names: Vec<String>,
    /// The Dockerfile, or `-` for standard input; none: the one in the context.
    pub file: Option<PathBuf>,
    /// The build arguments, as `KEY=VALUE`; without a value, the variable of kcl's own environment counts.
    pub args: Vec<String>,
    /// The labels of the image, as `KEY=VALUE`.
    pub labels: Vec<String>,
    /// The stage to build.
    pub target: Option<String>,
    /// The results of earlier builds are not used.
    pub no_cache: bool,
    /// Base images are looked up in their registries, even if the node has them.
    pub pull: bool,
    /// The secrets, as `id=…,src=…` in BuildKit's syntax.
    pub secrets: Vec<String>,
    /// The caches to use, in the words of `docker buildx build`.
    pub cache_from: Vec<String>,
    /// The caches to write, in the same words.
    pub cache_to: Vec<String>,
    /// The results, in the same words; none: an image for the nodes.
    pub outputs: Vec<String>,
    /// The style of progress output: `auto`, `plain` or `quiet`.
    pub progress: String,
    /// The image is also pushed to its registry.
    pub push: bool,
}

/// The inputs and results of a build, checked before anything is done.
struct Build<'r> {
    request: &'r BuildRequest,
    context: Context,
    outputs: Outputs,
    /// The full names of the image.
    names: Vec<String>,
    cache_from: Vec<String>,
    cache_to: Vec<String>,
    push: bool,
    /// The variables of the nodes' proxy, for the commands of the Dockerfile.
    proxy: Vec<(&'static str, String)>,
}

/// The result of BuildKit's client (`--metadata-file`).
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(rename = "containerimage.digest", default)]
    digest: String,
}

impl<'r> Build<'r> {
    async fn prepare(request: &'r BuildRequest, scratch: PathBuf) -> Result<Self> {
        let normalized = |names: &[String]| names.iter().map(|name| normalize(name)).collect::<Result<Vec<_>>>();
        let mut names = normalized(&request.names)?;
        let outputs = Outputs::parse(&request.outputs, &names)?;
        let none = ImageOutput::default();
        let ImageOutput { names: more, push } = outputs.image.as_ref().unwrap_or(&none);
        names.extend(normalized(more)?);
        names.dedup();
        let push = *push || request.push;
        if push && names.is_empty() {
            return Err(Error::new(Id::ImageBuildInvalid, "an image without a name cannot be pushed")
                .hint("name it with: -t REGISTRY/NAME:TAG"));
        }
        let cache = |flag: &str, words: &[String]| -> Result<Vec<String>> {
            words.iter().map(|word| output::cache(flag, word)).collect()
        };
        let cache_from = cache("--cache-from", &request.cache_from)?;
        let cache_to = cache("--cache-to", &request.cache_to)?;
        // Standard input may take its time.
        let (word, file) = (request.context.clone(), request.file.clone());
        let context = blocking(move || Context::find(&word, file.as_deref(), &scratch)).await?;
        Ok(Build { request, context, outputs, names, cache_from, cache_to, push, proxy: Vec::new() })
    }

    /// Returns the arguments for BuildKit's client; the Dockerfile is copied to `directory`.
    fn arguments(&self, directory: &Path) -> Result<Vec<String>> {
        let mut arguments: Vec<String> = ["build", "--frontend", "dockerfile.v0"].map(str::to_owned).to_vec();
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        match &self.context {
            Context::Remote(address, file) => {
                add("--opt", format!("context={address}"));
                if let Some(file) = file {
                    add("--opt", format!("filename={}", file.display()));
                }
            }
            Context::Local(Local { directory: context, dockerfile, .. }) => {
                let write = || {
                    std::fs::write(directory.join(&dockerfile.name), &dockerfile.text)?;
                    let ignore = directory.join(format!("{}.dockerignore", dockerfile.name));
                    dockerfile.ignore.as_ref().map_or(Ok(()), |text| std::fs::write(ignore, text))
                };
                write().map_err(|error| {
                    Error::new(Id::FileUnwritable, format!("the Dockerfile cannot be copied: {error}"))
                })?;
                add("--local", format!("context={}", context.display()));
                add("--local", format!("dockerfile={}", directory.display()));
                add("--opt", format!("filename={}", dockerfile.name));
                let has_own = |argument: &String| argument.split('=').next() == Some("BUILDKIT_SYNTAX");
                if dockerfile.is_of_buildkit() && !self.request.args.iter().any(has_own) {
                    // BuildKit then takes its own front end, and does not pull the one that the file names.
                    add("--opt", "cmdline=docker/dockerfile:1".to_owned());
                }
            }
        }
        add("--opt", format!("image-resolve-mode={}", if self.request.pull { "pull" } else { "local" }));
        for argument in &self.request.args {
            // A variable that is not set leaves the default of ARG.
            if let Some(argument) = with_value(argument) {
                add("--opt", format!("build-arg:{argument}"));
            }
        }
        for (name, value) in &self.proxy {
            // BuildKit knows these without an ARG, and keeps them out of the image. The user's own count.
            let is_own = |own: &String| own.split('=').next().is_some_and(|own| own.eq_ignore_ascii_case(name));
            if !self.request.args.iter().any(is_own) {
                add("--opt", format!("build-arg:{name}={value}"));
            }
        }
        for label in &self.request.labels {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            add("--opt", format!("label:{key}={value}"));
        }
        if let Some(target) = &self.request.target {
            add("--opt", format!("target={target}"));
        }
        for secret in &self.request.secrets {
            add("--secret", secret.clone());
        }
        for cache in &self.cache_from {
            add("--import-cache", cache.clone());
        }
        for cache in &self.cache_to {
            add("--export-cache", cache.clone());
        }
        for output in &self.outputs.others {
            add("--output", output.clone());
        }
        if self.outputs.image.is_some() {
            // An image that goes to no registry is not compressed: that would cost more time than it saves.
            let compression = if self.push { "gzip" } else { "uncompressed" };
            let named = match self.names.as_slice() {
                [] => format!("dangling-name-prefix={NAMELESS}"),
                names => format!("\"name={}\"", names.join(",")),
            };
            add("--output", format!("type=image,{named},unpack=true,oci-mediatypes=true,compression={compression}"));
        }
        add("--progress", self.request.progress.clone());
        arguments.extend(self.request.no_cache.then(|| "--no-cache".to_owned()));
        Ok(arguments)
    }

    /// Returns the words for messages.
    fn title(&self) -> String {
        if self.names.is_empty() { self.request.context.clone() } else { self.names.join(", ") }
    }
}

/// Returns a build argument with its value, which is that of the environment if none is given.
fn with_value(argument: &str) -> Option<String> {
    match argument.split_once('=') {
        Some(_) => Some(argument.to_owned()),
        None => std::env::var(argument).ok().map(|value| format!("{argument}={value}")),
    }
}

/// Builds an image and brings it to all nodes.
pub async fn build_image(
    app: &App,
    cluster: &str,
    request: &BuildRequest,
    options: &AddonOptions,
) -> Result<Vec<LoadedImage>> {
    let all = machines(app, cluster, &[]).await?;
    let mut build = interruptible(Build::prepare(request, scratch(app))).await?;
    build.proxy = app.existing(cluster)?.proxy.iter().flat_map(Proxy::variables).collect();
    // Others can read arguments, and with them a password.
    build.proxy.retain(|(_, value)| !value.contains('@'));
    if !info(app, cluster, ADDON)?.enabled {
        app.progress
            .info("The cluster gets BuildKit, as this is its first build (kcl addons disable buildkit removes it)");
        enable(app, cluster, &[ADDON.to_owned()], options).await?;
    }
    let artifacts = Artifacts::open(&app.store.paths().cache, options.artifacts.clone())?;
    let client = artifacts.tool(ADDON, "buildctl", &options.way, &app.progress).await?;
    let builder: Arc<dyn Machine> = Arc::from(all.into_iter().next().expect("a cluster has a node"));
    let work = async {
        let metadata = run(&client, builder, &build).await?;
        if build.outputs.image.is_none() {
            return Ok(Vec::new());
        }
        let names = match build.names.as_slice() {
            [] => vec![format!("{NAMELESS}@{}", metadata.digest)],
            names => names.to_vec(),
        };
        Ok(vec![bring(app, cluster, &names).await?])
    };
    let loaded = interruptible(work).await?;
    if let ([], Some(image)) = (build.names.as_slice(), loaded.first()) {
        app.progress.info(format!("The image has no name; give it one with: kcl image tag {} app:1", image.id));
    }
    if let (true, Some(name)) = (build.push, build.names.first()) {
        push_image(app, cluster, name, &[]).await?;
    }
    Ok(loaded)
}

/// Brings an image that BuildKit has stored on its node, the first, to the others.
async fn bring(app: &App, cluster: &str, names: &[String]) -> Result<LoadedImage> {
    let mut nodes = connect(app, cluster, &[]).await?;
    let others = nodes.split_off(1);
    let builder = nodes[0].node.clone();
    let mut built = None;
    for name in names {
        let missing =
            || Error::new(Id::ImageBuild, format!("BuildKit has built {name}, and node {builder} does not have it"));
        let (node, image): (Containerd, _) = locate(&nodes, name).await?.ok_or_else(missing)?;
        wait_visible(&node, name, image.id()).await?;
        built = built.or(Some(image));
    }
    let mut image = built.expect("there is a first name");
    image.names = names.to_vec();
    distribute_from(app, nodes.first(), &others, &image).await
}

/// Runs BuildKit's client.
async fn run(client: &Path, builder: Arc<dyn Machine>, build: &Build<'_>) -> Result<Metadata> {
    let failed = |error: std::io::Error| Error::new(Id::FileUnwritable, format!("a socket cannot be made: {error}"));
    let directory = tempfile::Builder::new().prefix("kcl-").tempdir().map_err(failed)?;
    let forward = Forward::open(&directory.path().join("b.sock"), builder, SOCKET)?;
    let files = directory.path().join("dockerfile");
    std::fs::create_dir(&files).map_err(failed)?;
    let (metadata, reference) = (directory.path().join("metadata"), directory.path().join("ref"));
    let mut command = tokio::process::Command::new(client);
    command.arg("--addr").arg(forward.url()).args(build.arguments(&files)?);
    command.arg("--metadata-file").arg(&metadata).arg("--ref-file").arg(&reference);
    // kcl's stdout is for data, so BuildKit's output goes to stderr.
    command.stdin(Stdio::null()).kill_on_drop(true);
    match build.outputs.uses_stdout() {
        true => command.stdout(Stdio::inherit()),
        false => command.stdout(std::io::stderr()),
    };
    let unable = |error| Error::new(Id::ProgramUnusable, format!("{} cannot be run: {error}", client.display()));
    let status = command.status().await.map_err(unable)?;
    if status.success() {
        let text = std::fs::read(&metadata).unwrap_or_default();
        return Ok(serde_json::from_slice(&text).unwrap_or_default());
    }
    let error = Error::new(Id::ImageBuild, format!("{} could not be built: why is said above", build.title()));
    let reference = std::fs::read_to_string(&reference).unwrap_or_default();
    Err(match recorded(client, &forward, &reference).await {
        Some(why) if MISSING.iter().any(|part| why.contains(part)) => {
            error.hint("a base image that no registry in reach has is taken from the nodes: kcl image load debian:12")
        }
        Some(_) => error,
        None => error.hint("see how BuildKit is with: kcl kubectl -- -n kcl-buildkit logs deployment/buildkit"),
    })
}

/// Parts of BuildKit's errors about images that it could not get.
const MISSING: [&str; 2] = ["failed to resolve source metadata", "failed to do request"];

/// Returns the error that BuildKit has recorded for a build, if it ran.
async fn recorded(client: &Path, forward: &Forward, reference: &str) -> Option<String> {
    let reference = Some(reference.trim()).filter(|reference| !reference.is_empty())?;
    let mut command = tokio::process::Command::new(client);
    command.arg("--addr").arg(forward.url()).args(["debug", "histories", "--format", "{{json .}}"]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find(|line| line.contains(reference)).map(str::to_owned)
}
