//! Links that work once, and the sessions that they are exchanged for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::identity::Identity;

/// The lifetime of an unused link: the time to open it. It is the cluster administrator's key.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(60);

/// The lifetime of a session without a request.
pub(crate) const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// The digest of a secret. Lookups are by digest, so that their timing tells nothing about the secret.
type Digest = [u8; 32];

/// All links and sessions of a server. They end with it.
#[derive(Default)]
pub(crate) struct Sessions {
    links: Mutex<HashMap<Digest, (Identity, Instant)>>,
    sessions: Mutex<HashMap<Digest, (Identity, Instant)>>,
}

impl Sessions {
    /// Creates a link and returns its token.
    pub(crate) fn link(&self, identity: Identity) -> String {
        let token = secret();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, (_, made)| made.elapsed() < LINK_LIFE);
        links.insert(digest(&token), (identity, Instant::now()));
        token
    }

    /// Exchanges the token of a link for a new session and returns the session's secret.
    pub(crate) fn redeem(&self, token: &str) -> Option<String> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let (identity, made) = links.remove(&digest(token))?;
        (made.elapsed() < LINK_LIFE).then(|| self.open(identity))
    }

    /// Opens a session and returns its secret.
    pub(crate) fn open(&self, identity: Identity) -> String {
        let secret = secret();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (_, used)| used.elapsed() < SESSION_LIFE);
        sessions.insert(digest(&secret), (identity, Instant::now()));
        secret
    }

    /// Returns the user of a session, or `None` if it does not exist or has expired.
    pub(crate) fn find(&self, secret: &str) -> Option<Identity> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let (identity, used) = sessions.get_mut(&digest(secret))?;
        if used.elapsed() >= SESSION_LIFE {
            return None;
        }
        *used = Instant::now();
        Some(identity.clone())
    }

    /// Ends a session.
    pub(crate) fn close(&self, secret: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(secret));
    }
}

/// Returns 256 random bits as text.
pub(crate) fn secret() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    base16ct::lower::encode_string(&bytes)
}

fn digest(secret: &str) -> Digest {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_a_session_until_it_is_closed() {
        let sessions = Sessions::default();
        let bearer = Identity::Token("t".to_owned());
        let token = sessions.link(bearer.clone());
        assert_eq!(sessions.redeem("another"), None);
        let secret = sessions.redeem(&token).expect("its first use");
        assert_eq!(sessions.redeem(&token), None);
        assert_eq!(sessions.find(&token), None, "a link is no session");
        assert_eq!(sessions.find(&secret), Some(bearer));
        sessions.close(&secret);
        assert_eq!(sessions.find(&secret), None);
    }

    #[test]
    fn secrets_differ() {
        let (one, other) = (secret(), secret());
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
    }
}
