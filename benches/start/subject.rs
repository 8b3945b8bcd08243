//! The drivers to measure, each with its flags.

use std::path::PathBuf;

/// A driver to measure.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The driver's name.
    pub driver: String,
    /// The flags of `kcl start`.
    pub flags: Vec<String>,
    /// The hosts that nodes are to be, where they exist already.
    pub hosts: Vec<String>,
    /// The home of who logs in there, where it is another than this user's.
    pub user: Option<PathBuf>,
}

impl Subject {
    /// Those of `KCL_BENCH_DRIVERS`, names with commas between (default: native). Additional flags of a driver are in
    /// `KCL_BENCH_<DRIVER>_FLAGS`, with spaces between, and its hosts are in `KCL_BENCH_<DRIVER>_HOSTS`.
    pub(crate) fn from_env() -> Vec<Subject> {
        let names = std::env::var("KCL_BENCH_DRIVERS").unwrap_or_else(|_| "native".to_owned());
        names.split(',').map(|name| Subject::of(name.trim())).collect()
    }

    fn of(driver: &str) -> Subject {
        let words = |what: &str| -> Vec<String> {
            let name = format!("KCL_BENCH_{}_{what}", driver.to_uppercase());
            std::env::var(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let flags = ["--driver", driver].map(str::to_owned).into_iter().chain(words("FLAGS")).collect();
        Subject { driver: driver.to_owned(), flags, hosts: words("HOSTS"), user: None }
    }

    /// Returns the flags of `kcl start` for a number of nodes.
    pub(crate) fn flags(&self, nodes: usize) -> Vec<String> {
        let hosts = self.hosts.iter().take(nodes).flat_map(|host| ["--host".to_owned(), host.clone()]);
        self.flags.iter().cloned().chain(hosts).collect()
    }
}
