//! Containers of the bundled runc: the story that all drivers share. `tests/cluster` has the other tests.

use crate::story;
use crate::support::Home;

#[test]
fn three_nodes() {
    let home = Home::new("native");
    let port = story::free_port();
    let ports = format!("{port}:8080");
    let cluster = story::three_nodes(&home, "native", &["--driver", "native", "--ports", &ports]);
    story::published_port_answers(&cluster, port);
    cluster.kcl(["delete"]).ok();
}
