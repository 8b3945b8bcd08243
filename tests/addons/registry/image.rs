//! An image, and how a client pushes it: the OCI distribution specification, 1.1, "Pushing".

use std::path::Path;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An image of one layer.
pub(crate) struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
}

impl Image {
    /// One with nothing but a static busybox.
    pub(crate) fn of_busybox(program: &Path) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_path_with_name(program, "bin/busybox").expect("busybox");
        let layer = tar.into_inner().expect("a layer");
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        Image { layer, config: config.to_string().into_bytes() }
    }

    /// Pushes it to the registry at `url`.
    pub(crate) fn push(&self, url: &str, repository: &str, tag: &str) {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(self.pushed(&format!("{url}/v2/{repository}"), tag));
    }

    async fn pushed(&self, repository: &str, tag: &str) {
        let client = Client::builder().no_proxy().build().expect("a client");
        let base: reqwest::Url = repository.parse().expect("a URL");
        for blob in [&self.layer, &self.config] {
            let begun = answer(client.post(format!("{repository}/blobs/uploads/"))).await;
            let place = begun.headers()["location"].to_str().expect("a location");
            let mut place = base.join(place).expect("a URL");
            place.query_pairs_mut().append_pair("digest", &digest(blob));
            answer(client.put(place).header("content-type", "application/octet-stream").body(blob.clone())).await;
        }
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &self.config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &self.layer)],
        });
        let put = client.put(format!("{repository}/manifests/{tag}")).header("content-type", kind);
        answer(put.body(manifest.to_string())).await;
    }
}

async fn answer(request: RequestBuilder) -> Response {
    let answer = request.send().await.expect("the registry answers");
    let status = answer.status();
    if !status.is_success() {
        panic!("{status}: {}", answer.text().await.unwrap_or_default());
    }
    answer
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(blob), "size": blob.len()})
}

fn digest(bytes: &[u8]) -> String {
    let hex = base16ct::lower::encode_string(&Sha256::digest(bytes));
    format!("sha256:{hex}")
}
