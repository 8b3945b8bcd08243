//! The content store: blobs by their digests.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::messages::{
    ContentInfo, Digest, Empty, FieldMask, InfoResponse, ReadContentRequest, ReadContentResponse, Reference,
    UpdateContentRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use super::{Answer, Containerd, Descriptor};

/// How many pieces may wait to be sent to one node.
const AHEAD: usize = 4;

impl Containerd {
    /// The size of a blob in bytes, where the node has it.
    pub async fn blob_size(&self, digest: &str) -> Answer<Option<u64>> {
        let answer: Answer<InfoResponse> =
            self.call("/containerd.services.content.v1.Content/Info", Digest { digest: digest.to_owned() }).await;
        match answer {
            Ok(answer) => Ok(answer.info.map(|info| info.size.unsigned_abs())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Sets a label of a blob.
    pub async fn label_blob(&self, digest: &str, key: &str, value: &str) -> Answer<()> {
        let labels = HashMap::from([(key.to_owned(), value.to_owned())]);
        let request = UpdateContentRequest {
            info: Some(ContentInfo { digest: digest.to_owned(), size: 0, labels }),
            update_mask: Some(FieldMask { paths: vec![format!("labels.{key}")] }),
        };
        let _: InfoResponse = self.call("/containerd.services.content.v1.Content/Update", request).await?;
        Ok(())
    }

    /// The bytes of a blob from `offset` on.
    pub async fn read_blob(
        &self,
        digest: &str,
        offset: u64,
    ) -> Answer<impl Stream<Item = Answer<Bytes>> + Send + use<>> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let request = ReadContentRequest { digest: digest.to_owned(), offset, size: 0 };
        let answers: Streaming<ReadContentResponse> =
            self.stream("/containerd.services.content.v1.Content/Read", stream::iter([request])).await?;
        Ok(answers.map_ok(|answer| answer.data))
    }

    /// A small blob as a whole.
    pub async fn whole_blob(&self, digest: &str) -> Answer<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut pieces = Box::pin(self.read_blob(digest, 0).await?);
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// Begins to write a blob, or goes on where a connection was cut off before. None where the node has it.
    pub async fn write_blob(&self, blob: &Descriptor, labels: HashMap<String, String>) -> Answer<Option<Upload>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let reference = format!("kcl-{}", blob.digest);
        let question = WriteContentRequest {
            action: WriteAction::Stat.into(),
            reference: reference.clone(),
            total: blob.size,
            expected: blob.digest.clone(),
            ..WriteContentRequest::default()
        };
        let _ = sender.send(question.clone()).await;
        let questions = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
            receiver.recv().await.map(|question| (question, receiver))
        });
        let answers: Answer<Streaming<WriteContentResponse>> =
            self.stream("/containerd.services.content.v1.Content/Write", questions).await;
        let mut answers = match answers {
            Ok(answers) => answers,
            Err(status) => return absent(status),
        };
        let offset = match answers.message().await {
            Ok(Some(answer)) => answer.offset.unsigned_abs(),
            Ok(None) => return Err(Status::unavailable("it ended the connection")),
            Err(status) => return absent(status),
        };
        Ok(Some(Upload { begun: offset, offset, question, labels, sender, answers }))
    }

    /// Forgets what was written of a blob.
    pub async fn abort(&self, digest: &str) -> Answer<()> {
        let reference = Reference { reference: format!("kcl-{digest}") };
        let _: Empty = self.call("/containerd.services.content.v1.Content/Abort", reference).await?;
        Ok(())
    }
}

fn absent(status: Status) -> Answer<Option<Upload>> {
    if status.code() == Code::AlreadyExists { Ok(None) } else { Err(status) }
}

/// A blob that is being written.
pub struct Upload {
    /// Where it was gone on with, in bytes.
    pub begun: u64,
    /// What it takes next, in bytes.
    pub offset: u64,
    question: WriteContentRequest,
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
                return Err(Status::unavailable("it ended the connection"));
            }
        }
        Ok(())
    }

    /// Ends it: its digest is checked, and it is there.
    pub async fn commit(mut self) -> Answer<()> {
        let labels = std::mem::take(&mut self.labels);
        self.send(WriteAction::Commit, Bytes::new(), labels).await?;
        while let Some(answer) = self.answers.message().await? {
            if answer.action == i32::from(WriteAction::Commit) {
                return Ok(());
            }
        }
        Err(Status::unavailable("it ended the connection"))
    }

    async fn send(&mut self, action: WriteAction, data: Bytes, labels: HashMap<String, String>) -> Answer<()> {
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let question = WriteContentRequest { action: action.into(), offset, data, labels, ..self.question.clone() };
        if self.sender.send(question).await.is_ok() {
            return Ok(());
        }
        // It takes no more: why is its last answer.
        loop {
            if self.answers.message().await?.is_none() {
                return Err(Status::unavailable("it ended the connection"));
            }
        }
    }
}
