//! The content store: blobs by their digests.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::api::containerd::services::content::v1::content_client::ContentClient;
use super::api::containerd::services::content::v1::{
    AbortRequest, Info, InfoRequest, ReadContentRequest, UpdateRequest, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use super::api::google::protobuf::FieldMask;
use super::{Answer, Containerd, Descriptor, LARGEST, Scoped};

/// The number of pieces that may wait to be sent to one node.
const AHEAD: usize = 4;

impl Containerd {
    fn content(&self) -> ContentClient<Scoped> {
        ContentClient::new(self.scoped()).max_decoding_message_size(LARGEST)
    }

    /// Returns the size of a blob in bytes if the node has it.
    pub async fn blob_size(&self, digest: &str) -> Answer<Option<u64>> {
        match self.content().info(InfoRequest { digest: digest.to_owned() }).await {
            Ok(answer) => Ok(answer.into_inner().info.map(|info| info.size.unsigned_abs())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Sets a label of a blob.
    pub async fn label_blob(&self, digest: &str, key: &str, value: &str) -> Answer<()> {
        let labels = HashMap::from([(key.to_owned(), value.to_owned())]);
        let request = UpdateRequest {
            info: Some(Info { digest: digest.to_owned(), labels, ..Info::default() }),
            update_mask: Some(FieldMask { paths: vec![format!("labels.{key}")] }),
        };
        self.content().update(request).await.map(drop)
    }

    /// Reads a blob from `offset` on.
    pub async fn read_blob(
        &self,
        digest: &str,
        offset: u64,
    ) -> Answer<impl Stream<Item = Answer<Bytes>> + Send + use<>> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let request = ReadContentRequest { digest: digest.to_owned(), offset, size: 0 };
        Ok(self.content().read(request).await?.into_inner().map_ok(|answer| answer.data))
    }

    /// Reads a small blob as a whole.
    pub async fn whole_blob(&self, digest: &str) -> Answer<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut pieces = Box::pin(self.read_blob(digest, 0).await?);
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() > LARGEST {
                return Err(Status::out_of_range(format!("{digest} is larger than a document of an image can be")));
            }
        }
        Ok(bytes)
    }

    /// Starts to write a blob, or resumes after a lost connection. Returns nothing if the node has the blob.
    pub async fn write_blob(&self, blob: &Descriptor, labels: HashMap<String, String>) -> Answer<Option<Upload>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let request = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: format!("kcl-{}", blob.digest),
            total: blob.size,
            expected: blob.digest.clone(),
            ..WriteContentRequest::default()
        };
        let _ = sender.send(request.clone()).await;
        let requests = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
            receiver.recv().await.map(|request| (request, receiver))
        });
        let mut answers = match self.content().write(requests).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return absent(status),
        };
        let offset = match answers.message().await {
            Ok(Some(answer)) => answer.offset.unsigned_abs(),
            Ok(None) => return Err(Status::unavailable("containerd closed the connection")),
            Err(status) => return absent(status),
        };
        Ok(Some(Upload { begun: offset, offset, request, labels, sender, answers }))
    }

    /// Discards a partly written blob.
    pub async fn abort(&self, digest: &str) -> Answer<()> {
        self.content().abort(AbortRequest { r#ref: format!("kcl-{digest}") }).await.map(drop)
    }
}

fn absent(status: Status) -> Answer<Option<Upload>> {
    if status.code() == Code::AlreadyExists { Ok(None) } else { Err(status) }
}

/// A blob that is being written.
pub struct Upload {
    /// The offset in bytes at which it was resumed.
    pub begun: u64,
    /// The offset in bytes of the next piece.
    pub offset: u64,
    request: WriteContentRequest,
    labels: HashMap<String, String>,
    sender: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
}

impl Upload {
    /// Writes the bytes that follow.
    pub async fn write(&mut self, data: Bytes) -> Answer<()> {
        let size = data.len() as u64;
        self.send(WriteAction::Write, data, HashMap::new()).await?;
        self.offset += size;
        // Each message is answered; the answers only have to be read.
        while let Some(answer) = futures::FutureExt::now_or_never(self.answers.message()) {
            if answer?.is_none() {
                return Err(Status::unavailable("containerd closed the connection"));
            }
        }
        Ok(())
    }

    /// Completes the blob; containerd checks its digest.
    pub async fn commit(mut self) -> Answer<()> {
        let labels = std::mem::take(&mut self.labels);
        self.send(WriteAction::Commit, Bytes::new(), labels).await?;
        while let Some(answer) = self.answers.message().await? {
            if answer.action == i32::from(WriteAction::Commit) {
                return Ok(());
            }
        }
        Err(Status::unavailable("containerd closed the connection"))
    }

    async fn send(&mut self, action: WriteAction, data: Bytes, labels: HashMap<String, String>) -> Answer<()> {
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let request = WriteContentRequest { action: action.into(), offset, data, labels, ..self.request.clone() };
        if self.sender.send(request).await.is_ok() {
            return Ok(());
        }
        // The stream is closed; its last answer says why.
        loop {
            if self.answers.message().await?.is_none() {
                return Err(Status::unavailable("containerd closed the connection"));
            }
        }
    }
}
