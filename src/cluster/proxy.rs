//! A proxy in the environment: it reaches no node of a cluster, so what talks to a cluster goes around it. Nodes pull images
//! by it.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};

use kcl_node_spec::Proxy;

use crate::app::App;
use crate::bootstrap::HOST_NAME;
use crate::error::Result;
use crate::state::ClusterState;

/// The variables that name a proxy, in both spellings.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// The variables that name what is reached without it. Programs read one of them.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Returns the variables by which programs reach a cluster without the proxy of this environment; none if there is no
/// proxy.
pub(super) fn around(state: &ClusterState) -> Result<Vec<(&'static str, OsString)>> {
    around_with(state, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn around_with(state: &ClusterState, var: impl Fn(&str) -> Option<String>) -> Result<Vec<(&'static str, OsString)>> {
    if !PROXIES.iter().any(|name| var(name).is_some()) {
        return Ok(Vec::new());
    }
    let all = exceptions(state, var)?.join(",");
    Ok(EXCEPTIONS.map(|name| (name, all.clone().into())).to_vec())
}

/// Returns what is reached without the proxy: what the user says, this host, and the cluster.
fn exceptions(state: &ClusterState, var: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let own = EXCEPTIONS.iter().find_map(|name| var(name));
    let hosts =
        ["localhost".to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST).to_string(), state.endpoint()?.ip().to_string()];
    let nodes = state.nodes.iter().flat_map(|node| node.address.iter()).map(|address| address.to_string());
    let ranges = [state.subnet, state.spec.pod_cidr, state.spec.service_cidr].map(|range| range.to_string());
    Ok(own.into_iter().chain(hosts).chain(nodes).chain(ranges).collect())
}

/// Returns the proxy of this environment for nodes, unless nodes do not reach it.
pub(super) fn for_nodes(app: &App, state: &ClusterState) -> Result<Option<Proxy>> {
    let (proxy, unreachable) =
        for_nodes_with(state, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    for url in unreachable {
        app.progress.warn(format!(
            "the proxy {} is on this host's loopback, which nodes do not reach: they pull images without it; let it listen \
             on another address, and name it by {HOST_NAME}",
            without_password(&url)
        ));
    }
    Ok(proxy)
}

fn for_nodes_with(state: &ClusterState, var: impl Fn(&str) -> Option<String>) -> Result<(Option<Proxy>, Vec<String>)> {
    let named =
        |names: [&str; 2]| names.into_iter().find_map(&var).or_else(|| var("ALL_PROXY")).or_else(|| var("all_proxy"));
    let mut unreachable = Vec::new();
    let mut reached = |url: String| match is_on_loopback(&url) {
        true => {
            if !unreachable.contains(&url) {
                unreachable.push(url);
            }
            None
        }
        false => Some(url),
    };
    let http = named(["HTTP_PROXY", "http_proxy"]).and_then(&mut reached);
    let https = named(["HTTPS_PROXY", "https_proxy"]).and_then(&mut reached);
    if http.is_none() && https.is_none() {
        return Ok((None, unreachable));
    }
    let mut without = exceptions(state, &var)?;
    let nodes = state.nodes.iter().map(|node| node.name.clone());
    without.extend(nodes.chain([HOST_NAME.to_owned(), ".svc".to_owned(), format!(".{}", state.spec.dns_domain)]));
    Ok((Some(Proxy { http, https, without }), unreachable))
}

/// Returns true if the host of a URL is this host's own loopback.
fn is_on_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns a URL for messages.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_reached_without_the_proxy_and_the_users_exceptions_stay() {
        let text = include_str!("../../tests/fixtures/state/2.json");
        let state: ClusterState = serde_json::from_str(text).unwrap();
        assert_eq!(around_with(&state, |_| None).unwrap(), []);
        assert_eq!(around_with(&state, |name| (name == "NO_PROXY").then(|| "a".to_owned())).unwrap(), []);
        let var = |name: &str| match name {
            "https_proxy" => Some("http://proxy:3128".to_owned()),
            "no_proxy" => Some("corp.example,10.0.0.0/8".to_owned()),
            _ => None,
        };
        let found = around_with(&state, var).unwrap();
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), EXCEPTIONS);
        let text = found[0].1.to_str().unwrap();
        let entries: Vec<&str> = text.split(',').collect();
        for entry in
            ["corp.example", "10.0.0.0/8", "127.0.0.1", "10.89.0.2", "10.89.0.0/24", "10.244.0.0/16", "10.96.0.0/16"]
        {
            assert!(entries.contains(&entry), "{entry}: {text}");
        }
    }

    #[test]
    fn nodes_pull_images_by_a_proxy_that_they_reach() {
        let text = include_str!("../../tests/fixtures/state/2.json");
        let state: ClusterState = serde_json::from_str(text).unwrap();
        let with = |proxies: &[(&str, &str)]| {
            let var = |name: &str| proxies.iter().find(|(key, _)| *key == name).map(|(_, url)| (*url).to_owned());
            for_nodes_with(&state, var).unwrap()
        };
        assert_eq!(with(&[("NO_PROXY", "x")]), (None, Vec::new()));
        for url in ["http://localhost:3128", "127.0.0.1:3128", "http://user:a@b@[::1]:3128/", "socks5://127.1.2.3"] {
            assert_eq!(with(&[("https_proxy", url)]), (None, vec![url.to_owned()]));
        }
        assert_eq!(without_password("http://user:secret@127.0.0.1:1"), "http://127.0.0.1:1");
        let (proxy, unreachable) = with(&[("https_proxy", "http://proxy:3128"), ("no_proxy", "corp.example")]);
        let proxy = proxy.unwrap();
        assert_eq!((proxy.http, proxy.https.as_deref()), (None, Some("http://proxy:3128")));
        assert!(unreachable.is_empty());
        for entry in ["corp.example", "localhost", "10.244.0.0/16", "10.96.0.0/16", ".svc", ".cluster.local"] {
            assert!(proxy.without.iter().any(|one| one == entry), "{entry}");
        }
    }
}
