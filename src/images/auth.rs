//! Who a user is to a registry: what `docker login` has written.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use oci_spec::distribution::Reference;
use serde::Deserialize;

use super::containerd::CriAuth;

/// How Docker writes its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The part of Docker's `config.json` that is read. What is kept by a helper program is not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: HashMap<String, Entry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    identitytoken: String,
}

/// The credentials for an image's registry, where there are any.
pub fn find(image: &str) -> Option<CriAuth> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home)?;
    let text = std::fs::read(directory.join("config.json")).ok()?;
    of_config(&serde_json::from_slice(&text).ok()?, image)
}

fn of_config(config: &Config, image: &str) -> Option<CriAuth> {
    let reference: Reference = image.parse().ok()?;
    let registry = reference.registry();
    let keys = [registry.to_owned(), format!("https://{registry}"), format!("https://{registry}/v1/")];
    let hub = (registry == "docker.io").then(|| DOCKER_HUB.to_owned());
    let entry = hub.iter().chain(&keys).find_map(|key| config.auths.get(key))?;
    let decoded = String::from_utf8(BASE64.decode(&entry.auth).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(CriAuth {
        username: username.to_owned(),
        password: password.to_owned(),
        server_address: registry.to_owned(),
        identity_token: entry.identitytoken.clone(),
        ..CriAuth::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_login_wrote_is_found() {
        // "me:secret"
        let text = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"}, "localhost:5000": {}}}"#;
        let config: Config = serde_json::from_str(text).expect("a configuration");
        let auth = of_config(&config, "docker.io/library/app:1").expect("credentials");
        assert_eq!((auth.username.as_str(), auth.password.as_str()), ("me", "secret"));
        assert_eq!(of_config(&config, "quay.io/x/y:1"), None);
        assert_eq!(of_config(&config, "localhost:5000/x:1"), None);
    }
}
