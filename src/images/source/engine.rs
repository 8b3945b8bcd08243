//! Images of the Docker or Podman engine that the docker command would use.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use kcl_driver_docker::Library;
use tokio::sync::mpsc;

use super::docker;
use super::files::Files;
use crate::digest;
use crate::error::{Error, Id, Result};
use crate::images::config::ImageConfig;
use crate::images::image::{Data, Image};
use crate::images::reference::normalize;
use crate::images::split::SplitLayer;

/// Finds an image in the engine by its name.
pub(super) async fn find(word: &str, name: Option<String>, scratch: &Path) -> Result<Vec<Image>> {
    let asked = normalize(word)?;
    let library = Library::connect().await.map_err(|error| {
        let error = Error::from(error);
        let hint =
            format!("or load {word} from an archive, a directory or standard input: kcl image load FILE|DIRECTORY|-");
        Error {
            message: format!("the image {word} is not a file, and Docker cannot be searched for it: {}", error.message),
            ..error
        }
        .hint(hint)
    })?;
    let Some(found) = library.find(word).await? else {
        return Err(Error::new(
            Id::ImageNotFound,
            format!(
                "there is no image {word} in {} at {}, and no file of that name",
                library.name(),
                library.address()
            ),
        )
        .hint("list the images with: docker images")
        .hint(format!("have the nodes pull it from its registry with: kcl image pull {word}")));
    };
    let names = vec![name.unwrap_or(asked)];
    if let Some(root) = &found.root
        && let Some(image) = stored(root, &found.id, names.clone())
    {
        return Ok(vec![image]);
    }
    let (sender, receiver) = mpsc::channel(8);
    let mut pieces = library.export(word);
    tokio::spawn(async move {
        while let Some(piece) = pieces.next().await {
            if sender.send(piece.map_err(io::Error::other)).await.is_err() {
                return;
            }
        }
    });
    let stream = Stream { receiver, piece: Bytes::new() };
    let files = Files::of_stream(stream, &format!("the export of {word} from {}", library.name()), scratch).await?;
    let mut images = super::layout::images(files, names.first().cloned())?;
    images.truncate(1);
    Ok(images)
}

/// Returns the image with this id (`sha256:…`) from the engine's data in `root`, or nothing if it uses another storage
/// driver or this user cannot read it.
fn stored(root: &Path, id: &str, names: Vec<String>) -> Option<Image> {
    let store = root.join("image/overlay2");
    let config = std::fs::read(store.join("imagedb/content").join(id.replacen(':', "/", 1))).ok()?;
    let read = ImageConfig::parse(&config).ok()?;
    let mut chain = String::new();
    let mut layers = Vec::new();
    for diff in read.diff_ids() {
        chain = match chain.as_str() {
            "" => diff.clone(),
            below => format!("sha256:{}", digest::of_bytes(format!("{below} {diff}").as_bytes())),
        };
        let layer = SplitLayer::open_in(root, &store.join("layerdb").join(chain.replacen(':', "/", 1))).ok()?;
        let size = layer.size();
        layers.push(docker::plain_layer(Data::Split(Arc::new(layer)), size, diff));
    }
    docker::assemble(names, config.into(), layers).ok()
}

/// Reads the pieces that another task receives.
struct Stream {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
