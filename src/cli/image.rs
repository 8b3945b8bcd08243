//! `kcl image`

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::artifacts::Source;
use super::output::{self, Output};
use crate::app::App;
use crate::artifacts::image_config::ImageConfig;
use crate::cluster::{self, AddonOptions, BuildRequest, LoadedImage};
use crate::error::Result;
use crate::images::list::ImageRow;
use crate::images::meter::size;
use crate::images::reference::{familiar, split_tag};

/// The subcommands of `image`.
#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Load images into the nodes; only missing layers are sent
    Load(Load),
    /// List the images of the nodes
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Remove images from the nodes
    #[command(visible_alias = "remove")]
    Rm(Rm),
    /// Give an image of the nodes another name
    Tag(Tag),
    /// Build an image from a Dockerfile with BuildKit in the cluster; no Docker is needed
    Build(Box<Build>),
    /// Write images of the nodes to an archive
    Save(Save),
    /// Make an image from the archive of a root file system
    Import(Box<Import>),
    /// Pull images from their registries into the nodes
    Pull(Rm),
    /// Push an image from a node to its registry
    Push(Push),
    /// Run a command or a shell in which ctr, nerdctl, crictl and buildctl talk to a node
    Env(Env),
}

/// The options of `image load`.
#[derive(clap::Args)]
pub(super) struct Load {
    /// An archive (of docker save, or OCI), a directory in the OCI image layout, - for standard input, or the name of an
    /// image in Docker or Podman
    #[arg(required = true, value_name = "IMAGE|FILE|DIRECTORY|-")]
    sources: Vec<String>,

    /// A new name for the image
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    nodes: Nodes,

    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The choice of nodes.
#[derive(clap::Args)]
pub(super) struct Nodes {
    /// Only these nodes [default: all]
    #[arg(long, value_name = "NODE,…", value_delimiter = ',')]
    nodes: Vec<String>,
}

/// The options of `image ls`.
#[derive(clap::Args)]
pub(super) struct Ls {
    #[command(flatten)]
    nodes: Nodes,

    /// The format of the output
    #[arg(short, long, visible_alias = "format", value_enum, default_value_t)]
    output: Output,
}

/// The options of `image rm` and `image pull`.
#[derive(clap::Args)]
pub(super) struct Rm {
    /// The names or IDs of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,

    #[command(flatten)]
    nodes: Nodes,
}

/// The options of `image build`.
#[derive(clap::Args)]
pub(super) struct Build {
    /// The context that the Dockerfile copies from: a directory, a tar archive, - for an archive or a Dockerfile from
    /// standard input, or the address of a Git repository or an archive
    #[arg(default_value = ".", value_name = "PATH|URL|-")]
    context: String,

    /// A name for the image; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,

    /// The Dockerfile, or - for standard input [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE|-")]
    file: Option<PathBuf>,

    /// A value for an ARG; without =VALUE, the value of the environment variable
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,

    /// A label of the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,

    /// The stage to build
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// Do not use the build cache
    #[arg(long)]
    no_cache: bool,

    /// Look for base images in their registries even if the node has them
    #[arg(long)]
    pull: bool,

    /// A secret for RUN --mount=type=secret, such as id=token,src=token.txt
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<String>,

    /// A cache to use, such as type=local,src=DIRECTORY; a name alone is one in a registry
    #[arg(long, value_name = "CACHE")]
    cache_from: Vec<String>,

    /// A cache to write, such as type=local,dest=DIRECTORY
    #[arg(long, value_name = "CACHE")]
    cache_to: Vec<String>,

    /// Also push the image to its registry
    #[arg(long)]
    push: bool,

    /// The format of the build log
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = ["auto", "plain", "quiet"])]
    progress: String,

    #[command(flatten)]
    source: Source,

    /// The result, such as DIRECTORY, - or type=oci,dest=FILE, instead of an image in the nodes (type=docker); or the
    /// format of the output: text or json
    #[arg(short, long, value_name = "RESULT|FORMAT")]
    output: Vec<String>,
}

/// The options of `image save`.
#[derive(clap::Args)]
pub(super) struct Save {
    /// The images; the last may be the archive, such as app.tar
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,

    /// The archive [default: standard output]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    nodes: Nodes,
}

/// The options of `image import`.
#[derive(clap::Args)]
pub(super) struct Import {
    /// A tar archive, compressed or not; - for standard input
    #[arg(value_name = "FILE|-")]
    archive: String,

    /// The image's name
    #[arg(short, long, required = true, value_name = "NAME")]
    name: String,

    /// The command to run: ["nginx", "-g", "daemon off;"] as in a Dockerfile, or a line for /bin/sh
    #[arg(long, value_name = "COMMAND")]
    cmd: Option<String>,

    /// The program that always runs, with --cmd as its arguments, in the same two ways
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,

    /// An environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// The working directory
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<String>,

    /// The user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// A port to expose
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    expose: Vec<String>,

    #[command(flatten)]
    nodes: Nodes,

    /// The format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The options of `image push`.
#[derive(clap::Args)]
pub(super) struct Push {
    /// The image; its name includes the registry
    image: String,

    #[command(flatten)]
    nodes: Nodes,
}

/// The options of `image env`.
#[derive(clap::Args)]
pub(super) struct Env {
    /// The node [default: the first]
    #[arg(short, long)]
    node: Option<String>,

    /// The command [default: a shell]
    #[arg(last = true)]
    command: Vec<String>,
}

/// The options of `image tag`.
#[derive(clap::Args)]
pub(super) struct Tag {
    /// The image
    source: String,

    /// The new name
    target: String,

    #[command(flatten)]
    nodes: Nodes,
}

/// Runs the subcommand.
pub(super) async fn run(app: &App, profile: &str, verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Load(Load { sources, name, nodes, output }) => {
            let loaded = cluster::load_images(app, profile, sources, name.as_deref(), &nodes.nodes).await?;
            shown(&loaded, *output)?;
        }
        Verb::Ls(Ls { nodes, output }) => {
            let rows = cluster::list_images(app, profile, &nodes.nodes).await?;
            match output {
                Output::Json => output::json(&rows)?,
                Output::Text => table(rows),
            }
        }
        Verb::Rm(Rm { images, nodes }) => {
            let missing = cluster::remove_images(app, profile, images, &nodes.nodes).await?;
            for image in images {
                let happened = if missing.contains(image) { "No node has the image" } else { "Removed" };
                app.progress.info(format!("{happened} {image}"));
            }
        }
        Verb::Tag(Tag { source, target, nodes }) => {
            let count = cluster::tag_image(app, profile, source, target, &nodes.nodes).await?;
            let nodes = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
            app.progress.info(format!("{source} is now also {target} on {nodes}"));
        }
        Verb::Build(build) => {
            let options =
                AddonOptions { artifacts: build.source.options(), way: build.source.way(None), wait_timeout: READY };
            let loaded = cluster::build_image(app, profile, &build.request(), &options).await?;
            shown(&loaded, build.format())?;
        }
        Verb::Save(Save { images, file, nodes }) => {
            cluster::save_images(app, profile, images, file.as_deref(), &nodes.nodes).await?;
        }
        Verb::Import(import) => {
            let run = ImageConfig {
                entrypoint: words(import.entrypoint.as_deref()),
                cmd: words(import.cmd.as_deref()),
                env: import.env.clone(),
                user: import.user.clone(),
                working_dir: import.workdir.clone(),
                exposed: import.expose.clone(),
            };
            let nodes = &import.nodes.nodes;
            let loaded = cluster::import_image(app, profile, &import.archive, &import.name, &run, nodes).await?;
            shown(&[loaded], import.output)?;
        }
        Verb::Pull(Rm { images, nodes }) => cluster::pull_images(app, profile, images, &nodes.nodes).await?,
        Verb::Push(Push { image, nodes }) => cluster::push_image(app, profile, image, &nodes.nodes).await?,
        Verb::Env(Env { node, command }) => {
            let status = cluster::image_env(app, profile, node.as_deref(), command).await?;
            let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(255);
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(255)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The time for BuildKit to get ready at the first build.
const READY: Duration = Duration::from_secs(360);

impl Build {
    /// Returns the format of the output; the other values of `--output` are results.
    fn format(&self) -> Output {
        self.output.iter().find_map(|word| format(word)).unwrap_or_default()
    }

    fn request(&self) -> BuildRequest {
        BuildRequest {
            context: self.context.clone(),
            names: self.tags.clone(),
            file: self.file.clone(),
            args: self.build_args.clone(),
            labels: self.labels.clone(),
            cache_from: self.cache_from.clone(),
            cache_to: self.cache_to.clone(),
            outputs: self.output.iter().filter(|word| format(word).is_none()).cloned().collect(),
            target: self.target.clone(),
            no_cache: self.no_cache,
            pull: self.pull,
            secrets: self.secrets.clone(),
            progress: self.progress.clone(),
            push: self.push,
        }
    }
}

/// Returns the format that a value of `--output` names.
fn format(word: &str) -> Option<Output> {
    <Output as clap::ValueEnum>::from_str(word, false).ok()
}

/// Splits a command into words: a JSON list, as in a Dockerfile, or a line for a shell.
fn words(command: Option<&str>) -> Vec<String> {
    match command {
        None => Vec::new(),
        Some(text) => {
            serde_json::from_str(text).unwrap_or_else(|_| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
        }
    }
}

fn shown(loaded: &[LoadedImage], output: Output) -> Result<()> {
    match output {
        Output::Json => output::json(&loaded),
        Output::Text => Ok(()),
    }
}

fn table(rows: Vec<ImageRow>) {
    let lines = rows.into_iter().flat_map(|row| {
        let id: String = row.id.trim_start_matches("sha256:").chars().take(12).collect();
        let size = size(row.size.parse().unwrap_or_default());
        let nodes = row.nodes.join(" ");
        let names = if row.repo_tags.is_empty() { vec!["<none>:<none>".to_owned()] } else { row.repo_tags };
        names.into_iter().map(move |name| {
            let (repository, tag) = split_tag(familiar(&name));
            [repository.to_owned(), tag.to_owned(), id.clone(), size.clone(), nodes.clone()]
        })
    });
    output::table(["IMAGE", "TAG", "ID", "SIZE", "NODES"], lines);
}
