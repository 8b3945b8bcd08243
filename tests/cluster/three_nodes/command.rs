//! kcl's own verbs on a cluster that runs.

use std::io::Read;

use crate::support::TestCluster;

pub(crate) fn status_is_an_array_of_good_news(cluster: &TestCluster<'_>) {
    let status = cluster.kcl(["status", "-o", "json"]).json();
    let nodes = status.as_array().expect("an array for several nodes");
    assert_eq!(nodes.len(), 3);
    for (index, node) in nodes.iter().enumerate() {
        assert_eq!(node["Host"], "Running", "{node}");
        assert_eq!(node["Kubelet"], "Running", "{node}");
        let (api, kubeconfig) = if index == 0 { ("Running", "Configured") } else { ("Irrelevant", "Irrelevant") };
        assert_eq!((&node["APIServer"], &node["Kubeconfig"]), (&api.into(), &kubeconfig.into()), "{node}");
        assert_eq!(node["Worker"], index != 0, "{node}");
    }
}

pub(crate) fn ssh_passes_arguments_and_exit_codes(cluster: &TestCluster<'_>) {
    assert_eq!(cluster.kcl(["ssh", "--", "exit 7"]).fails_with(7), "");
    assert_eq!(cluster.kcl(["ssh", "--", "printf", "%s.", "a b", "c"]).ok(), "a b.c.");
    assert_eq!(cluster.kcl(["ssh", "--", "echo $((6 * 7)) | tr 4 5"]).ok(), "52");
    assert_eq!(cluster.kcl(["ssh", "-n", "three-m02", "--", "hostname"]).ok(), "three-m02");
    assert_eq!(cluster.kcl(["ssh", "--", "kill -9 $$"]).code, Some(137));
    cluster.kcl(["ssh", "--", "no-such-command", "x"]).fails_with(127);
    let said = cluster.kcl(["ssh", "-n", "nowhere", "--", "true"]);
    assert!(said.fails_with(85).contains("three, three-m02, three-m03"), "{said}");
}

pub(crate) fn logs_are_shown_and_packed(cluster: &TestCluster<'_>) {
    let lines = cluster.kcl(["logs", "kubelet", "--tail", "5"]);
    assert_eq!(lines.ok().lines().count(), 5, "{lines}");
    cluster.kcl(["logs", "kubelet", "-n", "three-m03", "--tail", "5"]).ok();
    assert!(cluster.kcl(["logs", "agent", "--tail", "100000"]).ok().lines().count() > 1);
    assert!(cluster.kcl(["logs"]).ok().contains("==> etcd on three"));
    cluster.kcl(["logs", "etcd", "-n", "three-m02"]).fails_with(85);
    cluster.kcl(["logs", "kublet"]).fails_with(64);

    // As a pod could that has the directory of logs mounted.
    let plant = "cd /var/log && ln -s /etc/kubernetes/pki/ca.key pods/planted && ln -s /etc/kubernetes/pki/ca.key kcl/etcd.log.9 && mkfifo pods/pipe";
    cluster.ssh(&cluster.node_names()[0], plant).ok();
    let file = cluster.home.scratch().join("all.tar.gz");
    cluster.kcl(["logs", "--archive", &file.display().to_string()]).ok();
    let packed = flate2::read::GzDecoder::new(std::fs::File::open(file).expect("the archive"));
    let mut names = Vec::new();
    for entry in tar::Archive::new(packed).entries().expect("a tar file") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("its name").display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its content");
        let content = String::from_utf8_lossy(&content);
        assert!(!content.is_empty() || name.ends_with(".log"), "{name} is empty");
        assert!(!content.contains("PRIVATE KEY"), "a key in {name}");
        names.push(name);
    }
    for node in cluster.node_names() {
        for file in ["agent.log", "kubelet.log", "containerd.log", "kube-proxy.log", "status.json", "network.txt"] {
            let wanted = format!("{node}/{file}");
            assert!(names.iter().any(|name| name.ends_with(&wanted)), "no {wanted} in {names:?}");
        }
    }
    for wanted in ["three/etcd.log", "three/kube-apiserver.log", "events.txt", "nodes.txt", "state.json", "host.txt"] {
        assert!(names.iter().any(|name| name.ends_with(wanted)), "no {wanted} in {names:?}");
    }
}

pub(crate) fn a_second_start_changes_nothing(cluster: &TestCluster<'_>) {
    let look = || {
        let components: Vec<_> = cluster.node_names().iter().map(|node| cluster.components(node)).collect();
        let uids = cluster.field(&["nodes"], ".items[*].metadata.uid");
        let versions =
            cluster.field(&["daemonsets,deployments,services,configmaps", "-A"], ".items[*].metadata.generation");
        let pods = cluster.field(&["pods", "-A"], ".items[*].status.containerStatuses[*].state.running.startedAt");
        let kubeconfig = std::fs::read_to_string(cluster.home.kubeconfig()).expect("the kubeconfig");
        (components, uids, versions, pods, kubeconfig)
    };
    let before = look();
    cluster.start(&[]).ok();
    assert_eq!(look(), before);
    cluster.start(&["--nodes", "3"]).ok();
    assert_eq!(look(), before);
}
