//! Layouts and archives as other tools write them, and as nobody should.

use std::path::Path;

use serde_json::{Value, json};

use super::files::Files;
use super::layout;
use crate::digest;
use crate::error::Result;
use crate::images::image::Image;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

const OURS: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// An OCI layout that is being written.
struct Layout(tempfile::TempDir);

impl Layout {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        std::fs::write(directory.path().join("oci-layout"), "{}").unwrap();
        Layout(directory)
    }

    fn blob(&self, media_type: &str, data: &[u8]) -> Value {
        let hex = digest::of_bytes(data);
        std::fs::write(self.0.path().join("blobs/sha256").join(&hex), data).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": data.len() })
    }

    fn json(&self, media_type: &str, data: &Value) -> Value {
        self.blob(media_type, data.to_string().as_bytes())
    }

    /// Writes an image whose config is `config` with its one layer added.
    fn image(&self, mut config: Value) -> Value {
        let layer = layer(&config.to_string());
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [sha256(&layer)] });
        self.json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "config": self.json(CONFIG, &config),
                "layers": [self.blob(LAYER, &layer)],
            }),
        )
    }

    fn platform(&self, architecture: &str) -> Value {
        let mut entry = self.image(json!({ "os": "linux", "architecture": architecture }));
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    }

    fn index(&self, entries: &[Value]) -> Value {
        self.json(INDEX, &json!({ "schemaVersion": 2, "manifests": entries }))
    }

    fn images(&self, entries: &[Value], name: Option<&str>) -> Result<Vec<Image>> {
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        std::fs::write(self.0.path().join("index.json"), index.to_string()).unwrap();
        layout::images(Files::of_directory(self.0.path(), Path::new("/nowhere")), name.map(str::to_owned))
    }

    /// Returns the names of the only image.
    #[track_caller]
    fn only(&self, entries: &[Value], name: Option<&str>) -> Vec<String> {
        let images = self.images(entries, name).unwrap();
        assert_eq!(images.len(), 1);
        images.into_iter().next().unwrap().names
    }

    #[track_caller]
    fn fails(&self, entries: &[Value], says: &str) {
        let Err(error) = self.images(entries, None) else { panic!("{says}: it is an image") };
        assert!(error.message.contains(says), "{says}: {error}");
    }
}

fn sha256(data: &[u8]) -> String {
    format!("sha256:{}", digest::of_bytes(data))
}

fn layer(text: &str) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "file", text.as_bytes());
    layer.into_inner().unwrap()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, data: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, data).unwrap();
}

fn named(mut entry: Value, name: &str) -> Value {
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    entry
}

#[test]
fn the_platform_of_the_nodes_is_chosen_wherever_it_stands() {
    let layout = Layout::new();
    let (other, ours) = (layout.platform("s390x"), layout.platform(OURS));
    let mut attestation = layout.image(json!({ "os": "unknown", "architecture": "unknown" }));
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    // Without a word about its platform, the config tells.
    let mut bare = ours.clone();
    bare.as_object_mut().unwrap().remove("platform");
    let mut untyped = bare.clone();
    untyped.as_object_mut().unwrap().remove("mediaType");
    let nested = layout.index(&[attestation.clone(), other.clone(), ours.clone()]);
    let twice = layout.index(std::slice::from_ref(&nested));
    let mut absent = other.clone();
    absent["digest"] = sha256(b"a blob that was not pulled").into();
    for (what, entries) in [
        ("flat", vec![other.clone(), ours.clone()]),
        ("flat, one named", vec![ours.clone(), other.clone()]),
        ("attested", vec![ours.clone(), attestation.clone()]),
        ("nested", vec![nested.clone()]),
        ("nested twice", vec![twice]),
        ("bare", vec![other.clone(), bare]),
        ("untyped", vec![untyped]),
        ("others absent", vec![layout.index(&[absent, ours.clone()])]),
    ] {
        let id = layout.only(&entries, None);
        assert!(id[0].starts_with("sha256:"), "{what}: {id:?}");
        assert_eq!(layout.only(&entries, Some("app:1")), ["app:1"], "{what}");
        let entries: Vec<Value> = entries.into_iter().map(|entry| named(entry, "me/app:1")).collect();
        if what != "attested" {
            assert_eq!(layout.only(&entries, None), ["docker.io/me/app:1"], "{what}");
        }
    }
    // The annotation of an attestation may be all that has no name.
    let entries = [named(ours.clone(), "me/app:1"), attestation.clone(), other.clone()];
    assert_eq!(layout.only(&entries, None), ["docker.io/me/app:1"]);
    layout.fails(&[named(other.clone(), "me/app:1")], "me/app:1");
    layout.fails(std::slice::from_ref(&other), "it has linux/s390x");
    layout.fails(&[layout.index(&[other])], "it has linux/s390x");
    layout.fails(&[attestation], "nothing but attestations");
    layout.fails(&[], "its index is empty");
}

#[test]
fn variants_of_a_processor_are_one_image() {
    let layout = Layout::new();
    let mut newer = layout.image(json!({ "os": "linux", "architecture": OURS, "variant": "v3" }));
    newer["platform"] = json!({ "os": "linux", "architecture": OURS, "variant": "v3" });
    let common = layout.platform(OURS);
    for entries in [[newer.clone(), common.clone()], [common.clone(), newer.clone()]] {
        let images = layout.images(&entries, Some("app:1")).unwrap();
        assert_eq!(
            (images.len(), &images[0].manifest.descriptor.digest),
            (1, &common["digest"].as_str().unwrap().into())
        );
    }
    assert_eq!(layout.images(&[newer], None).unwrap().len(), 1);
}

#[test]
fn names_are_found_and_missing_ones_are_ids() {
    let layout = Layout::new();
    let entry = layout.platform(OURS);
    let with = |key: &str, name: &str| {
        let mut entry = entry.clone();
        entry["annotations"] = json!({ key: name });
        entry
    };
    let (full, reference) = ("io.containerd.image.name", "org.opencontainers.image.ref.name");
    assert_eq!(layout.only(&[with(full, "docker.io/library/app:1")], None), ["docker.io/library/app:1"]);
    assert_eq!(layout.only(&[with(reference, "localhost/app:1")], None), ["localhost/app:1"]);
    let two = [with(full, "docker.io/library/app:1"), with(full, "docker.io/library/app:2")];
    assert_eq!(layout.only(&two, None), ["docker.io/library/app:1", "docker.io/library/app:2"]);
    let images = layout.images(&[with(reference, "latest")], None).unwrap();
    assert_eq!(images[0].names, [images[0].id()]);
    layout.fails(&[with(reference, "Not/A:name")], "index.json");
    assert_eq!(layout.only(&[with(reference, "Not/A:name")], Some("app:1")), ["app:1"]);
    let other = layout.image(json!({ "os": "linux", "architecture": OURS, "config": {} }));
    assert_eq!(layout.images(&[entry.clone(), other.clone()], None).unwrap().len(), 2);
    assert!(layout.images(&[entry, other], Some("app:1")).err().unwrap().message.contains("has 2 images"));
}

#[test]
fn what_configs_and_manifests_leave_out_is_no_error() {
    let layout = Layout::new();
    for config in [json!({}), json!({ "os": "linux" }), json!({ "os": "", "architecture": null })] {
        assert_eq!(layout.images(&[layout.image(config)], None).unwrap()[0].layers.len(), 1);
    }
    for (config, layers) in [(json!({}), json!([])), (json!({ "rootfs": { "diff_ids": null } }), Value::Null)] {
        let config = layout.json(CONFIG, &config);
        let entry = layout.json(MANIFEST, &json!({ "config": config, "layers": layers }));
        let images = layout.images(&[entry], None).unwrap();
        assert_eq!((images[0].layers.len(), images[0].chains().len()), (0, 0));
    }
}

#[test]
fn hostile_layouts_are_errors() {
    let layout = Layout::new();
    let entry = layout.platform(OURS);
    let mut deep = entry.clone();
    for _ in 0..5 {
        deep = layout.index(std::slice::from_ref(&deep));
    }
    layout.fails(&[deep], "more than 4 indexes");
    // An index that names the same one a thousand times is read once.
    let mut wide = entry.clone();
    for _ in 0..4 {
        wide = layout.index(&vec![wide; 1000]);
    }
    layout.only(&[wide], None);
    let with = |key: &str, value: Value| {
        let mut entry = entry.clone();
        entry[key] = value;
        entry
    };
    for digest in ["../../../etc/passwd", "sha256:../../../../etc/passwd", "sha512:00", "sha256:", ""] {
        layout.fails(&[with("digest", digest.into())], "is not a digest");
    }
    layout.fails(&[with("digest", sha256(b"nothing").into())], "is missing");
    let chart = layout.json("application/vnd.cncf.helm.config.v1+json", &json!({}));
    layout.fails(&[layout.json(MANIFEST, &json!({ "config": chart, "layers": [] }))], "artifacts of other kinds");
    let manifest = |size: Value| {
        let layer = layer("x");
        let config = json!({ "rootfs": { "diff_ids": [sha256(&layer)] } });
        let mut blob = layout.blob(LAYER, &layer);
        blob["size"] = size;
        layout.json(MANIFEST, &json!({ "config": layout.json(CONFIG, &config), "layers": [blob] }))
    };
    assert_eq!(layout.images(&[manifest(layer("x").len().into())], None).unwrap().len(), 1);
    for size in [json!(-1536), json!(i64::MIN), json!(i64::MAX), json!(7)] {
        layout.fails(&[manifest(size)], "bytes instead of");
    }
    for config in [json!({ "rootfs": { "diff_ids": [] } }), json!({ "rootfs": { "diff_ids": ["../x"] } })] {
        let layers = json!([layout.blob(LAYER, &layer("x"))]);
        layout
            .fails(&[layout.json(MANIFEST, &json!({ "config": layout.json(CONFIG, &config), "layers": layers }))], "");
    }
    let damaged = layout.blob(MANIFEST, b"{}");
    std::fs::write(layout.0.path().join("blobs/sha256").join(&damaged["digest"].as_str().unwrap()[7..]), "[]").unwrap();
    layout.fails(&[damaged], "has the digest");
}

/// Writes an archive as `docker save` did before Docker 25.
fn docker(layer: &[u8], diff_id: &[u8], tags: Value) -> Vec<u8> {
    let config = json!({ "rootfs": { "diff_ids": [sha256(diff_id)] } }).to_string();
    let path = format!("{}.json", digest::of_bytes(config.as_bytes()));
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "a/layer.tar", layer);
    for (kind, path, to) in [
        (tar::EntryType::Symlink, "b/layer.tar", "../a/layer.tar"),
        (tar::EntryType::Link, "c/layer.tar", "a/layer.tar"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        archive.append_link(&mut header, path, to).unwrap();
    }
    append(&mut archive, &path, config.as_bytes());
    let entry = |layer: &str| json!({ "Config": path, "RepoTags": tags, "Layers": [layer] });
    let manifest = json!([entry("a/layer.tar"), entry("b/layer.tar"), entry("c/layer.tar")]);
    append(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    archive.into_inner().unwrap()
}

async fn read(archive: Vec<u8>, name: Option<&str>) -> Result<Vec<Image>> {
    let scratch = tempfile::tempdir().unwrap();
    let files = Files::of_stream(std::io::Cursor::new(archive), "standard input", scratch.path()).await?;
    layout::images(files, name.map(str::to_owned))
}

#[tokio::test]
async fn layers_of_docker_may_be_links_or_compressed() {
    let plain = layer("text");
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    std::io::Write::write_all(&mut bzip2, &plain).unwrap();
    let bzip2 = bzip2.finish().unwrap();
    let zstd = zstd::encode_all(&*plain, 1).unwrap();
    for (how, packed, digest) in [("plain", &plain, &plain), ("bzip2", &bzip2, &plain), ("zstd", &zstd, &zstd)] {
        let images = read(docker(packed, &plain, json!(["app:1"])), None).await.unwrap();
        assert_eq!(images.len(), 3, "{how}");
        for image in images {
            assert_eq!(
                (image.names, &image.layers[0].descriptor.digest),
                (vec!["docker.io/library/app:1".to_owned()], &sha256(digest))
            );
        }
    }
    for tags in [Value::Null, json!([]), json!(["<none>:<none>"])] {
        let images = read(docker(&plain, &plain, tags), None).await.unwrap();
        assert_eq!(images[0].names, [images[0].id()]);
    }
    let error = read(docker(&plain, &plain, json!(["Not A Name"])), None).await.err().unwrap();
    assert!(error.message.contains("manifest.json"), "{error}");
}

#[tokio::test]
async fn no_damage_to_an_archive_is_more_than_an_error() {
    let whole = docker(&layer("text"), &layer("text"), json!(["app:1"]));
    // The numbers of a linear congruential generator (Knuth, MMIX), always the same.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..500 {
        let mut damaged = whole.clone();
        for _ in 0..=random(4) {
            let at = random(damaged.len());
            damaged[at] = u8::try_from(random(256)).unwrap();
        }
        damaged.truncate(damaged.len() - random(2) * random(whole.len()));
        // Whatever comes of it, it comes to an end.
        let _ = read(damaged, None).await;
    }
}

#[test]
fn directories_lead_nowhere_else() {
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("image");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(outer.path().join("config.json"), "{}").unwrap();
    let outside = outer.path().join("config.json");
    std::os::unix::fs::symlink(&outside, directory.join("link.json")).unwrap();
    nix::unistd::mkfifo(&directory.join("pipe.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for config in [outside.to_str().unwrap(), "../config.json", "link.json", "pipe.json", "/dev/zero"] {
        let manifest = json!([{ "Config": config, "RepoTags": ["app:1"], "Layers": [] }]);
        std::fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
        let read = layout::images(Files::of_directory(&directory, outer.path()), None);
        let error = read.err().unwrap_or_else(|| panic!("{config} was read"));
        assert!(error.message.contains(config), "{error}");
    }
}
