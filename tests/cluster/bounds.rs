//! Nodes of a size of their own.

use crate::support::Home;

#[test]
fn a_node_has_the_size_it_was_given() {
    let home = Home::new("bounds");
    let cluster = home.start("small", &["--cpus", "1", "--memory", "1500Mi"]);
    home.step("what Kubernetes sees");
    assert_eq!(cluster.field(&["node", "small"], ".status.capacity.cpu"), "1");
    assert_eq!(cluster.field(&["node", "small"], ".status.capacity.memory"), "1500Mi");

    home.step("a pod that takes more than there is");
    let before = cluster.components("small");
    cluster.apply(GREEDY);
    cluster.wait_for("jsonpath={.status.phase}=Failed", &["pod/greedy"]);
    let ended = cluster.field(&["pod", "greedy"], ".status.containerStatuses[0].state.terminated.exitCode");
    assert_eq!(ended, "137", "killed");
    cluster.settled();
    assert_eq!(cluster.components("small"), before, "nothing else was killed");
    assert_eq!(cluster.run_on("small", "after", "echo works"), "works");

    home.step("one CPU is one CPU");
    // Two busy loops for a while: the node's own clock of CPU time stays within the one that it has.
    cluster.apply(BUSY);
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", &["pod/busy"]);
    let ticks: Vec<u64> =
        cluster.kubectl(["logs", "busy"]).split_whitespace().map(|n| n.parse().expect("ticks")).collect();
    let [used, passed] = ticks[..] else { panic!("two numbers: {ticks:?}") };
    assert!(used <= passed + passed / 4, "{used} ticks of CPU in {passed} ticks of time");

    home.step("a stop and a start keep the size");
    cluster.kcl(["stop"]).ok();
    cluster.start(&[]).ok();
    assert_eq!(cluster.field(&["node", "small"], ".status.capacity.cpu"), "1");
}

/// Nodes get another size one after the other, which the dry run says before; a service of two pods answers all the time.
#[test]
fn nodes_are_resized_one_after_the_other() {
    let home = Home::new("resized");
    let cluster = home.start("resized", &["--nodes", "2", "--memory", "1500Mi"]);
    cluster.apply(include_str!("manifests/web.yaml"));
    cluster.rolled_out("daemonset/web");
    let plan = cluster.start(&["--memory", "1600Mi", "--dry-run"]);
    assert_eq!(plan.ok().matches("restart").count(), 2, "{plan}");
    let uids = || cluster.pods("app=web").into_iter().map(|pod| pod.uid).collect::<Vec<_>>();
    let before = uids();
    let output = cluster.start(&["--memory", "1600Mi"]);
    output.ok();
    assert!(output.stderr.contains("one at a time: resized, resized-m02"), "{output}");
    cluster.settled();
    for node in cluster.node_names() {
        assert_eq!(cluster.field(&["node", &node], ".status.capacity.memory"), "1600Mi");
    }
    assert_eq!(uids(), before, "pods are restarted where they are");
    let plan = cluster.start(&["--memory", "1600Mi", "--dry-run"]);
    assert!(!plan.ok().contains("restart"), "{plan}");
}

/// awk doubles a text until there is no more memory.
const GREEDY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: greedy, namespace: default}
spec:
  restartPolicy: Never
  containers:
    - name: greedy
      image: IMAGE
      command: [awk, 'BEGIN { text = \"0123456789abcdef\"; while (1) text = text text }']
";

/// Prints the CPU time of two loops, and the time that passed, both in ticks: `/proc/<pid>/stat` and `/proc/uptime`.
const BUSY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: busy, namespace: default}
spec:
  restartPolicy: Never
  containers:
    - name: busy
      image: IMAGE
      command:
        - sh
        - -c
        - |
          now() { awk '{ printf \"%d\", $1 * 100 }' /proc/uptime; }
          begun=$(now)
          yes > /dev/null & one=$!
          yes > /dev/null & two=$!
          while [ $(($(now) - begun)) -lt 300 ]; do sleep 0.1; done
          used=$(cat /proc/$one/stat /proc/$two/stat | awk '{ sum += $14 + $15 } END { print sum }')
          passed=$(($(now) - begun))
          kill $one $two
          echo $used $passed
";
