//! The route to a host: the user's words, and what `~/.ssh/config` adds to them (ssh_config(5)).
//!
//! Supported are `Host` (also `Match all`), `Include`, `HostName`, `User`, `Port`, `IdentityFile` and `ProxyJump`. The
//! user's words for kcl win. Only `known_hosts` decides if a host is the right one: `StrictHostKeyChecking` and
//! `UserKnownHostsFile` have no effect here.

use std::path::{Path, PathBuf};

use kcl_driver_api::{Error, ErrorKind, Result};
use ssh2_config::{HostParams, ParseRule, SshConfig};

use crate::target::{Place, Target};

/// The most jumps: more of them go in a circle.
const JUMPS: usize = 16;

/// A host on the route, the target last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// The address, with its user and its port.
    pub place: Place,
    /// The user who logs in there.
    pub user: String,
    /// Private keys that were named for it; if there are none, the usual ones are tried.
    pub keys: Vec<PathBuf>,
}

/// The user's configuration of ssh(1).
pub(crate) struct UserConfig {
    file: PathBuf,
    home: PathBuf,
    /// The user who logs in unless another is named.
    user: String,
    parsed: SshConfig,
}

impl UserConfig {
    /// Reads `config` below `~/.ssh`; a missing file adds nothing.
    pub(crate) fn read(ssh: Option<&Path>, user: &str) -> Result<UserConfig> {
        let file = ssh.unwrap_or(Path::new("")).join("config");
        let text = match std::fs::read(&file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unusable(&file, &error)),
        };
        let home = ssh.and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
        let rule = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
        let parsed = SshConfig::default().home_dir(&home).parse(&mut without_match(&text).as_bytes(), rule);
        let parsed = parsed.map_err(|error| unusable(&file, &error))?;
        // The parser would add the lines after it to the section before.
        let has_match = |host: &ssh2_config::Host| host.params.ignored_fields.keys().any(|key| is_match(key));
        if parsed.get_hosts().iter().any(has_match) {
            return Err(unusable(
                &file,
                &"a file that it includes has a section \"Match\", of which only Host is known",
            ));
        }
        Ok(UserConfig { file, home, user: user.to_owned(), parsed })
    }

    /// Returns the route to a host: the jump hosts, then the host itself.
    pub(crate) fn route(&self, target: &Target) -> Result<Vec<Hop>> {
        let mut route = Vec::new();
        let mut place = target.host.clone();
        let mut explicit_jumps = target.jump.as_ref().map(|jump| vec![jump.clone()]);
        loop {
            let params = self.parsed.query(&place.address);
            let jumps = explicit_jumps.take().map_or_else(|| self.jumps(&place, &params), Ok)?;
            route.push(self.hop(&place, &params, target.key.as_ref())?);
            if route.len() > JUMPS {
                let why = format!("the jump hosts (ProxyJump) of {} lead in a circle", target.host.address);
                return Err(unusable(&self.file, &why));
            }
            // As in ssh(1): the last is reached by those before it, the first by what its own section says.
            let Some((last, before)) = jumps.split_last() else { break };
            place = last.clone();
            explicit_jumps = Some(before.to_vec()).filter(|before| !before.is_empty());
        }
        route.reverse();
        Ok(route)
    }

    /// Returns the jump hosts of `ProxyJump`.
    fn jumps(&self, place: &Place, params: &HostParams) -> Result<Vec<Place>> {
        let named = params.proxy_jump.iter().flatten().filter(|jump| !jump.eq_ignore_ascii_case("none"));
        let read = |jump: &String| {
            let read = jump.parse::<Place>();
            read.map_err(|error| unusable(&self.file, &format!("ProxyJump of {}: {}", place.address, error.message)))
        };
        let mut jumps = named.map(read).collect::<Result<Vec<_>>>()?;
        // "Host *" applies to the jump host, too.
        jumps.retain(|jump| jump.address != place.address);
        let command = params.unsupported_fields.get("proxycommand").and_then(|words| words.first());
        if params.proxy_jump.is_none() && command.is_some_and(|command| !command.eq_ignore_ascii_case("none")) {
            let why = format!("{} is reached by a ProxyCommand there, which kcl does not run", place.address);
            return Err(unusable(&self.file, &why).hint("use ProxyJump, or --ssh-jump"));
        }
        Ok(jumps)
    }

    /// Returns the hop with everything that is known of it.
    fn hop(&self, place: &Place, params: &HostParams, key: Option<&PathBuf>) -> Result<Hop> {
        let expand = |option: &str, text: &str, tokens: &[(char, &str)]| {
            expand(text, tokens).map_err(|token| {
                let known: String = tokens.iter().map(|(token, _)| format!(" %{token}")).collect();
                let why = format!("{option} of {}: {token} is not known here, only{known} %%", place.address);
                unusable(&self.file, &why)
            })
        };
        let address = match &params.host_name {
            Some(name) => expand("HostName", name, &[('h', &place.address)])?,
            None => place.address.clone(),
        };
        let user = place.user.clone().or_else(|| params.user.clone()).unwrap_or_else(|| self.user.clone());
        let home = self.home.to_string_lossy();
        let tokens = [('d', home.as_ref()), ('h', &address), ('r', &user), ('u', &self.user)];
        let keys = match key {
            Some(key) => vec![key.clone()],
            None => {
                let files = params.identity_file.iter().flatten().map(|file| file.to_string_lossy());
                let files = files.filter(|file| !file.eq_ignore_ascii_case("none"));
                let files = files.map(|file| expand("IdentityFile", &file, &tokens).map(PathBuf::from));
                files.collect::<Result<_>>()?
            }
        };
        let port = place.port.or(params.port);
        Ok(Hop { place: Place { user: Some(user.clone()), address, port }, user, keys })
    }
}

fn unusable(file: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Host, format!("{} cannot be used: {why}", file.display()))
        .hint("ssh -G ADDRESS prints what ssh takes from it")
}

fn is_match(keyword: &str) -> bool {
    keyword.eq_ignore_ascii_case("match")
}

/// Makes sections `Match all` apply to all hosts, and other `Match` sections to none: the parser does not know them.
fn without_match(text: &str) -> String {
    let line = |line: &str| {
        let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
        if !words.next().is_some_and(is_match) {
            return format!("{line}\n");
        }
        let all = words.next().is_some_and(|word| word.eq_ignore_ascii_case("all")) && words.next().is_none();
        if !all {
            tracing::warn!("a section of ~/.ssh/config is left out, as only Host and \"Match all\" are known: {line}");
        }
        format!("Host {}\n", if all { "*" } else { "!*" })
    };
    text.lines().map(line).collect()
}

/// Replaces `%` and a letter; the error is an unknown pair.
fn expand(text: &str, tokens: &[(char, &str)]) -> std::result::Result<String, String> {
    let mut expanded = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            expanded.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') => expanded.push('%'),
            other => {
                let token = tokens.iter().find(|(token, _)| Some(*token) == other);
                expanded.push_str(token.ok_or_else(|| format!("%{}", other.map_or(String::new(), String::from)))?.1);
            }
        }
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the route to a host by this configuration, as text, with the names of keys.
    fn route_of(config: &str, host: &str, jump: Option<&str>, key: Option<&str>) -> Result<String> {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        std::fs::create_dir(&ssh).unwrap();
        std::fs::write(ssh.join("config"), config).unwrap();
        std::fs::write(ssh.join("more"), "Host included\n  Port 7\n").unwrap();
        std::fs::write(ssh.join("matching"), "Match host included\n  Port 8\n").unwrap();
        let target = Target {
            host: host.parse().unwrap(),
            key: key.map(PathBuf::from),
            jump: jump.map(|jump| jump.parse().unwrap()),
        };
        let route = UserConfig::read(Some(&ssh), "me")?.route(&target)?;
        let name = |key: &PathBuf| key.strip_prefix(&ssh).unwrap_or(key).display().to_string();
        let hop = |hop: &Hop| format!("{}[{}]", hop.place, hop.keys.iter().map(name).collect::<Vec<_>>().join(","));
        Ok(route.iter().map(hop).collect::<Vec<_>>().join(" > "))
    }

    const CONFIG: &str = r#"
        Include more
        Host web db
            HostName=%h.example
            User root
            Port 2222
            IdentityFile ~/.ssh/%r-%h
        Host db
            ProxyJump first@a:3,b
        Host b
            IdentityFile ~/.ssh/of-b
        Match exec "true"
            Port 9
        Match all
            User everybody
        Host circle
            ProxyJump circle2
        Host circle2
            ProxyJump circle
        Host command
            ProxyCommand nc %h %p
        Host token
            HostName %k
    "#;

    #[test]
    fn the_configuration_of_ssh_adds_what_was_not_said() {
        for (host, wanted) in [
            ("10.0.0.5", "everybody@10.0.0.5[]"),
            ("included", "everybody@included:7[]"),
            ("web", "root@web.example:2222[root-web.example]"),
            ("you@web:22", "you@web.example:22[you-web.example]"),
            ("db", "first@a:3[] > everybody@b[of-b] > root@db.example:2222[root-db.example]"),
        ] {
            assert_eq!(route_of(CONFIG, host, None, None).unwrap(), wanted);
        }
        let route = route_of(CONFIG, "db", Some("b"), Some("/key")).unwrap();
        assert_eq!(route, "everybody@b[/key] > root@db.example:2222[/key]");
        assert_eq!(route_of("Host *\nProxyJump j", "a", None, None).unwrap(), "me@j[] > me@a[]");
    }

    #[test]
    fn what_cannot_be_used_is_told_with_the_file() {
        for (config, host, wanted) in [
            (CONFIG, "circle", "in a circle"),
            (CONFIG, "command", "ProxyCommand"),
            (CONFIG, "token", "%k is not known here, only %h %%"),
            ("Port many", "a", "port number"),
            ("Host a\nProxyJump a:b:c/d", "a", "ProxyJump of a"),
            ("Include matching", "a", "\"Match\""),
        ] {
            let error = route_of(config, host, None, None).unwrap_err().message;
            assert!(error.contains(".ssh/config cannot be used") && error.contains(wanted), "{error}");
        }
    }
}
