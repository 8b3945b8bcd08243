//! An image into nodes: only the blobs that a node lacks, each read once for all nodes; layers are unpacked while the next
//! ones are under way. What a cut transfer has left is gone on with, as uploads are known by the digests.

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
use crate::error::{Error, Family, Result};

/// How long, and how often, is asked for what containerd knows soon but tells nobody.
const SOON: Duration = Duration::from_secs(20);
const ASKED: Duration = Duration::from_millis(5);

/// What was sent to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sent {
    /// The bytes that were sent.
    pub sent: u64,
    /// The bytes that it had.
    pub present: u64,
}

/// Sends an image to nodes and gives it its names there. Returns what was sent, by node.
pub async fn send(nodes: &[Containerd], image: &Image, meter: &Meter<'_>) -> Result<BTreeMap<String, Sent>> {
    match attempt(nodes, image, meter).await {
        // What an earlier transfer left may have been what was wrong; it is gone now.
        Err(Trouble::Resumed) => attempt(nodes, image, meter).await.map_err(|trouble| trouble.explain(image)),
        result => result.map_err(|trouble| trouble.explain(image)),
    }
}

/// Why an image could not be sent.
enum Trouble {
    /// What a node had of a blob from before does not go with the rest.
    Resumed,
    /// The bytes of a blob are not those that its digest names.
    Damaged(String),
    Other(Error),
}

impl Trouble {
    fn explain(self, image: &Image) -> Error {
        match self {
            Trouble::Other(error) => error,
            Trouble::Resumed => Error::new(Family::Internal, "a transfer that was begun anew was gone on with"),
            Trouble::Damaged(digest) => {
                let name = image.names.first().map_or("the image", String::as_str);
                Error::new(Family::Artifact, format!("{name} is damaged: the bytes of {digest} have another digest"))
                    .hint("make or copy it once more; nothing of it was taken")
            }
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Other(error)
    }
}

/// A blob that has been sent as a whole.
struct Arrived {
    upload: Option<Upload>,
    blob: usize,
}

async fn attempt(
    nodes: &[Containerd],
    image: &Image,
    meter: &Meter<'_>,
) -> std::result::Result<BTreeMap<String, Sent>, Trouble> {
    let image = Arc::new(image.clone());
    let blobs: Vec<&Blob> = image.blobs().collect();
    let lease = format!("kcl-{:x}-{:x}", std::process::id(), getrandom::u64().unwrap_or_default());
    let prepared = try_join_all(nodes.iter().map(|node| prepare(node, &lease, &blobs))).await?;
    let mut sent: Vec<Sent> = Vec::new();
    for (_, lacks) in &prepared {
        let missing = blobs.iter().zip(lacks).filter(|(_, lacks)| **lacks);
        meter.expect(missing.map(|(blob, _)| blob.size()).sum());
        let present = blobs.iter().zip(lacks).filter(|(_, lacks)| !**lacks).map(|(blob, _)| blob.size()).sum();
        sent.push(Sent { sent: 0, present });
    }

    let mut finishing = tokio::task::JoinSet::new();
    let mut channels = Vec::new();
    for (node, _) in &prepared {
        let (sender, receiver) = mpsc::channel(2);
        channels.push(sender);
        finishing.spawn(finish(node.clone(), image.clone(), receiver));
    }
    let sending = async {
        for (index, blob) in blobs.iter().enumerate() {
            let wanting: Vec<usize> = (0..prepared.len()).filter(|node| prepared[*node].1[index]).collect();
            let these: Vec<&Containerd> = wanting.iter().map(|node| &prepared[*node].0).collect();
            let mut uploads = transfer(&these, blob, labels(&image, index), meter).await?.into_iter();
            for (number, channel) in channels.iter().enumerate() {
                let mut arrived = Arrived { upload: None, blob: index };
                if wanting.contains(&number) {
                    arrived.upload = uploads.next().flatten();
                    if let Some(upload) = &arrived.upload {
                        sent[number].sent += upload.offset - upload.begun;
                        sent[number].present += upload.begun;
                    }
                }
                // It has ended with an error, which is the one to tell.
                let _ = channel.send(arrived).await;
            }
        }
        drop(channels);
        Ok::<_, Trouble>(())
    };
    let finished = async {
        while let Some(done) = finishing.join_next().await {
            done.map_err(|error| Error::new(Family::Internal, format!("a task died: {error}")))??;
        }
        Ok::<_, Trouble>(())
    };
    tokio::try_join!(sending, finished)?;
    Ok(nodes.iter().map(|node| node.node.clone()).zip(sent).collect())
}

/// Which blobs a node lacks; the others are held from now on.
async fn prepare(node: &Containerd, lease: &str, blobs: &[&Blob]) -> Result<(Containerd, Vec<bool>)> {
    let what = |status: Status| node.failed("look at the images", &status);
    let node = node.with_lease(lease).await.map_err(what)?;
    let mut lacks = Vec::new();
    for blob in blobs {
        let digest = &blob.descriptor.digest;
        let there = node.blob_size(digest).await.map_err(|status| node.failed("look at the images", &status))?;
        let held = match there {
            Some(_) => node.hold_blob(digest).await.map_err(|status| node.failed("hold a layer", &status))?,
            None => false,
        };
        lacks.push(!held);
    }
    Ok((node, lacks))
}

/// What containerd is told of a blob, so that it keeps what belongs together.
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

/// Sends a blob to the nodes that want it, reading it once. Returns an upload for each that is to be committed; none
/// where a node has got it in the meantime.
async fn transfer(
    nodes: &[&Containerd],
    blob: &Blob,
    labels: HashMap<String, String>,
    meter: &Meter<'_>,
) -> Result<Vec<Option<Upload>>> {
    let mut uploads = try_join_all(nodes.iter().map(|node| begin(node, blob, labels.clone()))).await?;
    let mut at = uploads.iter().flatten().map(|upload| upload.offset).min().unwrap_or(blob.size());
    let skipped = uploads.iter().map(|upload| upload.as_ref().map_or(blob.size(), |upload| upload.offset));
    meter.add(skipped.sum());
    if at >= blob.size() {
        return Ok(uploads);
    }
    let mut pieces = blob.pieces(at);
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|error| {
            let message = format!("{} cannot be read: {error}", blob.descriptor.digest);
            Error::new(Family::Artifact, message).source(error)
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

/// A kcl that was killed leaves an upload that is locked until containerd sees that its connection has ended.
async fn begin(node: &Containerd, blob: &Blob, labels: HashMap<String, String>) -> Result<Option<Upload>> {
    let begun = tokio::time::Instant::now();
    loop {
        match node.write_blob(&blob.descriptor, labels.clone()).await {
            Err(status) if status.code() == Code::Unavailable && begun.elapsed() < SOON => {
                tracing::debug!("{}: {}", node.node, status.message());
                tokio::time::sleep(ASKED).await;
            }
            result => return result.map_err(|status| node.failed("write a layer", &status)),
        }
    }
}

/// Commits what arrives in a node, unpacks layers, and at last gives the image its names.
async fn finish(
    node: Containerd,
    image: Arc<Image>,
    mut arrivals: mpsc::Receiver<Arrived>,
) -> std::result::Result<(), Trouble> {
    let chains = image.chains();
    let mut complete = false;
    while let Some(Arrived { upload, blob }) = arrivals.recv().await {
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
                    .hint("see whether there is room in the node with: kcl ssh -- df -h /var/lib/containerd")
            })?;
            if applied.is_some_and(|applied| applied != image.diff_ids[blob]) {
                return Err(Trouble::Damaged(image.diff_ids[blob].clone()));
            }
        }
        complete = blob > image.layers.len();
    }
    // Who sends has ended with an error, which is told.
    if !complete {
        return Ok(());
    }
    let failed = |status: Status| node.failed("name the image", &status);
    if let Some(top) = chains.last() {
        // So the snapshots live as long as the image.
        let key = format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}");
        node.label_blob(image.id(), &key, top).await.map_err(failed)?;
    }
    for name in &image.names {
        node.name_image(name, &image.manifest.descriptor).await.map_err(failed)?;
    }
    for name in &image.names {
        seen(&node, name, image.id()).await?;
    }
    node.end_lease().await.map_err(failed)?;
    Ok(())
}

async fn commit(node: &Containerd, upload: Upload, digest: &str, resumed: bool) -> std::result::Result<(), Trouble> {
    let committed: Answer<()> = upload.commit().await;
    match committed {
        Ok(()) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) if status.code() == Code::FailedPrecondition => {
            tracing::debug!("{}: {}", node.node, status.message());
            let _ = node.abort(digest).await;
            Err(if resumed { Trouble::Resumed } else { Trouble::Damaged(digest.to_owned()) })
        }
        Err(status) => Err(Trouble::Other(node.failed("write a layer", &status))),
    }
}

/// Waits until the kubelet sees the image. The part of containerd that it asks follows the image records, within
/// milliseconds, and tells nobody when it has.
pub async fn seen(node: &Containerd, name: &str, id: &str) -> Result<()> {
    let begun = tokio::time::Instant::now();
    loop {
        let found = node.cri_image(name).await.map_err(|status| node.failed("look for the image", &status))?;
        if found.is_some_and(|found| found.id == id) {
            return Ok(());
        }
        if begun.elapsed() > SOON {
            let message = format!("node {} has {name}, and its kubelet does not see it", node.node);
            return Err(Error::new(Family::Cluster, message).hint("see why with: kcl logs containerd"));
        }
        tokio::time::sleep(ASKED).await;
    }
}
