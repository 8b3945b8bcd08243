//! A home of kcl for one test, and the command in it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kcl::state::Paths;

use super::{Output, TestCluster, Traces};

/// Clusters are large: one test of a binary at a time has some.
static TURN: Mutex<()> = Mutex::new(());

/// A `KCL_HOME` of its own, with its own kubeconfig. Dropping it deletes its clusters, also after a failure, and fails
/// the test where anything of them is left on the machine.
pub(crate) struct Home {
    story: String,
    begun: Instant,
    // Emptied only when it is known that nothing runs in it.
    dir: Option<tempfile::TempDir>,
    path: PathBuf,
    scratch: tempfile::TempDir,
    cache: PathBuf,
    profiles: Mutex<Vec<String>>,
    variables: Mutex<Vec<(String, OsString)>>,
    _turn: MutexGuard<'static, ()>,
}

impl Home {
    /// A home for the test that is called `story`. It lies beside the cache, so that files can be linked from there.
    pub(crate) fn new(story: &str) -> Self {
        // A test that failed has cleaned up behind it.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(nix::unistd::geteuid().is_root(), "tests with real clusters need root: run them with sudo -E");
        let cache = Paths::from_env().expect("KCL_CACHE or a home directory").cache;
        let beside = cache.parent().expect("the cache is not the root directory");
        std::fs::create_dir_all(beside).expect("the cache's parent directory");
        let temporary = |prefix: &str| tempfile::Builder::new().prefix(prefix).tempdir_in(beside).expect("a directory");
        let dir = temporary("kcl-test-");
        Home {
            story: story.to_owned(),
            begun: Instant::now(),
            path: dir.path().canonicalize().expect("the home's path"),
            dir: Some(dir),
            scratch: temporary("kcl-scratch-"),
            cache,
            profiles: Mutex::default(),
            variables: Mutex::default(),
            _turn: turn,
        }
    }

    /// `KCL_HOME`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `KCL_CACHE`: shared with others, to be read only.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// A directory for the test's own files.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes one of the test's own files.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.scratch().join(name);
        std::fs::write(&path, content).expect("a file in the scratch directory");
        path
    }

    /// `KUBECONFIG`.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.scratch().join("kubeconfig")
    }

    /// Sets a variable of the environment for kcl in this home.
    pub(crate) fn set(&self, variable: &str, value: impl Into<OsString>) {
        let mut variables = self.variables.lock().unwrap_or_else(PoisonError::into_inner);
        variables.push((variable.to_owned(), value.into()));
    }

    /// kcl in this home, to be run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KCL_")) {
            command.env_remove(variable);
        }
        command
            .args(arguments)
            .env("KCL_HOME", &self.path)
            .env("KCL_CACHE", &self.cache)
            .env("KUBECONFIG", self.kubeconfig())
            .envs(self.variables.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned())
            .current_dir(self.scratch());
        command
    }

    /// Runs kcl in this home.
    pub(crate) fn kcl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        Output::of(&mut self.command(arguments))
    }

    /// A cluster of this home, which need not exist yet.
    pub(crate) fn cluster(&self, profile: &str) -> TestCluster<'_> {
        let mut profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
        if !profiles.iter().any(|known| known == profile) {
            profiles.push(profile.to_owned());
        }
        TestCluster::new(self, profile)
    }

    /// Makes a cluster, without resolvers: tests send nothing outside.
    #[track_caller]
    pub(crate) fn start(&self, profile: &str, arguments: &[&str]) -> TestCluster<'_> {
        let cluster = self.cluster(profile);
        cluster.start(arguments).ok();
        cluster
    }

    /// Runs a command of nft in the host's packet filter.
    pub(crate) fn nft(&self, command: &str) -> Output {
        Output::of(super::leftovers::nft(&self.cache).arg(command))
    }

    /// A YAML file's content.
    #[track_caller]
    pub(crate) fn yaml(&self, path: &Path) -> serde_json::Value {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()))
    }

    /// Tells those who watch what comes next.
    pub(crate) fn step(&self, what: &str) {
        eprintln!("[{} {:7.2} s] {what}", self.story, self.begun.elapsed().as_secs_f64());
    }

    /// Lists the resources of this home's clusters on the machine.
    pub(crate) fn traces(&self) -> Traces {
        let profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
        Traces::find(&self.path, &self.path, &self.cache, &profiles)
    }

    /// Lists the clusters that kubeconfig and home still have.
    fn remains(&self) -> Vec<String> {
        let mut remains = Vec::new();
        for entry in walkdir::WalkDir::new(&self.path).min_depth(1).into_iter().flatten() {
            // The lock of a cluster that was never made is an empty promise and no cluster.
            let lock = entry.path().parent() == Some(&*self.path.join("locks"));
            // By its marker kcl knows the home, for as long as there is one.
            let marker = entry.path() == self.path.join(".kcl");
            if !lock && !marker && (entry.depth() > 1 || !entry.file_type().is_dir()) {
                remains.push(format!("file {}", entry.path().display()));
            }
        }
        let kubeconfig = std::fs::read_to_string(self.kubeconfig()).unwrap_or_default();
        for profile in self.profiles.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if kubeconfig.lines().any(|line| line.trim_start_matches(['-', ' ']) == format!("name: {profile}")) {
                remains.push(format!("kubeconfig entry {profile}"));
            }
        }
        remains
    }

    /// Collects the logs of clusters whose test failed.
    fn keep_evidence(&self) {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failures");
        if let Err(error) = std::fs::create_dir_all(&target) {
            return eprintln!("{}: {error}", target.display());
        }
        for profile in self.profiles.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let file = target.join(format!("{}-{profile}.tar.gz", self.story));
            let packed =
                self.kcl([OsStr::new("logs"), "-p".as_ref(), profile.as_ref(), "--archive".as_ref(), file.as_ref()]);
            let said =
                if packed.succeeded() { format!("logs of {profile}: {}", file.display()) } else { packed.stderr };
            eprintln!("{said}");
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            self.keep_evidence();
        }
        self.step("delete");
        let deleted = self.kcl(["delete", "--all"]);
        // A panic while another one unwinds would hide that one.
        let look = std::panic::AssertUnwindSafe(|| self.traces().lines());
        let mut left = std::panic::catch_unwind(look).unwrap_or_else(|_| vec!["what, cannot be told".to_owned()]);
        left.extend(self.remains());
        if deleted.succeeded() && left.is_empty() {
            return self.step("gone");
        }
        // Whatever still runs in it keeps its files.
        if let Some(dir) = self.dir.take() {
            eprintln!("kept for a look: {}", dir.keep().display());
        }
        let report = format!("{deleted}\nleft after the deletion:\n  {}", left.join("\n  "));
        if failed { eprintln!("{report}") } else { panic!("{report}") }
    }
}
