//! Generates kcl's clients of containerd's API and of the CRI: `make containerd-api`. The definitions come from the Go
//! modules that containerd itself is built with, by their checksums in `images/components/containerd/go.sum`. Only the
//! methods that kcl calls, and the messages that they need, are kept.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

const COMPONENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../components/containerd");
const OUTPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/images/containerd/api");

/// The definitions, each with the Go module that contains it.
const FILES: &[(&str, &str)] = &[
    ("github.com/containerd/containerd/api", "services/content/v1/content.proto"),
    ("github.com/containerd/containerd/api", "services/diff/v1/diff.proto"),
    ("github.com/containerd/containerd/api", "services/images/v1/images.proto"),
    ("github.com/containerd/containerd/api", "services/leases/v1/leases.proto"),
    ("github.com/containerd/containerd/api", "services/snapshots/v1/snapshots.proto"),
    ("github.com/containerd/containerd/api", "services/streaming/v1/streaming.proto"),
    ("github.com/containerd/containerd/api", "services/transfer/v1/transfer.proto"),
    ("github.com/containerd/containerd/api", "types/transfer/imagestore.proto"),
    ("github.com/containerd/containerd/api", "types/transfer/registry.proto"),
    ("k8s.io/cri-api", "pkg/apis/runtime/v1/api.proto"),
];

/// The methods that kcl calls.
const METHODS: &[&str] = &[
    "containerd.services.content.v1.Content/Abort",
    "containerd.services.content.v1.Content/Info",
    "containerd.services.content.v1.Content/Read",
    "containerd.services.content.v1.Content/Update",
    "containerd.services.content.v1.Content/Write",
    "containerd.services.diff.v1.Diff/Apply",
    "containerd.services.images.v1.Images/Create",
    "containerd.services.images.v1.Images/Delete",
    "containerd.services.images.v1.Images/Get",
    "containerd.services.images.v1.Images/List",
    "containerd.services.images.v1.Images/Update",
    "containerd.services.leases.v1.Leases/AddResource",
    "containerd.services.leases.v1.Leases/Create",
    "containerd.services.leases.v1.Leases/Delete",
    "containerd.services.snapshots.v1.Snapshots/Commit",
    "containerd.services.snapshots.v1.Snapshots/Prepare",
    "containerd.services.snapshots.v1.Snapshots/Remove",
    "containerd.services.snapshots.v1.Snapshots/Stat",
    "containerd.services.streaming.v1.Streaming/Stream",
    "containerd.services.transfer.v1.Transfer/Transfer",
    "runtime.v1.ImageService/ImageStatus",
    "runtime.v1.ImageService/ListImages",
    "runtime.v1.ImageService/PullImage",
    "runtime.v1.ImageService/RemoveImage",
];

/// The messages that methods take as `Any`.
const MESSAGES: &[&str] = &[
    ".containerd.services.streaming.v1.StreamInit",
    ".containerd.types.transfer.AuthResponse",
    ".containerd.types.transfer.ImageStore",
    ".containerd.types.transfer.OCIRegistry",
];

/// Fields that kcl leaves empty, and that would need many more messages.
const OMITTED: &[&str] = &[
    ".containerd.types.transfer.ImageStore.extra_references",
    ".containerd.types.transfer.ImageStore.platforms",
    ".containerd.types.transfer.ImageStore.unpacks",
    ".runtime.v1.PullImageRequest.sandbox_config",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut includes = BTreeSet::new();
    for (module, _) in FILES {
        includes.insert(directory(module)?);
    }
    let mut set = protox::compile(FILES.iter().map(|(_, file)| file), &includes)?;
    prune(&mut set);
    for entry in std::fs::read_dir(OUTPUT)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "mod.rs") {
            std::fs::remove_file(path)?;
        }
    }
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .compile_well_known_types(true)
        .extern_path(".google.protobuf.Empty", "()")
        .bytes(".containerd.services.content.v1")
        .out_dir(Path::new(OUTPUT))
        .compile_fds(set)?;
    Ok(())
}

/// Returns the directory of a Go module, which is downloaded and verified if it is missing.
fn directory(module: &str) -> Result<PathBuf, Box<dyn Error>> {
    let go = |arguments: &[&str]| {
        Command::new("go").args(arguments).arg(module).current_dir(COMPONENT).stderr(Stdio::inherit()).output()
    };
    go(&["mod", "download"])?;
    let output = go(&["list", "-m", "-f={{.Dir}}"])?;
    match String::from_utf8(output.stdout)?.trim() {
        "" => Err(format!("the Go module {module} is missing").into()),
        directory => Ok(directory.into()),
    }
}

/// Removes the methods that kcl does not call, the omitted fields, and the types that nothing needs then.
fn prune(set: &mut FileDescriptorSet) {
    for file in &mut set.file {
        let package = file.package().to_owned();
        for message in &mut file.message_type {
            let prefix = format!(".{package}.{}", message.name());
            message.field.retain(|field| !OMITTED.contains(&format!("{prefix}.{}", field.name()).as_str()));
        }
    }
    let mut needed = BTreeSet::new();
    let mut pending: Vec<String> = MESSAGES.iter().map(|name| (*name).to_owned()).collect();
    for file in &mut set.file {
        let package = file.package().to_owned();
        for service in &mut file.service {
            let prefix = format!("{package}.{}", service.name());
            service.method.retain(|method| METHODS.contains(&format!("{prefix}/{}", method.name()).as_str()));
            let types = service.method.iter().flat_map(|method| [method.input_type(), method.output_type()]);
            pending.extend(types.map(str::to_owned));
        }
        file.service.retain(|service| !service.method.is_empty());
        file.extension.clear();
        // Comments are found by positions, which no longer fit.
        file.source_code_info = None;
    }
    while let Some(name) = pending.pop() {
        if needed.insert(name.clone()) {
            pending.extend(set.file.iter().flat_map(|file| references(file, &name)));
        }
    }
    for file in &mut set.file {
        let prefix = format!(".{}", file.package());
        file.message_type.retain(|message| needed.contains(&format!("{prefix}.{}", message.name())));
        file.enum_type.retain(|one| needed.contains(&format!("{prefix}.{}", one.name())));
    }
    set.file.retain(|file| !(file.message_type.is_empty() && file.enum_type.is_empty() && file.service.is_empty()));
}

/// Returns the types that the fields of a message refer to.
fn references(file: &FileDescriptorProto, name: &str) -> Vec<String> {
    let prefix = format!(".{}", file.package());
    let messages = file.message_type.iter().filter(|message| format!("{prefix}.{}", message.name()) == name);
    messages.flat_map(fields).collect()
}

fn fields(message: &DescriptorProto) -> Vec<String> {
    let own = message.field.iter().filter_map(|field| field.type_name.clone());
    own.chain(message.nested_type.iter().flat_map(fields)).collect()
}
