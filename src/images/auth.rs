//! The user's credentials for registries, as `docker login` stores them.

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_spec::distribution::Reference;

use super::containerd::CriAuth;

/// Docker's names of its own registry, the usual one first.
const DOCKER_HUB: [&str; 2] = ["https://index.docker.io/v1/", "docker.io"];

/// Returns the credentials for an image's registry, if there are any.
pub async fn find(image: &str) -> Option<CriAuth> {
    let image = image.to_owned();
    // A helper program may wait for the user.
    tokio::task::spawn_blocking(move || look(&image, docker_credential::get_credential)).await.ok().flatten()
}

fn look(image: &str, get: impl Fn(&str) -> Result<DockerCredential, CredentialRetrievalError>) -> Option<CriAuth> {
    let reference: Reference = image.parse().ok()?;
    let registry = reference.registry();
    let servers = if registry == "docker.io" { &DOCKER_HUB[..] } else { &[registry] };
    let found = servers.iter().find_map(|server| get(server).inspect_err(|error| report(server, error)).ok())?;
    let auth = CriAuth { server_address: registry.to_owned(), ..CriAuth::default() };
    Some(match found {
        DockerCredential::UsernamePassword(username, password) => CriAuth { username, password, ..auth },
        DockerCredential::IdentityToken(identity_token) => CriAuth { identity_token, ..auth },
    })
}

/// Reports why there are no credentials. Most registries have none, and a helper fails for those that it does not know.
fn report(server: &str, error: &CredentialRetrievalError) {
    use CredentialRetrievalError as Cause;
    match error {
        Cause::HelperCommunicationError | Cause::MalformedHelperResponse | Cause::CredentialMismatchError => {
            tracing::warn!("no credentials for {server}: {error}");
        }
        _ => tracing::debug!("no credentials for {server}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_docker_login_wrote_is_found() {
        // "me:secret"
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"}, "localhost:5000": {},
            "https://quay.io/v1/": {"auth": "bWU6c2VjcmV0"}, "ghcr.io": {"identitytoken": "token"}
        }}"#;
        let find =
            |image: &str| look(image, |server| docker_credential::get_credential_from_reader(text.as_bytes(), server));
        for image in ["docker.io/library/app:1", "quay.io/x/y:1"] {
            let auth = find(image).expect("credentials");
            assert_eq!((auth.username.as_str(), auth.password.as_str()), ("me", "secret"));
        }
        assert_eq!(find("ghcr.io/x:1").expect("a token").identity_token, "token");
        assert_eq!(find("localhost:5000/x:1"), None);
        assert_eq!(find("example.org/x:1"), None);
    }

    #[test]
    fn helper_programs_are_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = r#"{"auths": {"docker.io": {}}, "credsStore": "all", "credHelpers": {"one.example": "one"}}"#;
        std::fs::write(dir.path().join("config.json"), config).expect("a configuration");
        let answer = |name: &str| {
            format!(
                "#!/bin/sh\nread -r server\n[ \"$1 $server\" != \"get none.example\" ] || exit 1\n\
                 printf '{{\"ServerURL\":\"\",\"Username\":\"{name}\",\"Secret\":\"%s\"}}' \"$server\"\n"
            )
        };
        for name in ["all", "one"] {
            let path = dir.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, answer(name)).expect("a helper");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("an executable");
        }
        let path = std::env::var("PATH").expect("a path");
        let status = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "images::auth::tests::with_helper_programs"])
            .env("DOCKER_CONFIG", dir.path())
            .env("PATH", format!("{}:{path}", dir.path().display()))
            .status();
        assert!(status.expect("it runs").success());
    }

    #[tokio::test]
    #[ignore = "only as a process of its own"]
    async fn with_helper_programs() {
        for (image, username, secret) in [
            ("one.example/x:1", "one", "one.example"),
            ("two.example:5000/x:1", "all", "two.example:5000"),
            ("docker.io/library/app:1", "all", "https://index.docker.io/v1/"),
        ] {
            let auth = find(image).await.expect("credentials");
            assert_eq!((auth.username.as_str(), auth.password.as_str()), (username, secret));
        }
        assert_eq!(find("none.example/x:1").await, None);
    }
}
