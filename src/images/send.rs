//! Sends an image to nodes: only the blobs that a node lacks, each read once for all nodes. Layers are unpacked while the
//! next ones are in flight. An interrupted transfer is resumed, as uploads are identified by digests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::containerd::content::Upload;
use super::containerd::snapshots::SNAPSHOTTER;
use super::containerd::{Answer, Containerd};
use super::image::{Blob, Image};
use super::meter::Meter;
use crate::error::{Error, Id, Result};

/// The limit of a wait for a change in containerd that it sends no event for, and the interval between two requests.
const TIMEOUT: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(5);

/// The result of sending an image to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sent {
    /// The number of bytes that were sent.
    pub sent: u64,
    /// The number of bytes that the node already had.
    pub present: u64,
}

/// Sends an image to nodes and names it there. Returns the result by node.
pub async fn send(nodes: &[Containerd], image: &Image, meter: &Meter<'_>) -> Result<BTreeMap<String, Sent>> {
    match attempt(nodes, image, meter).await {
        // The remains of an earlier transfer may have been wrong; they have been discarded.
        Err(Failure::Resumed) => attempt(nodes, image, meter).await.map_err(|failure| failure.explain(image)),
        result => result.map_err(|failure| failure.explain(image)),
    }
}

/// The reason why an image could not be sent.
enum Failure {
    /// A blob that was resumed does not have its digest, so its first part may have been wrong.
    Resumed,
    /// The bytes of a blob do not have its digest.
    Damaged(String),
    Other(Error),
}

impl Failure {
    fn explain(self, image: &Image) -> Error {
        match self {
            Failure::Other(error) => error,
            Failure::Resumed => Error::new(Id::Internal, "a new transfer was resumed"),
            Failure::Damaged(digest) => {
                let name = image.names.first().map_or("the image", String::as_str);
                Error::new(Id::ImageDamaged, format!("{name} is damaged: the bytes of {digest} have another digest"))
                    .hint("create or copy it again; nothing of it was kept")
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// A blob that a node has received; its upload has yet to be committed.
struct Arrival {
    upload: Option<Upload>,
    blob: usize,
}

/// A node with a lease, and for each blob of the image whether it is missing there.
struct Target {
    node: Containerd,
    missing: Vec<bool>,
}

impl Target {
    /// Returns the total size in bytes of the blobs that are missing, or of those that are not.
    fn size(&self, image: &Image, missing: bool) -> u64 {
        let chosen = image.blobs().zip(&self.missing).filter(|(_, is_missing)| **is_missing == missing);
        chosen.map(|(blob, _)| blob.size()).fold(0, u64::saturating_add)
    }
}

async fn attempt(
    nodes: &[Containerd],
    image: &Image,
    meter: &Meter<'_>,
) -> std::result::Result<BTreeMap<String, Sent>, Failure> {
    let image = Arc::new(image.clone());
    let lease = format!("kcl-{:x}-{:x}", std::process::id(), getrandom::u64().unwrap_or_default());
    let targets = try_join_all(nodes.iter().map(|node| prepare(node, &lease, &image))).await?;
    let mut finishing = tokio::task::JoinSet::new();
    let mut channels = Vec::new();
    for target in &targets {
        meter.expect(target.size(&image, true));
        let (sender, receiver) = mpsc::channel(2);
        channels.push(sender);
        finishing.spawn(finish(target.node.clone(), image.clone(), receiver));
    }
    let finished = async {
        while let Some(done) = finishing.join_next().await {
            done.map_err(Error::from)??;
        }
        Ok(())
    };
    let (sent, ()) = tokio::try_join!(send_blobs(&targets, channels, &image, meter), finished)?;
    Ok(nodes.iter().map(|node| node.node.clone()).zip(sent).collect())
}

/// Sends each blob to the nodes that miss it, and reports it to the task of every node.
async fn send_blobs(
    targets: &[Target],
    channels: Vec<mpsc::Sender<Arrival>>,
    image: &Image,
    meter: &Meter<'_>,
) -> std::result::Result<Vec<Sent>, Failure> {
    let mut sent: Vec<Sent> =
        targets.iter().map(|target| Sent { sent: 0, present: target.size(image, false) }).collect();
    for (index, blob) in image.blobs().enumerate() {
        let nodes: Vec<&Containerd> = targets.iter().filter(|one| one.missing[index]).map(|one| &one.node).collect();
        let mut uploads = transfer(&nodes, blob, labels(image, index), meter).await?.into_iter();
        for ((target, channel), sent) in targets.iter().zip(&channels).zip(&mut sent) {
            let upload = if target.missing[index] { uploads.next().flatten() } else { None };
            if let Some(upload) = &upload {
                sent.sent += upload.offset - upload.begun;
                sent.present += upload.begun;
            }
            // A node's task that has failed no longer receives; its own error is reported.
            let _ = channel.send(Arrival { upload, blob: index }).await;
        }
    }
    Ok(sent)
}

/// Creates a lease on a node, which holds the blobs that it has, and finds those that it lacks.
async fn prepare(node: &Containerd, lease: &str, image: &Image) -> Result<Target> {
    let failed = |status: Status| node.failed("look at the images", &status);
    let node = node.with_lease(lease).await.map_err(failed)?;
    let mut missing = Vec::new();
    for blob in image.blobs() {
        let digest = &blob.descriptor.digest;
        let size = node.blob_size(digest).await.map_err(failed)?;
        let held = match size {
            Some(_) => node.hold_blob(digest).await.map_err(|status| node.failed("hold a layer", &status))?,
            None => false,
        };
        missing.push(!held);
    }
    Ok(Target { node, missing })
}

/// Returns the labels of a blob, by which containerd keeps an image's blobs together.
fn labels(image: &Image, index: usize) -> HashMap<String, String> {
    let mut labels = HashMap::new();
    let layers = image.layers.len();
    if index < layers {
        labels.insert("containerd.io/uncompressed".to_owned(), image.diff_ids[index].clone());
    } else if index > layers {
        labels.insert("containerd.io/gc.ref.content.config".to_owned(), image.id().to_owned());
        for (number, layer) in image.layers.iter().enumerate() {
            labels.insert(format!("containerd.io/gc.ref.content.l.{number}"), layer.descriptor.digest.clone());
        }
    }
    labels
}

/// Sends a blob to `nodes`, reading it once. Returns the upload of each, to be committed, or nothing for a node that has
/// received the blob by other means in the meantime.
async fn transfer(
    nodes: &[&Containerd],
    blob: &Blob,
    labels: HashMap<String, String>,
    meter: &Meter<'_>,
) -> Result<Vec<Option<Upload>>> {
    let mut uploads = try_join_all(nodes.iter().map(|node| begin(node, blob, labels.clone()))).await?;
    let mut at = uploads.iter().flatten().map(|upload| upload.offset).min().unwrap_or(blob.size());
    let skipped = uploads.iter().map(|upload| upload.as_ref().map_or(blob.size(), |upload| upload.offset));
    meter.add(skipped.fold(0, u64::saturating_add));
    if at >= blob.size() {
        return Ok(uploads);
    }
    let mut pieces = blob.pieces(at);
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|error| {
            let message = format!("{} cannot be read: {error}", blob.descriptor.digest);
            Error::new(Id::ImageDamaged, message).source(error)
        })?;
        let end = at + piece.len() as u64;
        let mut writing = Vec::new();
        for (node, upload) in nodes.iter().zip(&mut uploads) {
            let Some(upload) = upload.as_mut().filter(|upload| upload.offset < end) else { continue };
            let data = piece.slice(usize::try_from(upload.offset - at).unwrap_or_default()..);
            let size = data.len() as u64;
            writing.push(async move {
                let written = upload.write(data).await.map_err(|status| node.failed("write a layer", &status));
                written.map(|()| size)
            });
        }
        meter.add(try_join_all(writing).await?.into_iter().sum());
        at = end;
    }
    Ok(uploads)
}

/// Begins an upload. That of a killed kcl stays locked until containerd notices that its connection has ended.
async fn begin(node: &Containerd, blob: &Blob, labels: HashMap<String, String>) -> Result<Option<Upload>> {
    let begun = tokio::time::Instant::now();
    loop {
        match node.write_blob(&blob.descriptor, labels.clone()).await {
            Err(status) if status.code() == Code::Unavailable && begun.elapsed() < TIMEOUT => {
                tracing::debug!("{}: {}", node.node, status.message());
                tokio::time::sleep(INTERVAL).await;
            }
            result => return result.map_err(|status| node.failed("write a layer", &status)),
        }
    }
}

/// Commits the blobs that arrive in a node, unpacks layers, and finally names the image.
async fn finish(
    node: Containerd,
    image: Arc<Image>,
    mut arrivals: mpsc::Receiver<Arrival>,
) -> std::result::Result<(), Failure> {
    let chains = image.chains();
    let mut complete = false;
    while let Some(Arrival { upload, blob }) = arrivals.recv().await {
        let what = image.blobs().nth(blob).expect("it is one of the image's");
        if let Some(upload) = upload {
            let resumed = upload.begun > 0;
            commit(&node, upload, &what.descriptor.digest, resumed).await?;
        }
        if blob < image.layers.len() {
            let parent = if blob == 0 { "" } else { &chains[blob - 1] };
            let applied = node.unpack(&what.descriptor, parent, &chains[blob]).await;
            let applied = applied.map_err(|status| {
                node.failed(&format!("unpack {}", what.descriptor.digest), &status)
                    .hint("check the free space in the node with: kcl ssh -- df -h /var/lib/containerd")
            })?;
            if applied.is_some_and(|applied| applied != image.diff_ids[blob]) {
                return Err(Failure::Damaged(image.diff_ids[blob].clone()));
            }
        }
        complete = blob > image.layers.len();
    }
    // The sender has failed, and its error is reported.
    if !complete {
        return Ok(());
    }
    let failed = |status: Status| node.failed("name the image", &status);
    if let Some(top) = chains.last() {
        // The snapshots live as long as the image.
        let key = format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}");
        node.label_blob(image.id(), &key, top).await.map_err(failed)?;
    }
    for name in &image.names {
        node.name_image(name, &image.manifest.descriptor).await.map_err(failed)?;
    }
    for name in &image.names {
        wait_visible(&node, name, image.id()).await?;
    }
    node.end_lease().await.map_err(failed)?;
    Ok(())
}

async fn commit(node: &Containerd, upload: Upload, digest: &str, resumed: bool) -> std::result::Result<(), Failure> {
    let committed: Answer<()> = upload.commit().await;
    match committed {
        Ok(()) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) if status.code() == Code::FailedPrecondition => {
            tracing::debug!("{}: {}", node.node, status.message());
            let _ = node.abort(digest).await;
            Err(if resumed { Failure::Resumed } else { Failure::Damaged(digest.to_owned()) })
        }
        Err(status) => Err(Failure::Other(node.failed("write a layer", &status))),
    }
}

/// Waits until the kubelet sees the image. The CRI plugin of containerd follows the image records within milliseconds,
/// and sends no event when it has.
pub async fn wait_visible(node: &Containerd, name: &str, id: &str) -> Result<()> {
    let begun = tokio::time::Instant::now();
    loop {
        let found = node.cri_image(name).await.map_err(|status| node.failed("look for the image", &status))?;
        if found.is_some_and(|found| found.id == id) {
            return Ok(());
        }
        if begun.elapsed() > TIMEOUT {
            let message = format!("node {} has {name}, but its kubelet does not see it", node.node);
            return Err(Error::new(Id::ContainerdFailed, message).hint("find the cause with: kcl logs containerd"));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
