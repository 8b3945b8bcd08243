//! Images in a real cluster, loaded by the real command as a developer does it. Needs root, and Docker for the images
//! that come from it; `KCL_CACHE` may name a cache that has the artifacts.

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod errors;
mod files;
mod podman;
mod sources;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use sources::{Developer, MIB};
use support::{Home, TestCluster, eventually};

/// Runs a developer's loop on three nodes, from the first load to a build, with all errors on the way.
#[test]
fn the_loop_of_a_developer() {
    let home = Home::new("images");
    let cluster = home.start("images", &["--nodes", "3"]);
    let developer = Developer::new(&cluster);

    home.step("an image of Docker comes to all nodes");
    developer.build("app:1", "one", 20 * MIB);
    let first = loaded(&cluster, &["app:1"]);
    for (node, sent) in nodes(&first) {
        assert_eq!((sent["sent"].as_u64(), sent["present"].as_u64()), (first["size"].as_u64(), Some(0)), "{node}");
    }
    assert_eq!(runs_everywhere(&cluster, "app:1", "Never"), "one");

    home.step("a small change costs what it is");
    developer.build("app:1", "two", 20 * MIB);
    let second = loaded(&cluster, &["app:1"]);
    for (node, sent) in nodes(&second) {
        assert!(sent["sent"].as_u64().is_some_and(|bytes| bytes > 0 && bytes < MIB / 10), "{node}: {sent}");
    }
    assert_eq!(runs_everywhere(&cluster, "app:1", "IfNotPresent"), "two");

    home.step("the same from archives, a directory and standard input");
    sources::all_ways(&cluster, &developer);

    home.step("names");
    cluster.kcl(["image", "tag", "app:1", "team/app:stable"]).ok();
    assert_eq!(row(&cluster, "docker.io/team/app:stable")["id"], row(&cluster, "docker.io/library/app:1")["id"]);
    cluster.kcl(["image", "rm", "app:1"]).ok();
    assert!(names(&cluster).iter().all(|name| name != "docker.io/library/app:1"));
    assert_eq!(runs_everywhere(&cluster, "team/app:stable", "Never"), "two");
    cluster.kcl(["image", "rm", "team/app:stable", "never:there"]).ok();
    assert!(names(&cluster).iter().all(|name| !name.contains("app")), "{:?}", names(&cluster));

    home.step("only some nodes");
    let all = cluster.node_names();
    let some = loaded(&cluster, &["app:1", "--nodes", &all[1]]);
    assert_eq!(nodes(&some).len(), 1);
    assert_eq!(row(&cluster, "docker.io/library/app:1")["nodes"], serde_json::json!([all[1]]));

    home.step("a transfer that is cut goes on");
    goes_on(&cluster, &developer);

    home.step("a root file system becomes an image");
    let rootfs = developer.root_file_system();
    let import = ["image", "import", rootfs.to_str().expect("a path"), "--name", "root:1", "--env", "WHO=me"];
    cluster.kcl(import.iter().chain(&["--workdir", "/tmp", "--cmd", "echo $WHO in $PWD"])).ok();
    assert_eq!(runs_everywhere(&cluster, "root:1", "Never"), "me in /tmp");

    home.step("errors are reported");
    errors::all(&cluster, &developer);

    home.step("BuildKit in the cluster");
    builds(&cluster, &developer);

    home.step("files go both ways");
    files::all(&cluster);
}

/// Runs `kcl image load` for one image and returns the result for each node.
#[track_caller]
pub(crate) fn loaded(cluster: &TestCluster<'_>, arguments: &[&str]) -> Value {
    let list = cluster.kcl(["image", "load", "-o", "json"].iter().chain(arguments)).json();
    list.as_array().and_then(|list| list.first()).unwrap_or_else(|| panic!("nothing: {list}")).clone()
}

fn nodes(loaded: &Value) -> Vec<(String, Value)> {
    let nodes = loaded["nodes"].as_object().expect("nodes");
    nodes.iter().map(|(name, sent)| (name.clone(), sent.clone())).collect()
}

fn rows(cluster: &TestCluster<'_>) -> Vec<Value> {
    cluster.kcl(["image", "ls", "--format", "json"]).json().as_array().expect("a list").clone()
}

fn names(cluster: &TestCluster<'_>) -> Vec<String> {
    let tags = |row: &Value| row["repoTags"].as_array().cloned().unwrap_or_default();
    rows(cluster).iter().flat_map(tags).map(|tag| tag.as_str().expect("a name").to_owned()).collect()
}

#[track_caller]
fn row(cluster: &TestCluster<'_>, name: &str) -> Value {
    let has = |row: &Value| row["repoTags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == name));
    rows(cluster).into_iter().find(has).unwrap_or_else(|| panic!("no {name}"))
}

/// Runs the image in a pod on each node and returns the output of all.
#[track_caller]
pub(crate) fn runs_everywhere(cluster: &TestCluster<'_>, image: &str, policy: &str) -> String {
    let mut said = Vec::new();
    let all = cluster.node_names();
    for (index, node) in all.iter().enumerate() {
        let overrides = format!(r#"--overrides={{"spec":{{"nodeName":"{node}","terminationGracePeriodSeconds":0}}}}"#);
        let (name, image) = (format!("run-{index}"), format!("--image={image}"));
        let policy = format!("--image-pull-policy={policy}");
        cluster.kubectl(["run", &name, &image, &policy, "--restart=Never", &overrides]);
    }
    for index in 0..all.len() {
        let name = format!("run-{index}");
        cluster.wait_for("jsonpath={.status.phase}=Succeeded", &["pod", &name]);
        said.push(cluster.kubectl(["logs", &name]));
        cluster.kubectl(["delete", "pod", &name, "--now"]);
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    said.remove(0)
}

/// Kills kcl while it sends an image, and asserts that the next run does not send the same bytes again.
fn goes_on(cluster: &TestCluster<'_>, developer: &Developer<'_>) {
    developer.build("large:1", "large", 300 * MIB);
    let node = cluster.node_names().remove(0);
    let mut killed = cluster.command(["image", "load", "large:1"]).spawn().expect("kcl");
    eventually("a part of it has arrived", || {
        let active = cluster.ssh(&node, "/opt/kcl/components/bin/ctr -n k8s.io content active");
        let active = active.ok().to_owned();
        // A line for each upload, below a header.
        let begun = active.lines().skip(1).any(|line| line.contains("MiB") || line.contains("MB"));
        if begun || killed.try_wait().is_ok_and(|ended| ended.is_some()) { Ok(()) } else { Err(active) }
    });
    killed.kill().expect("it still ran");
    killed.wait().expect("its end");
    let rest = loaded(cluster, &["large:1"]);
    let size = rest["size"].as_u64().expect("a size");
    let sent: u64 = nodes(&rest).iter().map(|(_, sent)| sent["sent"].as_u64().expect("bytes")).sum();
    assert!(sent < 3 * size, "{rest}");
    assert_eq!(runs_everywhere(cluster, "large:1", "Never"), "large");
    cluster.kcl(["image", "rm", "large:1"]).ok();
}

/// Builds with stages, RUN, arguments and ignored files, from scratch and from an image of the cluster, without a
/// network.
fn builds(cluster: &TestCluster<'_>, developer: &Developer<'_>) {
    let context = cluster.home.scratch().join("context");
    fs::create_dir_all(&context).expect("a directory");
    let write = |name: &str, text: &str| fs::write(context.join(name), text).expect(name);
    write(
        "Dockerfile",
        "FROM app:1 AS made\nARG WORD=none\nRUN echo \"$WORD\" >/said\n\
         FROM scratch AS small\nCOPY --from=made /bin /bin\nCOPY --from=made /said /said\nCOPY . /context\n\
         CMD [\"sh\", \"-c\", \"cat /said; ls /context\"]\n",
    );
    write("kept", "");
    write("left", "");
    write(".dockerignore", "left\nDockerfile\n.dockerignore\n");
    developer.build("app:1", "base", MIB);
    loaded(cluster, &["app:1"]);
    let path = context.to_str().expect("a path");
    let build = ["image", "build", path, "-t", "built:1", "-t", "team/built:1", "--progress", "plain"];
    cluster.kcl(build.iter().chain(&["--build-arg", "WORD=first"])).ok();
    assert_eq!(runs_everywhere(cluster, "built:1", "Never"), "first\nkept");
    cluster.kcl(build.iter().chain(&["--build-arg", "WORD=second"])).ok();
    assert_eq!(runs_everywhere(cluster, "team/built:1", "Never"), "second\nkept");
    let failed = cluster.kcl(["image", "build", path, "-t", "built:2", "--target", "none"]);
    assert!(!failed.succeeded(), "{failed}");
    // The image is also pushed to a registry, and pulled from there.
    cluster.kcl(["addons", "enable", "registry"]).ok();
    let name = "localhost:5000/team/built:1";
    cluster.kcl(["image", "build", path, "-t", name, "--push", "--build-arg", "WORD=pushed"]).ok();
    cluster.kcl(["image", "rm", name]).ok();
    cluster.kcl(["image", "pull", name]).ok();
    assert_eq!(runs_everywhere(cluster, name, "Never"), "pushed\nkept");
    // As people write them: with a syntax that nothing is pulled for, and from standard input; without a name, or to files.
    let said = |file: &str| {
        format!("# syntax=docker/dockerfile:1\nFROM app:1\nCOPY <<EOT /said\n{file}\nEOT\nCMD [\"cat\", \"/said\"]\n")
    };
    write("Other", &said("other"));
    cluster.kcl(["image", "build", path, "-t", "built:3", "-f", &format!("{path}/Other")]).ok();
    assert_eq!(runs_everywhere(cluster, "built:3", "Never"), "other");
    let piped = |arguments: &[&str], input: &[u8]| {
        let mut command = cluster.command(["image", "build", "--progress", "plain"].iter().chain(arguments));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kcl");
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
        let output = child.wait_with_output().expect("its end");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    piped(&[path, "-f", "-", "-t", "built:4"], said("standard input").as_bytes());
    assert_eq!(runs_everywhere(cluster, "built:4", "Never"), "standard input");
    let built = piped(&["-", "-o", "json"], b"FROM app:1\nCMD [\"echo\", \"nameless\"]\n");
    let built: Value = serde_json::from_slice(&built).expect("JSON");
    cluster.kcl(["image", "tag", built[0]["id"].as_str().expect("an id"), "built:5"]).ok();
    assert_eq!(runs_everywhere(cluster, "built:5", "Never"), "nameless");
    let out = cluster.home.scratch().join("out");
    let (out, cache) = (out.to_str().expect("a path"), format!("type=local,dest={}", path.replace("context", "cache")));
    cluster.kcl(["image", "build", path, "-f", &format!("{path}/Other"), "-o", out, "--cache-to", &cache]).ok();
    assert_eq!(fs::read_to_string(format!("{out}/said")).expect("it was built").trim(), "other");
    let failing = "FROM app:1\nRUN exit 3\n";
    write("Failing", failing);
    let failed = cluster.kcl(["image", "build", path, "-f", &format!("{path}/Failing")]).to_string();
    assert!(failed.contains("could not be built") && !failed.contains("base image"), "{failed}");
    // A tool of the host uses the same BuildKit.
    let workers = ["image", "env", "--", "sh", "-c", "test -S \"${BUILDKIT_HOST#unix://}\" && echo there"];
    assert_eq!(cluster.kcl(workers).ok(), "there");
}
