//! Whose clusters are measured: drivers, each with the flags that it needs.

/// A driver.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name.
    pub driver: String,
    /// What `kcl start` is told.
    pub flags: Vec<String>,
}

impl Subject {
    /// Those of `KCL_BENCH_DRIVERS`, names with commas between (default: native). What a driver needs besides, such as
    /// hosts, is in `KCL_BENCH_<DRIVER>_FLAGS`, with spaces between.
    pub fn from_env() -> Vec<Subject> {
        let names = std::env::var("KCL_BENCH_DRIVERS").unwrap_or_else(|_| "native".to_owned());
        names.split(',').map(|name| Subject::of(name.trim())).collect()
    }

    fn of(driver: &str) -> Subject {
        let more = std::env::var(format!("KCL_BENCH_{}_FLAGS", driver.to_uppercase())).unwrap_or_default();
        let own = ["--driver", driver].map(str::to_owned);
        let flags = own.into_iter().chain(more.split_whitespace().map(str::to_owned)).collect();
        Subject { driver: driver.to_owned(), flags }
    }
}
