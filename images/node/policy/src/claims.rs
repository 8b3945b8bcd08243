//! The claims of running pods, as files: an engine that is restarted knows the addresses of pods that the API does not know
//! yet. They lie below `/run`, as the sandboxes end with the node.

use std::fs;
use std::path::{Path, PathBuf};

use kcl_policy::Key;
use kcl_policy::compile::Claim;
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Result};

#[derive(Serialize, Deserialize)]
struct Document {
    namespace: String,
    name: String,
    claim: Claim,
}

/// The directory of the files.
pub(crate) struct Claims(PathBuf);

impl Claims {
    /// Opens the directory, which is made if it is missing.
    pub(crate) fn open(directory: &Path) -> Result<Claims> {
        fs::create_dir_all(directory).doing(|| format!("make the directory {}", directory.display()))?;
        Ok(Claims(directory.to_owned()))
    }

    /// Returns all claims. A file that was cut off is of a claim that nobody was told of.
    pub(crate) fn all(&self) -> Result<Vec<(Key, Claim)>> {
        let entries = fs::read_dir(&self.0).doing(|| format!("list {}", self.0.display()))?;
        let read = |path: PathBuf| serde_json::from_slice::<Document>(&fs::read(path).ok()?).ok();
        let documents = entries.flatten().filter_map(|entry| read(entry.path()));
        Ok(documents.map(|one| (Key { namespace: one.namespace, name: one.name }, one.claim)).collect())
    }

    /// Keeps a claim.
    pub(crate) fn keep(&self, key: &Key, claim: &Claim) -> Result<()> {
        let path = self.path(&claim.sandbox)?;
        let document = Document { namespace: key.namespace.clone(), name: key.name.clone(), claim: claim.clone() };
        let text = serde_json::to_vec(&document).map_err(|error| Error::Invalid(error.to_string()))?;
        fs::write(&path, text).doing(|| format!("write {}", path.display()))
    }

    /// Removes the claim of a sandbox, if it is there.
    pub(crate) fn remove(&self, sandbox: &str) {
        if let Ok(path) = self.path(sandbox) {
            let _ = fs::remove_file(path);
        }
    }

    fn path(&self, sandbox: &str) -> Result<PathBuf> {
        if sandbox.is_empty() || !sandbox.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(Error::Invalid(format!("{sandbox:?} is not the id of a sandbox")));
        }
        Ok(self.0.join(sandbox))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_outlive_the_engine() {
        let dir = tempfile::tempdir().unwrap();
        let claims = Claims::open(&dir.path().join("claims")).unwrap();
        let claim = |sandbox: &str| Claim {
            sandbox: sandbox.to_owned(),
            uid: Some("1".to_owned()),
            addresses: vec!["10.0.0.1".parse().unwrap()],
        };
        claims.keep(&Key::new("x", "a"), &claim("a1")).unwrap();
        claims.keep(&Key::new("x", "b"), &claim("b1")).unwrap();
        claims.remove("b1");
        fs::write(dir.path().join("claims/c1"), "{\"namespace\": ").unwrap();
        let claims = Claims::open(&dir.path().join("claims")).unwrap();
        assert_eq!(claims.all().unwrap(), [(Key::new("x", "a"), claim("a1"))]);
        claims.keep(&Key::new("x", "a"), &claim("../a1")).unwrap_err();
    }
}
