//! An image in transit: its blobs by digests, each of which can be read from any offset, as often as nodes need it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::mpsc;

use super::config::{ImageConfig, Platform};
use super::containerd::{Containerd, Descriptor, PIECE};
use super::split::SplitLayer;
use crate::digest;
use crate::error::{Error, Id, Result};

/// An image of one platform.
#[derive(Clone)]
pub struct Image {
    /// Its names, normalized.
    pub names: Vec<String>,
    /// The manifest, which names the other blobs by digests.
    pub manifest: Blob,
    /// The configuration of its containers.
    pub config: Blob,
    /// Its layers, the lowest first.
    pub layers: Vec<Blob>,
    /// The digests of the uncompressed layers: `sha256:…`.
    pub diff_ids: Vec<String>,
}

/// A blob: bytes with their digest.
#[derive(Clone)]
pub struct Blob {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// The location of its bytes.
    pub data: Data,
}

/// The location of a blob's bytes.
#[derive(Clone)]
pub enum Data {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file that contains them from an offset on.
    Part(Arc<File>, u64),
    /// The storage of this host's Docker engine.
    Split(Arc<SplitLayer>),
    /// The containerd of a node.
    Node(Containerd),
}

impl Image {
    /// Creates an image from its manifest, its config and its layers.
    ///
    /// # Errors
    /// `Artifact` if these do not belong together.
    pub fn new(names: Vec<String>, manifest: Blob, config: Blob, layers: Vec<Blob>) -> Result<Self> {
        let bad = |why: String| Error::new(Id::ImageDamaged, format!("the image's configuration is wrong: {why}"));
        let Data::Bytes(text) = &config.data else { return Err(bad("it has not been read".to_owned())) };
        let read = ImageConfig::parse(text).map_err(|error| bad(error.to_string()))?;
        let diff_ids = read.diff_ids().to_vec();
        if diff_ids.len() != layers.len() {
            return Err(bad(format!("it lists {} layers, but the image has {}", diff_ids.len(), layers.len())));
        }
        if let Some(wrong) = diff_ids.iter().find(|id| !is_sha256(id)) {
            return Err(bad(format!("{wrong:?} is no digest of a layer")));
        }
        if layers.iter().chain([&manifest, &config]).any(|blob| blob.descriptor.size < 0) {
            return Err(bad("a size is negative".to_owned()));
        }
        if !read.platform().fits() {
            let name = names.first().map(|name| format!(" {name}")).unwrap_or_default();
            let ours = Platform::of_nodes();
            let message = format!("the image{name} is for {}, but the nodes are {ours}", read.platform());
            return Err(Error::new(Id::ImageForeign, message).hint(for_nodes()));
        }
        Ok(Image { names, manifest, config, layers, diff_ids })
    }

    /// Returns the image's id, as the kubelet reports it.
    pub fn id(&self) -> &str {
        &self.config.descriptor.digest
    }

    /// Returns the image's size in bytes.
    pub fn size(&self) -> u64 {
        self.blobs().map(Blob::size).fold(0, u64::saturating_add)
    }

    /// Returns all blobs of the image; the manifest comes last, as it names the others.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config, &self.manifest])
    }

    /// Returns the digest of each layer together with all below it (the OCI image specification's `ChainID`).
    pub fn chains(&self) -> Vec<String> {
        let mut chains: Vec<String> = Vec::new();
        for diff in &self.diff_ids {
            chains.push(match chains.last() {
                Some(below) => format!("sha256:{}", digest::of_bytes(format!("{below} {diff}").as_bytes())),
                None => diff.clone(),
            });
        }
        chains
    }
}

/// Returns true for a digest of the kind that containerd supports.
pub fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Returns the hint at how an image for the nodes' platform is made.
pub fn for_nodes() -> String {
    format!("build or pull it for the nodes, for example with: docker build --platform {}", Platform::of_nodes())
}

impl Blob {
    /// Creates a blob from bytes in memory.
    pub fn of_bytes(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest = format!("sha256:{}", digest::of_bytes(&bytes));
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as i64);
        Blob { descriptor, data: Data::Bytes(bytes) }
    }

    /// Returns the blob's size in bytes.
    pub fn size(&self) -> u64 {
        self.descriptor.size.unsigned_abs()
    }

    /// Reads the blob from `offset` on, in pieces.
    pub fn pieces(&self, offset: u64) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(2);
        let (data, digest, size) = (self.data.clone(), self.descriptor.digest.clone(), self.size());
        match data {
            Data::Bytes(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let _ = sender.try_send(Ok(bytes.slice(from..)));
            }
            Data::Part(file, start) => {
                let part = Part::new(file, start.saturating_add(offset), size.saturating_sub(offset));
                tokio::task::spawn_blocking(move || send_all(part, &sender));
            }
            Data::Split(layer) => {
                tokio::task::spawn_blocking(move || match layer.open(offset) {
                    Ok(reader) => send_all(reader, &sender),
                    Err(error) => drop(sender.blocking_send(Err(error))),
                });
            }
            Data::Node(containerd) => {
                tokio::spawn(async move {
                    let mut pieces = match containerd.read_blob(&digest, offset).await {
                        Ok(pieces) => Box::pin(pieces),
                        Err(status) => return drop(sender.send(Err(io::Error::other(status))).await),
                    };
                    while let Some(piece) = pieces.next().await {
                        if sender.send(piece.map_err(io::Error::other)).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
        receiver
    }

    /// Computes the digest of bytes in memory or in a file.
    pub fn digest_here(&self) -> io::Result<String> {
        let mut hash = digest::Writer::new(io::sink());
        match &self.data {
            Data::Bytes(bytes) => io::Write::write_all(&mut hash, bytes)?,
            Data::Part(file, at) => {
                let mut part = Part::new(file.clone(), *at, self.size());
                io::copy(&mut part, &mut hash)?;
            }
            Data::Split(_) | Data::Node(_) => return Ok(self.descriptor.digest.clone()),
        }
        Ok(format!("sha256:{}", hash.finish().1))
    }
}

fn send_all(mut reader: impl Read, sender: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut buffer = BytesMut::zeroed(PIECE);
        let mut filled = 0;
        while filled < PIECE {
            match reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return drop(sender.blocking_send(Err(error))),
            }
        }
        buffer.truncate(filled);
        if filled == 0 || sender.blocking_send(Ok(buffer.freeze())).is_err() {
            return;
        }
    }
}

/// A part of a file that is shared with other readers.
pub struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Part {
    /// Returns the part of `size` bytes from `start` on.
    pub fn new(file: Arc<File>, start: u64, size: u64) -> Self {
        Part { file, at: start, end: start.saturating_add(size) }
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        if read == 0 && left > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends too early"));
        }
        self.at += read as u64;
        Ok(read)
    }
}
