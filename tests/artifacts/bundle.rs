//! Bundles that are damaged or from another kcl. The test of the real build has a valid one.

use std::path::Path;

use kcl::artifacts::{Artifacts, Options, Want, Way};
use kcl::error::{Error, Id};
use kcl::progress::Progress;

async fn start_from(directory: &Path, bundle: &Path) -> Error {
    let artifacts = Artifacts::open(&directory.join("cache"), Options::default()).expect("open");
    let want = Want { way: Way::Bundle(bundle.to_owned()), ..Want::default() };
    let error = artifacts.ensure(&want, &Progress::silent()).await.expect_err("the bundle is no good");
    assert!(artifacts.list().expect("list").iter().all(|row| !row.cached), "nothing of it was kept");
    error
}

fn bundle(path: &Path, index: &str) {
    let file = std::fs::File::create(path).expect("a file");
    let mut tar = tar::Builder::new(zstd::Encoder::new(file, 0).expect("an encoder"));
    let mut header = tar::Header::new_gnu();
    header.set_size(index.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "bundle.json", index.as_bytes()).expect("append");
    tar.into_inner().expect("a tar").finish().expect("a file");
}

#[tokio::test]
async fn what_is_no_bundle_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let error = start_from(directory.path(), &path).await;
    assert_eq!(error.id, Id::BundleUnusable);
    assert!(error.message.contains(&path.display().to_string()), "{error}");

    std::fs::write(&path, "some text").expect("write");
    let error = start_from(directory.path(), &path).await;
    assert!(error.message.contains("not a valid bundle"), "{error}");
}

#[tokio::test]
async fn a_bundle_of_another_make_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    bundle(&path, r#"{"format":1,"kcl":"0.0.9","kubernetes":"v1.30.0","arch":"amd64","entries":{}}"#);
    let error = start_from(directory.path(), &path).await;
    assert!(error.hints[0].contains("kcl 0.0.9 with Kubernetes v1.30.0"), "{:?}", error.hints);

    bundle(&path, r#"{"format":2,"kcl":"9.0.0","kubernetes":"v1.50.0","arch":"amd64","entries":{}}"#);
    let error = start_from(directory.path(), &path).await;
    assert!(error.message.contains("format 2") && error.hints[0].contains("9.0.0"), "{error}");
}

#[tokio::test]
async fn paths_do_not_lead_out_of_a_bundle() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let entry = r#"{"title":"","way":"","made_at":"","seconds":0,"kcl":"","files":{},"links":{"bin/x":"../../../etc"},"trees":{}}"#;
    let index = format!(r#"{{"format":1,"kcl":"0.0.9","kubernetes":"v","arch":"amd64","entries":{{"x":{entry}}}}}"#);
    bundle(&path, &index);
    let error = start_from(directory.path(), &path).await;
    assert!(error.message.contains("leads out"), "{error}");
}
