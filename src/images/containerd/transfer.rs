//! Pushes images by containerd's transfer service. The credentials go to containerd by a stream of this connection, so
//! they are neither in arguments nor in the environment of a process, nor in a file.

use futures::{StreamExt, stream};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::api::containerd::services::streaming::v1::StreamInit;
use super::api::containerd::services::streaming::v1::streaming_client::StreamingClient;
use super::api::containerd::services::transfer::v1::TransferRequest;
use super::api::containerd::services::transfer::v1::transfer_client::TransferClient;
use super::api::containerd::types::transfer::{AuthResponse, AuthType, ImageStore, OciRegistry, RegistryResolver};
use super::api::google::protobuf::Any;
use super::{Answer, Containerd, CriAuth};

/// The directory of containerd's registry configuration on nodes.
const HOSTS: &str = "/etc/containerd/certs.d";

impl Containerd {
    /// Pushes an image to its registry, by the node's configuration of registries.
    pub async fn push(&self, name: &str, auth: Option<CriAuth>) -> Answer<()> {
        let answering = match auth {
            Some(auth) => Some(self.answer_for_credentials(auth).await?),
            None => None,
        };
        let resolver = RegistryResolver {
            auth_stream: answering.as_ref().map(|(id, _)| id.clone()).unwrap_or_default(),
            host_dir: HOSTS.to_owned(),
            ..RegistryResolver::default()
        };
        let source = ImageStore { name: name.to_owned(), ..ImageStore::default() };
        let destination = OciRegistry { reference: name.to_owned(), resolver: Some(resolver) };
        let request = TransferRequest {
            source: Some(any("containerd.types.transfer.ImageStore", &source)),
            destination: Some(any("containerd.types.transfer.OCIRegistry", &destination)),
            options: None,
        };
        let mut client = TransferClient::new(self.scoped());
        let transfer = client.transfer(request);
        match answering {
            // The stream lasts as long as the transfer, and ends with it.
            Some((_, answers)) => tokio::select! {
                transferred = transfer => transferred.map(drop),
                failed = answers => Err(failed),
            },
            None => transfer.await.map(drop),
        }
    }

    /// Opens a stream on which containerd asks for credentials. Returns its name, and what answers as long as it is
    /// polled.
    async fn answer_for_credentials(&self, auth: CriAuth) -> Answer<(String, impl Future<Output = Status> + use<>)> {
        let id = format!("kcl-{:x}-{:x}", std::process::id(), getrandom::u64().unwrap_or_default());
        let (sender, receiver) = mpsc::channel(1);
        let init = any("containerd.services.streaming.v1.StreamInit", &StreamInit { id: id.clone() });
        let _ = sender.send(init).await;
        let requests = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
            receiver.recv().await.map(|request| (request, receiver))
        });
        let mut questions: Streaming<Any> = StreamingClient::new(self.scoped()).stream(requests).await?.into_inner();
        // containerd says that it has registered the stream.
        questions.message().await?;
        let answer = any("containerd.types.transfer.AuthResponse", &response(auth));
        let answering = async move {
            loop {
                match questions.next().await {
                    Some(Ok(_)) if sender.send(answer.clone()).await.is_ok() => {}
                    Some(Err(status)) => return status,
                    _ => std::future::pending().await,
                }
            }
        };
        Ok((id, answering))
    }
}

fn response(auth: CriAuth) -> AuthResponse {
    let (kind, username, secret) = match auth.identity_token {
        token if token.is_empty() => (AuthType::Credentials, auth.username, auth.password),
        token => (AuthType::Refresh, String::new(), token),
    };
    AuthResponse { auth_type: kind.into(), username, secret, expire_at: None }
}

/// Wraps a message as containerd's `typeurl` does: by its full name alone.
fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: name.to_owned(), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_no_password() {
        let auth = CriAuth { username: "me".into(), password: "secret".into(), ..CriAuth::default() };
        let answer = response(auth.clone());
        assert_eq!((answer.auth_type(), &*answer.username, &*answer.secret), (AuthType::Credentials, "me", "secret"));
        let answer = response(CriAuth { identity_token: "token".into(), ..auth });
        assert_eq!((answer.auth_type(), &*answer.username, &*answer.secret), (AuthType::Refresh, "", "token"));
    }
}
