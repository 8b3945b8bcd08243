//! The shortest story: there is a cluster, it runs a pod, and then there is nothing.

use crate::benchmark::rows_pass;
use crate::support::Home;

/// A web server that is called in two ways, and a name of the cluster that is looked up.
const PROGRAMS: &str = r#"
    echo hello > /var/www/index.html
    httpd -p 8080 -h /var/www
    nslookup kubernetes.default.svc.cluster.local > /dev/null
    wget -qO- -T 5 http://127.0.0.1:8080/
    printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 127.0.0.1 8080 | tail -n 1
"#;

#[test]
fn a_cluster_comes_and_goes_without_a_trace() {
    let home = Home::new("smoke");
    let cluster = home.start("smoke", &[]);
    // By its older name, and with the programs of tutorials.
    let image = "--image=kcl.local/busybox:1.35";
    cluster.kubectl(["run", "hello", image, "--restart=Never", "--", "sh", "-ec", PROGRAMS]);
    cluster.wait_for("jsonpath={.status.phase}=Succeeded", &["pod/hello"]);
    assert_eq!(cluster.kubectl(["logs", "hello"]), "hello\nhello");

    home.step("rows of the CIS benchmark");
    rows_pass(&cluster, "smoke");

    // The test of leftovers looks at the right things: they are all there now.
    let traces = cluster.traces();
    assert!(traces.processes.iter().any(|(_, what)| what.contains("kube-apiserver")), "{traces:#?}");
    assert!(!traces.links.is_empty() && !traces.tables.is_empty(), "{traces:#?}");
    assert!(!traces.groups.is_empty() && !traces.run.is_empty() && !traces.mounts.is_empty(), "{traces:#?}");
}
