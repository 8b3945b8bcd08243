//! Tests of the compiler: by the text of its rules, and by packets against the evaluation.

use serde_json::{Value, json};

use super::kernel::{Kernel, Packet};
use super::*;
use crate::evaluate::{End, evaluate};
use crate::objects::Protocol;
use crate::testing::{NAMESPACES, PODS, labels, pod, pod_at, policy, world};

fn compiler(node: &str) -> Compiler {
    let mut compiler = Compiler::new(node);
    let world = world(Vec::new());
    world.namespaces.into_iter().for_each(|(name, labels)| compiler.set_namespace(&name, Some(labels)));
    world.pods.into_iter().for_each(|(key, pod)| compiler.set_pod(&key, Some(pod)));
    compiler
}

fn set(compiler: &mut Compiler, namespace: &str, name: &str, spec: Value) {
    compiler.set_policy(&Key::new(namespace, name), Some(policy(namespace, name, spec)));
}

#[test]
fn a_table_reads_like_the_policies() {
    let mut compiler = compiler("node-x");
    set(&mut compiler, "x", "deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    set(
        &mut compiler,
        "x",
        "web",
        json!({
            "podSelector": {"matchLabels": {"pod": "a"}},
            "ingress": [
                {"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}],
                 "ports": [{"port": 80}, {"port": 80, "endPort": 90}, {"port": "serve-81-udp", "protocol": "UDP"}]},
                {"from": [{"ipBlock": {"cidr": "192.0.2.0/30", "except": ["192.0.2.1/32"]}},
                          {"ipBlock": {"cidr": "::/0"}}]},
            ],
            "egress": [
                {"to": [{"podSelector": {}}], "ports": [{"port": "serve-80-tcp"}]},
                {"ports": [{"port": 53, "protocol": "UDP"}, {"protocol": "SCTP"}]},
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": "serve-80-tcp"}]},
            ],
        }),
    );
    insta::assert_snapshot!("table", compiler.replace());
}

#[test]
fn a_change_touches_what_changes() {
    let mut compiler = compiler("node-x");
    set(
        &mut compiler,
        "x",
        "web",
        json!({"podSelector": {"matchLabels": {"pod": "a"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": "b"}}}]}]}),
    );
    compiler.replace();
    let mut text = String::new();
    let mut note = |title: &str, update: Option<String>| {
        text.push_str(&format!("# {title}\n{}", update.unwrap_or_default()));
    };
    compiler.set_pod(&Key::new("x", "d"), Some(pod_at("x", "d", "10.244.1.4", "node-x")));
    note("a pod that no rule is about", compiler.update());
    let mut peer = pod_at("x", "d", "10.244.1.4", "node-x");
    peer.labels = labels(&[("pod", "b")]);
    compiler.set_pod(&Key::new("x", "d"), Some(peer.clone()));
    note("a peer by its labels", compiler.update());
    compiler.set_pod(&Key::new("x", "d"), Some(Pod { node: String::new(), ..peer }));
    note("what rules are not about", compiler.update());
    compiler.set_pod(&Key::new("x", "d"), None);
    note("the peer is gone", compiler.update());
    set(
        &mut compiler,
        "x",
        "web",
        json!({"podSelector": {"matchLabels": {"pod": "a"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": "b"}}}], "ports": [{"port": 80}]}]}),
    );
    note("another port", compiler.update());
    set(&mut compiler, "y", "other", json!({"podSelector": {}}));
    note("a policy for pods of other nodes", compiler.update());
    compiler.set_policy(&Key::new("x", "web"), None);
    note("the policy is gone", compiler.update());
    insta::assert_snapshot!("changes", text);
}

#[test]
fn the_cost_of_a_change_does_not_depend_on_the_number_of_pods() {
    let cost = |pods: usize| {
        let mut compiler = Compiler::new("node");
        for namespace in NAMESPACES {
            compiler.set_namespace(namespace, Some(labels(&[("ns", namespace)])));
        }
        for number in 0..pods {
            let address = format!("10.{}.{}.1", 1 + number / 250, number % 250);
            let name = format!("pod-{number}");
            let node = if number % 10 == 0 { "node" } else { "other" };
            compiler.set_pod(&Key::new("x", &name), Some(pod_at("x", &name, &address, node)));
        }
        let web = |port: u16| {
            json!({"podSelector": {"matchLabels": {"pod": "pod-0"}}, "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": port}]}]})
        };
        for number in 0..100 {
            set(&mut compiler, "x", &format!("p{number}"), web(1000 + number));
        }
        compiler.replace();
        let mut peer = pod_at("x", "pod-3", "10.1.3.1", "other");
        peer.labels = labels(&[("pod", "other")]);
        peer.addresses = vec!["10.9.9.9".parse().unwrap()];
        compiler.set_pod(&Key::new("x", "pod-3"), Some(peer));
        let moved = compiler.update().unwrap_or_default().lines().count();
        set(&mut compiler, "x", "p7", web(80));
        (moved, compiler.update().unwrap_or_default().len())
    };
    assert_eq!(cost(10), cost(1000));
}

#[test]
fn the_rules_of_a_pod_hold_before_the_api_knows_its_address() {
    let mut compiler = compiler("node-x");
    let mut kernel = Kernel::default();
    kernel.apply(&compiler.replace());
    set(&mut compiler, "x", "deny", json!({"podSelector": {}}));
    let key = Key::new("x", "new");
    let claim = |sandbox: &str, address: &str| Claim {
        sandbox: sandbox.to_owned(),
        uid: Some("x-new".to_owned()),
        addresses: vec![address.parse().unwrap()],
    };
    let reaches = |kernel: &Kernel, to: &str| {
        let [from, to] = ["10.244.2.1", to].map(|address| address.parse().unwrap());
        kernel.passes(&Packet { from, to, protocol: Protocol::Tcp, port: 80 })
    };
    compiler.claim(&key, claim("s1", "10.244.1.77"));
    assert!(!compiler.is_known(&key), "the pod is not known yet");
    let mut fresh = pod_at("x", "new", "10.244.1.77", "node-x");
    fresh.addresses.clear();
    compiler.set_pod(&key, Some(fresh.clone()));
    assert!(compiler.is_known(&key));
    kernel.apply(&compiler.update().unwrap());
    assert!(!reaches(&kernel, "10.244.1.77"));
    // A second sandbox; the message that the first is gone comes late.
    compiler.claim(&key, claim("s2", "10.244.1.78"));
    compiler.release(&key, "s1");
    kernel.apply(&compiler.update().unwrap());
    assert!(reaches(&kernel, "10.244.1.77"));
    assert!(!reaches(&kernel, "10.244.1.78"));
    // The API deletes the pod before its network is gone.
    compiler.set_pod(&key, None);
    assert_eq!(compiler.update(), None);
    compiler.release(&key, "s2");
    kernel.apply(&compiler.update().unwrap());
    assert!(reaches(&kernel, "10.244.1.78"));
    // Another pod gets an address whose former pod the API still has.
    let mut other = pod_at("y", "other", "10.244.1.1", "node-x");
    other.addresses.clear();
    compiler.set_pod(&other.key.clone(), Some(other.clone()));
    let taken = Claim { uid: Some("y-other".to_owned()), ..claim("s3", "10.244.1.1") };
    compiler.claim(&other.key, taken);
    kernel.apply(&compiler.update().unwrap());
    assert!(reaches(&kernel, "10.244.1.1"), "no policy is about the pod that has the address now");
}

/// A generator of numbers that are the same in each run (Marsaglia's xorshift).
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % limit
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn some(&mut self, limit: usize, mut make: impl FnMut(&mut Numbers) -> Value) -> Value {
        (0..self.below(limit + 1)).map(|_| make(self)).collect()
    }

    fn selector(&mut self, key: &str, values: &[&str]) -> Value {
        let value = self.one(values);
        match self.below(4) {
            0 => json!({}),
            1 => json!({"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}),
            2 => json!({"matchExpressions": [{"key": key, "operator": "Exists"}]}),
            _ => json!({"matchLabels": {key: value}}),
        }
    }

    fn peer(&mut self) -> Value {
        match self.below(4) {
            0 => json!({"podSelector": self.selector("pod", &PODS)}),
            1 => json!({"namespaceSelector": self.selector("ns", &NAMESPACES)}),
            2 => {
                json!({"namespaceSelector": self.selector("ns", &NAMESPACES), "podSelector": self.selector("pod", &PODS)})
            }
            _ => self.one(&[
                json!({"ipBlock": {"cidr": "10.244.2.0/24", "except": ["10.244.2.2/31"]}}),
                json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.244.3.0/24", "10.244.1.1/32"]}}),
                json!({"ipBlock": {"cidr": "0.0.0.0/0"}}),
            ]),
        }
    }

    fn port(&mut self) -> Value {
        let protocol = self.one(&["TCP", "UDP", "SCTP"]);
        self.one(&[
            json!({"port": 80, "protocol": protocol}),
            json!({"port": 80, "endPort": 90, "protocol": protocol}),
            json!({"port": format!("serve-81-{}", protocol.to_lowercase()), "protocol": protocol}),
            json!({"protocol": protocol}),
        ])
    }

    fn spec(&mut self) -> Value {
        let ingress = self.some(
            2,
            |numbers| json!({"from": numbers.some(2, Numbers::peer), "ports": numbers.some(2, Numbers::port)}),
        );
        let egress = self
            .some(2, |numbers| json!({"to": numbers.some(2, Numbers::peer), "ports": numbers.some(2, Numbers::port)}));
        let types = self.one(&[json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"]), json!(null)]);
        json!({"podSelector": self.selector("pod", &PODS), "ingress": ingress, "egress": egress, "policyTypes": types})
    }

    /// Changes a namespace, a pod or a policy of a node's rules.
    fn change(&mut self, compiler: &mut Compiler) {
        let (namespace, name) = (self.one(&NAMESPACES), self.one(&PODS));
        let key = Key::new(namespace, name);
        match self.below(8) {
            0 => {
                let label = self.one(&NAMESPACES);
                compiler.set_namespace(namespace, Some(labels(&[("ns", label)])));
            }
            1 => compiler.set_pod(&key, None),
            2 | 3 => {
                let mut pod = pod(namespace, name);
                let label = self.one(&PODS);
                pod.labels = labels(&[("pod", label)]);
                compiler.set_pod(&key, Some(pod));
            }
            4 => compiler.set_policy(&key, None),
            _ => {
                let spec = self.spec();
                set(compiler, namespace, name, spec);
            }
        }
    }
}

/// Asks the kernels of both nodes, as packets do, and the evaluation.
fn compare(nodes: &[(Compiler, Kernel)], context: &str) {
    let world = nodes[0].0.world();
    for from in world.pods.values() {
        for to in world.pods.values() {
            for (protocol, port) in [(Protocol::Tcp, 80), (Protocol::Udp, 81), (Protocol::Sctp, 443)] {
                let packet = Packet { from: from.addresses[0], to: to.addresses[0], protocol, port };
                let passes = nodes.iter().all(|(_, kernel)| kernel.passes(&packet));
                let verdict = evaluate(world, End::Pod(from), End::Pod(to), Some((protocol, port)));
                let connection = format!("{} to {} {protocol}/{port}", from.key, to.key);
                assert_eq!(passes, verdict.allowed(), "{context}: {connection}: {verdict:?}\n{:#?}", world.policies);
            }
        }
    }
}

#[test]
fn packets_pass_if_the_evaluation_says_so() {
    let mut numbers = Numbers(2_463_534_242);
    for round in 0..20 {
        let mut nodes = ["node-x", "node-y", "node-z"].map(|node| (compiler(node), Kernel::default()));
        for (compiler, kernel) in &mut nodes {
            kernel.apply(&compiler.replace());
        }
        for step in 0..30 {
            let seed = numbers.0;
            for (compiler, kernel) in &mut nodes {
                numbers.0 = seed;
                numbers.change(compiler);
                kernel.apply(&compiler.update().unwrap_or_default());
            }
            compare(&nodes, &format!("round {round}, step {step}"));
        }
        for (compiler, kernel) in &mut nodes {
            let mut fresh = Kernel::default();
            fresh.apply(&compiler.replace());
            assert_eq!(*kernel, fresh, "changes lead to the same table as a new one");
        }
    }
}
