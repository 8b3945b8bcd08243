//! A proxy in the environment: it reaches no node of a cluster, so what talks to a cluster goes around it.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};

use crate::error::Result;
use crate::state::ClusterState;

/// The variables that name a proxy, in both spellings.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// The variables that name what is reached without it. Programs read one of them.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Returns the variables by which programs reach a cluster without the proxy of this environment; none if there is no
/// proxy.
pub fn around(state: &ClusterState) -> Result<Vec<(&'static str, OsString)>> {
    around_with(state, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn around_with(state: &ClusterState, var: impl Fn(&str) -> Option<String>) -> Result<Vec<(&'static str, OsString)>> {
    if !PROXIES.iter().any(|name| var(name).is_some()) {
        return Ok(Vec::new());
    }
    let own = EXCEPTIONS.iter().find_map(|name| var(name));
    let hosts =
        ["localhost".to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST).to_string(), state.endpoint()?.ip().to_string()];
    let nodes = state.nodes.iter().flat_map(|node| node.address.iter()).map(|address| address.to_string());
    let ranges = [state.subnet, state.spec.pod_cidr, state.spec.service_cidr].map(|range| range.to_string());
    let all: Vec<String> = own.into_iter().chain(hosts).chain(nodes).chain(ranges).collect();
    Ok(EXCEPTIONS.map(|name| (name, all.join(",").into())).to_vec())
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
}
