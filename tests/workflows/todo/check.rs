//! The app of three parts: a person uses it, and finds again what was there.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::support::{Output, TestCluster, browser};
use crate::tutorial::Tutorial;

/// The task that the reader enters.
const WORDS: &str = "Water the plants";

/// Runs it, with `before_the_end` while the app is there.
pub(crate) fn story(cluster: &TestCluster<'_>, before_the_end: impl FnOnce(&TestCluster<'_>)) {
    let mut tutorial = Tutorial::open(cluster.home, "todo");
    let place = cluster.home.scratch().join("todo");
    let browser = Browser::new(&place);
    tutorial.section("");
    let base = Base::of(&place);
    base.take();
    tutorial.section("Build the images");
    base.keep();
    Output::of(Command::new("make").arg("test").current_dir(&place)).ok();
    tutorial.section("Install it");
    let said = tutorial.section("Use it");
    let url = said.lines().next().and_then(|line| line.strip_suffix("/frontend")).expect("an address").to_owned();
    browser.does(&url, "add");
    for section in ["The pod of the database is deleted", "Its node fails", "The cluster stops"] {
        tutorial.section(section);
        browser.does(&url, "see");
    }
    before_the_end(cluster);
    tutorial.finish();
}

/// A person with Chromium.
struct Browser {
    tools: PathBuf,
    scratch: PathBuf,
}

impl Browser {
    fn new(place: &Path) -> Self {
        let tools = browser::tools();
        std::fs::copy(place.join("browser.mjs"), tools.join("todo.mjs")).expect("a copy");
        Browser { tools, scratch: place.to_owned() }
    }

    #[track_caller]
    fn does(&self, url: &str, what: &str) {
        let mut node = Command::new("node");
        node.arg(self.tools.join("todo.mjs")).args([url, what, WORDS]).env("TMPDIR", &self.scratch);
        node.env("SHOTS", Path::new(env!("CARGO_TARGET_TMPDIR")).join("todo-shots"));
        Output::of(&mut node).ok();
    }
}

/// The root file system, which takes a minute to make: kept for the next run, as long as the way to make it is the same.
struct Base {
    here: PathBuf,
    kept: PathBuf,
}

impl Base {
    fn of(place: &Path) -> Self {
        let recipe = std::fs::read(place.join("Makefile")).expect("the Makefile");
        let digest = base16ct::lower::encode_string(&Sha256::digest(recipe)[..6]);
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("todo-base-{digest}.tar"));
        Base { here: place.join("base.tar"), kept }
    }

    fn take(&self) {
        if self.kept.exists() {
            std::fs::copy(&self.kept, &self.here).expect("a copy");
        }
    }

    fn keep(&self) {
        if !self.kept.exists() {
            let new = self.kept.with_extension("new");
            std::fs::copy(&self.here, &new).and_then(|_| std::fs::rename(&new, &self.kept)).expect("a copy");
        }
    }
}
