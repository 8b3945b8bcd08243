//! Logs in by private keys in files and by those of an SSH agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::client::AgentClient;
use russh::keys::{self, PrivateKeyWithHashAlg, load_secret_key};

use crate::Handle;

/// The keys that ssh(1) uses without being told, below `~/.ssh`.
const USUAL_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Returns the usual private keys that exist below `~/.ssh`.
pub fn usual_keys(ssh: &Path) -> Vec<PathBuf> {
    USUAL_KEYS.map(|name| ssh.join(name)).into_iter().filter(|path| path.exists()).collect()
}

/// Tries keys one after the other, those of the agent last. Returns none if the host accepted one, else a text for each
/// that it did not accept.
///
/// # Errors
/// An error of the connection.
pub async fn authenticate(
    handle: &mut Handle,
    user: &str,
    files: &[PathBuf],
    agent: Option<&Path>,
) -> Result<Option<Vec<String>>, russh::Error> {
    let mut tried = Vec::new();
    for path in files {
        let key = match load_secret_key(path, None) {
            Ok(key) => key,
            Err(keys::Error::KeyIsEncrypted) => {
                tried.push(format!("{} (it has a passphrase: load it with ssh-add)", path.display()));
                continue;
            }
            Err(error) => {
                tried.push(format!("{} ({error})", path.display()));
                continue;
            }
        };
        let hash = handle.best_supported_rsa_hash().await?.flatten();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        if handle.authenticate_publickey(user, key).await?.success() {
            return Ok(None);
        }
        tried.push(path.display().to_string());
    }
    if let Some(socket) = agent {
        match by_agent(handle, user, socket).await {
            Ok(true) => return Ok(None),
            Ok(false) => tried.push("the keys of the SSH agent".to_owned()),
            Err(error) => tried.push(format!("the SSH agent at {} ({error})", socket.display())),
        }
    }
    Ok(Some(tried))
}

async fn by_agent(handle: &mut Handle, user: &str, socket: &Path) -> Result<bool, String> {
    let mut agent = AgentClient::connect_uds(socket).await.map_err(|error| error.to_string())?;
    let identities = agent.request_identities().await.map_err(|error| error.to_string())?;
    for identity in identities {
        let hash = handle.best_supported_rsa_hash().await.map_err(|error| error.to_string())?.flatten();
        let key = identity.public_key().into_owned();
        let tried = handle.authenticate_publickey_with(user, key, hash, &mut agent).await;
        if tried.map_err(|error| error.to_string())?.success() {
            return Ok(true);
        }
    }
    Ok(false)
}
