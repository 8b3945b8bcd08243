//! The spec and the facts from which several tests start.

use kcl_node_spec::{Capacity, EtcdMember, HostEntry, KubernetesSpec, NodeNetwork, NodeSpec, Peer, Role, SCHEMA};

use crate::facts::{Cgroup, Facts};

/// Returns the spec of a control plane with one worker.
pub(crate) fn spec() -> NodeSpec {
    NodeSpec {
        schema: SCHEMA,
        cluster: "kcl".to_owned(),
        name: "kcl".to_owned(),
        role: Role::ControlPlane,
        address: [10, 111, 0, 2].into(),
        network: NodeNetwork {
            interface: "eth0".to_owned(),
            subnet: "10.111.0.0/24".parse().unwrap(),
            gateway: Some([10, 111, 0, 1].into()),
            mtu: 1500,
            nameservers: vec!["10.111.0.1".parse().unwrap()],
            search: vec!["example.org".to_owned()],
            options: Vec::new(),
            hosts: vec![HostEntry {
                address: "10.111.0.1".parse().unwrap(),
                names: vec!["host.kcl.internal".to_owned()],
            }],
            pod_cidr: "10.244.1.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            cluster_dns: [10, 96, 0, 10].into(),
            dns_domain: "cluster.local".to_owned(),
            peers: vec![Peer {
                name: "kcl-m02".to_owned(),
                address: [10, 111, 0, 3].into(),
                pod_cidr: "10.244.2.0/24".parse().unwrap(),
                overlay: false,
            }],
            routes: Vec::new(),
            vni: 4711,
        },
        capacity: Capacity::default(),
        proxy: None,
        kubernetes: KubernetesSpec {
            version: "v1.37.0".to_owned(),
            api_servers: vec!["10.111.0.2:6443".parse().unwrap()],
            api_address: Some([10, 111, 0, 254].into()),
            etcd_members: vec![EtcdMember { name: "kcl".to_owned(), address: [10, 111, 0, 2].into() }],
            etcd_join: false,
            taints: Vec::new(),
            harden: false,
            feature_gates: Default::default(),
            extra: Default::default(),
        },
    }
}

/// Returns the facts of a container on a host with the old control groups and without CAP_SYS_RESOURCE.
pub(crate) fn facts() -> Facts {
    Facts {
        init: true,
        own_network: true,
        cgroup: Cgroup::V1,
        cap_sys_resource: false,
        oom_adjustable: false,
        pids: true,
        seccomp: true,
        resolv_conf: "/etc/resolv.conf".into(),
    }
}
