//! The configuration for hosts of all kinds.

use std::path::Path;

use kcl_driver_api::{HostMount, Tree, TreeUse};
use serde_json::{Value, json};

use super::*;
use crate::host::OPTIONAL_DEVICES;
use crate::layout::Layout;

fn spec() -> MachineSpec {
    let tree = |target: &str, usage| Tree { source: "/cache/tree".into(), target: target.into(), usage };
    MachineSpec {
        cluster: "kcl".into(),
        name: "kcl-m02".into(),
        address: "10.89.0.11".parse().unwrap(),
        cpus: Some(2),
        cpu_weight: 100,
        memory: Some(1 << 30),
        rootfs: "/cache/rootfs".into(),
        trees: vec![
            tree("/opt/kcl/components", TreeUse::ReadOnly),
            tree("/var/lib/containerd", TreeUse::Seed { copied: vec![".db".into()] }),
        ],
        volumes: vec!["/var/lib/containerd".into(), "/var/log".into()],
        ports: Vec::new(),
        mounts: Vec::new(),
        init: vec!["/opt/kcl/agent/kcl-node".into()],
        labels: [("kcl.cluster".into(), "kcl".into())].into(),
    }
}

fn lends(cgroups: Cgroups) -> Lends {
    Lends {
        cgroups,
        capabilities: u64::MAX,
        open_files: 1_048_576,
        processes: Some(16_384),
        devices: OPTIONAL_DEVICES.iter().collect(),
        swap_limit: true,
        read_only_trees: true,
    }
}

const LINK: Attachment<'_> = Attachment::Link { host: "kp0", interface: "eth0" };

fn names() -> MachineNames {
    let layout = Layout { home: "/home/kcl".into(), run: "/run/kcl".into() };
    layout.machine("kcl", "kcl-m02").unwrap()
}

fn json_of(spec: &MachineSpec, lends: &Lends, attachment: Attachment<'_>) -> Value {
    serde_json::to_value(config(&names(), spec, lends, attachment).unwrap()).unwrap()
}

fn config_for(lends: &Lends) -> Value {
    json_of(&spec(), lends, LINK)
}

#[test]
fn the_group_is_ours_or_a_scope_of_systemd() {
    let hash = names().cluster.hash;
    let path = |cgroups| config_for(&lends(cgroups))["linux"]["cgroupsPath"].clone();
    assert_eq!(path(Cgroups::V1), format!("/kcl/{hash}/kcl-m02"));
    assert_eq!(path(Cgroups::V2), format!("/kcl/{hash}/kcl-m02"));
    assert_eq!(path(Cgroups::V2Systemd), format!("kcl.slice:kcl:{hash}-kcl-m02"));
}

#[test]
fn capabilities_are_kcls_own() {
    let sets = |lends: &Lends| config_for(lends)["process"]["capabilities"].clone();
    let all = sets(&lends(Cgroups::V1));
    assert_eq!(all["bounding"].as_array().unwrap().len(), 41);
    assert!(all["effective"].as_array().unwrap().contains(&json!("CAP_SYS_RESOURCE")));
    let less = sets(&Lends { capabilities: 0x1ff_feff_ffff, ..lends(Cgroups::V1) });
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(less[set].as_array().unwrap().len(), 40);
        assert!(!less[set].as_array().unwrap().contains(&json!("CAP_SYS_RESOURCE")), "{set}");
    }
}

#[test]
fn limits() {
    let resources = config_for(&lends(Cgroups::V2))["linux"]["resources"].clone();
    assert_eq!(resources["cpu"], json!({ "shares": 1024, "quota": 200_000, "period": 100_000 }));
    assert_eq!(resources["memory"], json!({ "limit": 1 << 30, "swap": 1 << 30 }));
    let no_swap = config_for(&Lends { swap_limit: false, ..lends(Cgroups::V1) });
    assert_eq!(no_swap["linux"]["resources"]["memory"], json!({ "limit": 1 << 30 }));
    let free = json_of(&MachineSpec { cpus: None, memory: None, ..spec() }, &lends(Cgroups::V1), LINK);
    let devices = json!([{ "allow": true, "access": "rwm" }]);
    let processes = json!({ "limit": 16_384 });
    assert_eq!(free["linux"]["resources"], json!({ "devices": devices, "cpu": { "shares": 1024 }, "pids": processes }));
    let no_pids = config_for(&Lends { processes: None, ..lends(Cgroups::V1) });
    assert!(no_pids["linux"]["resources"].get("pids").is_none());
    let preferred = json_of(&MachineSpec { cpu_weight: 400, ..spec() }, &lends(Cgroups::V1), LINK);
    assert_eq!(preferred["linux"]["resources"]["cpu"]["shares"], 4096);
}

#[test]
fn volumes_are_shared_trees_read_only_and_seeds_not_mounted() {
    let config = config_for(&lends(Cgroups::V1));
    let binds: Vec<_> = config["mounts"].as_array().unwrap().iter().filter(|mount| mount["type"] == "bind").collect();
    let seen: Vec<_> = binds.iter().map(|mount| (mount["destination"].as_str().unwrap(), &mount["options"])).collect();
    let shared = json!(["rbind", "rshared"]);
    assert_eq!(
        seen,
        [
            ("/var/log", &shared),
            ("/var/lib/containerd", &shared),
            ("/opt/kcl/components", &json!(["rbind", "rprivate", "ro"])),
        ]
    );
}

#[test]
fn devices_are_those_of_the_host() {
    let paths = |lends: &Lends| -> Vec<String> {
        let config = config_for(lends);
        let devices = config["linux"]["devices"].as_array().unwrap().clone();
        devices.iter().map(|device| device["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&lends(Cgroups::V1)), ["/dev/kmsg", "/dev/fuse", "/dev/net/tun"]);
    assert_eq!(paths(&Lends { devices: Vec::new(), ..lends(Cgroups::V1) }), [] as [&str; 0]);
}

#[test]
fn the_link_moves_in_as_eth0() {
    let config = config_for(&lends(Cgroups::V1));
    assert_eq!(config["linux"]["netDevices"], json!({ "kp0": { "name": "eth0" } }));
    assert!(config["linux"]["namespaces"].as_array().unwrap().contains(&json!({ "type": "network" })));
}

#[test]
fn the_hosts_network_has_no_namespace_and_sets_a_variable() {
    let config = json_of(&spec(), &lends(Cgroups::V1), Attachment::Host);
    assert_eq!(config["linux"]["netDevices"], json!({}));
    assert!(!config["linux"]["namespaces"].as_array().unwrap().contains(&json!({ "type": "network" })));
    assert!(config["process"]["env"].as_array().unwrap().contains(&json!("KCL_NETWORK=host")));
}

#[test]
fn a_stopped_machine_is_backed_by_its_volumes_and_upper_directory() {
    let names = names();
    let backing = |target: &str| names.backing(&spec(), Path::new(target));
    assert_eq!(backing("/var/lib/containerd/io.x"), names.volume(Path::new("/var/lib/containerd")).join("io.x"));
    assert_eq!(backing("/etc/kcl"), names.dir.join("upper/etc/kcl"));
}

#[test]
fn directories_of_the_host_are_read_only_if_the_kernel_can() {
    let mount = |target: &str, read_only| HostMount { source: "/src".into(), target: target.into(), read_only };
    let machine = MachineSpec { mounts: vec![mount("/a", false), mount("/b", true)], ..spec() };
    for (read_only_trees, word) in [(true, "rro"), (false, "ro")] {
        let config = json_of(&machine, &Lends { read_only_trees, ..lends(Cgroups::V2) }, LINK);
        let options: Vec<_> = config["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|mount| mount["source"] == "/src")
            .map(|mount| mount["options"].clone())
            .collect();
        assert_eq!(options, [json!(["rbind", "rshared"]), json!(["rbind", "rshared", word])]);
    }
}
