//! Addons and charts in registries. An addon is an OCI artifact whose layers are archives of an addon's folder, or its files,
//! as `oras push` makes them.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oci_client::annotations::ORG_OPENCONTAINERS_IMAGE_TITLE as TITLE;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::files::{DESCRIPTION, Files, belongs, unpack};
use crate::addon_config::oci_reference;
use crate::digest;
use crate::error::{Error, Id, Result};

/// The media type of a chart's layer (<https://helm.sh/docs/topics/registries/>).
const HELM_CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The size limit of an addon or a chart: they are small texts.
const LARGEST: u64 = 16 << 20;
/// The time limit for answers of a registry.
const PATIENCE: Duration = Duration::from_secs(15);

/// Pulls the files of an addon.
///
/// # Errors
/// `Artifact` if it cannot be pulled, or is not an addon.
pub(super) async fn pull(word: &str) -> Result<Files> {
    let failed = |why: &dyn std::fmt::Display| {
        failed(word, why).hint("push an addon with: oras push HOST/NAME:TAG FOLDER; only public ones can be pulled")
    };
    let artifact = Artifact::find(word).await.map_err(|why| failed(&why))?;
    // A registry may state any number.
    let sizes = artifact.manifest.layers.iter().map(|layer| u64::try_from(layer.size).unwrap_or(u64::MAX));
    let size = sizes.fold(0, u64::saturating_add);
    if size > LARGEST {
        return Err(failed(&format!("it has {size} bytes, too many for an addon")));
    }
    let mut files = Files::new();
    for layer in &artifact.manifest.layers {
        let content = artifact.layer(layer).await.map_err(|why| failed(&why))?;
        let title = layer.annotations.as_ref().and_then(|annotations| annotations.get(TITLE));
        let file = title.and_then(|title| Path::new(title).file_name()).map(|name| name.to_string_lossy().into_owned());
        match file.filter(|name| belongs(name)) {
            Some(name) => drop(files.insert(name, content)),
            None => unpack(&*content, &mut files).map_err(|error| failed(&error))?,
        }
    }
    if !files.contains_key(DESCRIPTION) {
        return Err(failed(&format!("it has no {DESCRIPTION}")));
    }
    Ok(files)
}

/// Returns the archive of a Helm chart in a registry. It is pulled once and kept in `cluster`, the directory of a cluster,
/// which then starts without a network.
///
/// # Errors
/// `Artifact` if it cannot be pulled, or is not a chart; `State` if it cannot be written.
pub async fn kept_chart(cluster: &Path, word: &str) -> Result<PathBuf> {
    let path = cluster.join("charts").join(format!("{}.tgz", &digest::of_bytes(word.as_bytes())[..16]));
    if path.exists() {
        return Ok(path);
    }
    let failed = |why: &dyn std::fmt::Display| {
        failed(word, why).hint("push a chart with: helm push FILE oci://HOST; only public ones can be pulled")
    };
    let artifact = Artifact::find(word).await.map_err(|why| failed(&why))?;
    let layer = artifact.manifest.layers.iter().find(|layer| layer.media_type == HELM_CHART);
    let layer = layer.ok_or_else(|| failed(&"it is not a Helm chart"))?;
    if u64::try_from(layer.size).is_ok_and(|size| size > LARGEST) {
        return Err(failed(&format!("it has {} bytes, too many for a chart", layer.size)));
    }
    let content = artifact.layer(layer).await.map_err(|why| failed(&why))?;
    let keep = || {
        std::fs::create_dir_all(cluster.join("charts"))?;
        kcl_files::write(&path, &content, 0o600)
    };
    keep().map_err(|error| {
        Error::new(Id::StateUnwritable, format!("{} cannot be written: {error}", path.display())).source(error)
    })?;
    Ok(path)
}

fn failed(word: &str, why: &dyn std::fmt::Display) -> Error {
    Error::new(Id::AddonUnavailable, format!("{word} cannot be pulled: {why}"))
}

/// An artifact in a registry.
struct Artifact {
    client: Client,
    reference: Reference,
    manifest: OciImageManifest,
}

impl Artifact {
    async fn find(word: &str) -> std::result::Result<Self, String> {
        let reference = oci_reference(word).map_err(|error| error.message)?;
        let protocol = match is_loopback(reference.registry()) {
            true => ClientProtocol::Http,
            false => ClientProtocol::Https,
        };
        let (read_timeout, connect_timeout) = (Some(PATIENCE), Some(PATIENCE));
        let client = Client::new(ClientConfig { protocol, read_timeout, connect_timeout, ..ClientConfig::default() });
        let pulled = client.pull_image_manifest(&reference, &RegistryAuth::Anonymous).await;
        let (manifest, _) = pulled.map_err(|error| error.to_string())?;
        Ok(Artifact { client, reference, manifest })
    }

    /// Pulls a layer, which is checked by its digest.
    async fn layer(&self, layer: &OciDescriptor) -> std::result::Result<Vec<u8>, String> {
        let mut content = Capped { bytes: Vec::new(), limit: usize::try_from(layer.size).unwrap_or_default() };
        self.client.pull_blob(&self.reference, layer, &mut content).await.map_err(|error| error.to_string())?;
        Ok(content.bytes)
    }
}

/// Bytes in memory, and no more of them than was announced.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
}

impl tokio::io::AsyncWrite for Capped {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, piece: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.bytes.len() + piece.len() > self.limit {
            let why = format!("the registry sends more than the {} bytes that it announced", self.limit);
            return Poll::Ready(Err(std::io::Error::other(why)));
        }
        self.bytes.extend_from_slice(piece);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Returns true if a registry is on this host: as for Docker, it needs no certificate.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    fn sha256(content: &[u8]) -> String {
        format!("sha256:{}", digest::of_bytes(content))
    }

    /// Serves a registry with one addon, of a file and an archive, for this many requests.
    fn registry(requests: usize, spoil: bool) -> std::net::SocketAddr {
        let description = b"title = \"Greets\"\nversion = \"1\"\n".to_vec();
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o644);
        archive.append_data(&mut header, "greet/one.yaml", &b"{}"[..]).unwrap();
        let archive = archive.into_inner().unwrap().finish().unwrap();
        let layer = |content: &[u8], title: &str| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(content),
                "size": content.len(), "annotations": { TITLE: title },
            })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2 },
            "layers": [layer(&description, "addon.toml"), layer(&archive, "greet")],
        });
        let mut files = BTreeMap::from([("/v2/mine/greet/manifests/1".to_owned(), manifest.to_string().into_bytes())]);
        for content in [&description, &archive] {
            let sent = if spoil { b"title = 1".to_vec() } else { content.clone() };
            files.insert(format!("/v2/mine/greet/blobs/{}", sha256(content)), sent);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(requests) {
                let mut stream = BufReader::new(stream.unwrap());
                let mut request = String::new();
                stream.read_line(&mut request).unwrap();
                while stream.read_line(&mut String::new()).unwrap() > 2 {}
                let file = files.get(request.split(' ').nth(1).unwrap());
                let (status, body) = file.map_or(("404 Not Found", &[][..]), |body| ("200 OK", body.as_slice()));
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\
                     Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n",
                    body.len()
                );
                stream.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn an_addon_is_pulled_and_checked_by_its_digests() {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let word = format!("oci://{}/mine/greet:1", registry(16, false));
        let files = pull(&word).await.unwrap();
        assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), ["addon.toml", "one.yaml"]);
        let other = format!("oci://{}/mine/greet:1", registry(16, true));
        let error = pull(&other).await.unwrap_err();
        assert!(error.message.contains(&other) && error.message.contains("digest"), "{error}");
        let gone = word.replace("greet:1", "greet:2");
        let error = pull(&gone).await.unwrap_err();
        assert!(error.message.contains(&gone) && !error.hints.is_empty(), "{error}");
    }

    #[test]
    fn registries_on_this_host_need_no_certificate() {
        assert!(is_loopback("localhost:5000") && is_loopback("127.0.0.1") && !is_loopback("ghcr.io"));
    }
}
