//! A chart, and kcl's own Helm.

use std::os::unix::fs::symlink;

use crate::support::TestCluster;
use crate::tutorial::Tutorial;

/// Runs it; the images of the app have to be there.
pub(crate) fn story(cluster: &TestCluster<'_>) {
    let version = cluster.kcl(["helm", "--", "version", "--short"]);
    assert!(version.ok().starts_with("v4."), "{version}");
    let helm = crate::artifact(cluster.home, "helm").join("bin/helm");
    symlink(helm, cluster.home.scratch().join("bin/helm")).expect("a link");
    Tutorial::open(cluster.home, "helm").finish();
    assert_eq!(cluster.kcl(["helm", "--", "list", "-A", "-q"]).ok(), "");
}
