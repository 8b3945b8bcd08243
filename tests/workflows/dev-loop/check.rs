//! From a change of the code to its answer; the time is reported, not judged.

use std::time::Instant;

use crate::support::TestCluster;
use crate::tutorial::Tutorial;

/// Runs it, beside the app.
pub(crate) fn story(cluster: &TestCluster<'_>) {
    let mut tutorial = Tutorial::open(cluster.home, "dev-loop");
    tutorial.section("");
    tutorial.section("Change something");
    let begun = Instant::now();
    tutorial.section("Build and roll out");
    cluster.home.step(&format!("dev-loop: new pods answered after {:.1} s", begun.elapsed().as_secs_f64()));
    tutorial.finish();
}
