//! Containers by the bundled runc: the story that all drivers share. `tests/cluster` tells the others.

use crate::story;
use crate::support::Home;

#[test]
fn three_nodes() {
    let home = Home::new("native");
    let cluster = story::three_nodes(&home, "native", &["--driver", "native"]);
    cluster.kcl(["delete"]).ok();
}
