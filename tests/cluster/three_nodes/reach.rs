//! Tests connections between pods, nodes and the host, and the names for them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::http::{self, Listener};
use crate::support::{Pod, TestCluster, eventually};

/// A web server on every node.
pub(crate) struct Web<'c> {
    cluster: &'c TestCluster<'c>,
    pods: Vec<Pod>,
}

impl<'c> Web<'c> {
    /// Deploys it, with a service for the pod of each node, in addition to those of the manifest.
    pub(crate) fn deploy(cluster: &'c TestCluster<'c>) -> Self {
        cluster.apply(include_str!("../manifests/web.yaml"));
        cluster.rolled_out("daemonset/web");
        let pods = cluster.pods("app=web");
        let nodes: Vec<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
        assert_eq!(nodes, cluster.node_names(), "one pod on each node, control plane included");
        for pod in &pods {
            cluster.kubectl(["label", "pod", &pod.name, &format!("on={}", pod.node)]);
            let service = format!("web-on-{}", pod.node);
            cluster.kubectl(["create", "service", "clusterip", &service, "--tcp=80"]);
            let selector = format!(r#"{{"spec":{{"selector":{{"app":null,"on":"{}"}}}}}}"#, pod.node);
            cluster.kubectl(["patch", "service", &service, "-p", &selector]);
        }
        Web { cluster, pods }
    }

    /// All pairs: by address of the pod, by address of its service, by name of its service.
    pub(crate) fn every_pod_reaches_every_pod_and_service(&self) {
        for from in &self.pods {
            for to in &self.pods {
                let service = format!("web-on-{}", to.node);
                let address = self.cluster.field(&["service", &service], ".spec.clusterIP");
                assert_eq!(self.page(from, &to.address.to_string()), to.node, "by pod address from {}", from.node);
                assert_eq!(self.page(from, &address), to.node, "by service address from {}", from.node);
                let name = format!("{service}.default.svc.cluster.local");
                assert_eq!(self.page(from, &name), to.node, "by service name from {}", from.node);
            }
        }
    }

    /// A page as a pod gets it, as soon as its node knows the service.
    fn page(&self, from: &Pod, host: &str) -> String {
        eventually(&format!("{} gets http://{host}/", from.name), || {
            let output = self.cluster.exec(&from.name, &format!("wget -q -O - http://{host}/"));
            if output.succeeded() { Ok(output.ok().to_owned()) } else { Err(output.to_string()) }
        })
    }

    pub(crate) fn names_resolve(&self) {
        let cluster = self.cluster;
        let service = cluster.field(&["service", "web"], ".spec.clusterIP");
        let gateway = cluster.gateway();
        for from in &self.pods {
            let resolve = |name: &str| cluster.exec(&from.name, &format!("nslookup {name}")).ok().to_owned();
            let answer = resolve("web.default.svc.cluster.local");
            assert!(answer.contains(&service), "{}: {answer}", from.node);
            let answer = resolve("web-headless.default.svc.cluster.local");
            for pod in &self.pods {
                assert!(answer.contains(&pod.address.to_string()), "{} not in: {answer}", pod.address);
            }
            let answer = resolve("host.kcl.internal");
            assert!(answer.contains(&gateway.to_string()), "{}: {answer}", from.node);
            // Short names by the search list, as applications use them.
            let page = cluster.exec(&from.name, "wget -q -O - http://web/");
            assert!(self.pods.iter().any(|pod| pod.node == page.ok()), "{page}");
        }
        let nowhere = cluster.exec(&self.pods[0].name, "nslookup nowhere.default.svc.cluster.local");
        assert!(nowhere.fails().contains("NXDOMAIN") || nowhere.stdout.contains("NXDOMAIN"), "{nowhere}");
    }

    /// A body of a megabyte takes segments as large as the path allows, and the largest ping that fits is answered.
    pub(crate) fn large_bodies_cross_nodes(&self) {
        for from in &self.pods {
            for to in self.pods.iter().filter(|to| to.node != from.node) {
                let address = to.address;
                let line = format!(
                    "test \"$(wget -q -O - http://{address}/large | md5sum)\" = \"$(wget -q -O - http://{address}/large.md5)\" &&
                     mtu=$(cat /sys/class/net/eth0/mtu) && ping -c 1 -s $((mtu - 28)) {address}"
                );
                self.cluster.exec(&from.name, &line).ok();
            }
        }
    }

    pub(crate) fn node_ports_and_host_ports_answer_the_host(&self) {
        let cluster = self.cluster;
        let port = cluster.field(&["service", "web-port"], ".spec.ports[0].nodePort");
        let port: u16 = port.parse().expect("a node port");
        for pod in &self.pods {
            let node = cluster.address(&pod.node);
            let page = eventually("the node port answers", || {
                http::get((node, port).into(), "/").map_err(|error| error.to_string())
            });
            assert!(self.pods.iter().any(|pod| pod.node == page.trim()), "{page}");
            let page = http::get((node, 8080).into(), "/").expect("the host port answers");
            assert_eq!(page.trim(), pod.node, "a host port is its own node's");
        }
    }

    /// URLs of `kcl service` work once printed, and impossible ones are reported.
    pub(crate) fn services_have_urls_that_work(&self) {
        let cluster = self.cluster;
        let expose = |name: &str, target: &str| {
            let (name, target) = (format!("--name={name}"), format!("--target-port={target}"));
            cluster.kubectl(["expose", "service", "web", "--type=NodePort", "--port=80", &name, &target])
        };
        expose("fresh", "80");
        let url = cluster.kcl(["service", "fresh", "--url"]);
        let page = http::get(url.ok().trim_start_matches("http://").parse().expect("an address"), "/");
        let page = page.expect("an answer at once");
        assert!(self.pods.iter().any(|pod| pod.node == page.trim()), "{page}");
        expose("wrong", "81");
        let wrong = cluster.kcl(["service", "wrong", "--url"]);
        assert!(wrong.ok().starts_with("http://") && wrong.stderr.contains("targetPort"), "{wrong}");
        let whys = [("web", "within the cluster"), ("web-headless", "is headless"), ("webb", "did you mean \"web\"")];
        for (name, why) in whys {
            assert!(cluster.kcl(["service", name, "--url"]).fails().contains(why), "{name}");
        }
        cluster.kubectl(["delete", "service", "fresh", "wrong"]);
    }

    /// By `host.kcl.internal`; the host sees the node, not the pod.
    pub(crate) fn pods_reach_the_host_by_its_name(&self) {
        let listener = Listener::on(self.cluster.gateway());
        for pod in &self.pods {
            let url = format!("http://host.kcl.internal:{}/{}", listener.port(), pod.node);
            assert_eq!(self.cluster.exec(&pod.name, &format!("wget -q -O - {url}")).ok(), "hello");
            let seen = listener.asked_for(&format!("/{}", pod.node));
            assert_eq!(seen, self.cluster.address(&pod.node), "masqueraded as its node");
        }
    }

    pub(crate) fn exec_logs_cp_and_port_forward(&self) {
        let cluster = self.cluster;
        for pod in &self.pods {
            assert_eq!(cluster.exec(&pod.name, "exit 3").fails_with(3), "command terminated with exit code 3");
            assert_eq!(cluster.kubectl(["logs", &pod.name]), format!("serving on {}", pod.node));

            let file = cluster.home.file("there", "and back again\n");
            let (there, back) = (format!("{}:/tmp/there", pod.name), cluster.home.scratch().join("back"));
            cluster.kubectl(["cp", &file.display().to_string(), &there]);
            cluster.kubectl(["cp", &there, &back.display().to_string()]);
            assert_eq!(std::fs::read_to_string(back).expect("the copy"), "and back again\n");

            assert_eq!(self.through_a_forwarded_port(pod).trim(), pod.node);
        }
    }

    fn through_a_forwarded_port(&self, pod: &Pod) -> String {
        let mut command = self.cluster.kubectl_command(["port-forward", &format!("pod/{}", pod.name), ":80"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("kubectl port-forward");
        let mut line = String::new();
        // Held until the end: kubectl goes on writing, and would die of a closed pipe.
        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout"));
        stdout.read_line(&mut line).expect("a line of it");
        // Forwarding from 127.0.0.1:43210 -> 80
        let address = line.split_whitespace().nth(2).and_then(|address| address.parse().ok());
        let page = address.map(|address| http::get(address, "/"));
        child.kill().and_then(|()| child.wait()).expect("its end");
        page.unwrap_or_else(|| panic!("no address: {line:?}")).expect("an answer through the forwarded port")
    }
}

pub(crate) fn a_stateful_set_has_names_and_places(cluster: &TestCluster<'_>) {
    cluster.apply(include_str!("../manifests/store.yaml"));
    cluster.rolled_out("statefulset/store");
    let pods = cluster.pods("app=store");
    assert_eq!(pods.len(), 2);
    assert_ne!(pods[0].node, pods[1].node);
    for pod in &pods {
        cluster.exec(&pod.name, "hostname > /kept/index.html").ok();
        assert_eq!(cluster.exec(&pod.name, "cat /own/name").ok(), pod.name);
    }
    for (from, to) in [("store-0", "store-1"), ("store-1", "store-0")] {
        let line = format!("wget -q -O - http://{to}.store.default.svc.cluster.local/");
        let page = eventually("a replica reaches the other by its name", || {
            let output = cluster.exec(from, &line);
            if output.succeeded() { Ok(output.ok().to_owned()) } else { Err(output.to_string()) }
        });
        assert_eq!(page, to);
    }
    // A directory of the node is the node's, whoever wrote there.
    cluster.kubectl(["delete", "statefulset", "store"]);
    for pod in &pods {
        assert_eq!(cluster.ssh(&pod.node, "cat /var/lib/kcl/store/index.html").ok(), pod.name);
    }
}
