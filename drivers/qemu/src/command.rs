//! Builds QEMU's command line, as pure functions.

use std::path::Path;

use kcl_driver_api::{MachineSpec, Result};
use kcl_driver_vm::accelerator::{self, Accelerator};
use kcl_driver_vm::channel::PORTS;
use kcl_driver_vm::network::Segment;
use kcl_driver_vm::{Guest, MachineNames};
use kcl_node_spec::guest::PORT;

use crate::{process, qmp};

/// Returns the command line of a machine.
///
/// # Errors
/// `State` for a port that QEMU cannot publish.
pub(crate) fn machine(
    names: &MachineNames,
    spec: &MachineSpec,
    guest: &Guest,
    segment: &Segment,
    accelerator: Accelerator,
) -> Result<Vec<String>> {
    let mut options = Options(accelerator::options(guest, accelerator, ""));
    options.add(&["-name", &format!("{}/{}", names.cluster.name, names.name), "-daemonize"]);
    options.add(&["-pidfile", &text(&process::pid_file(names))]);
    options.add(&["-qmp", &format!("unix:{},server=on,wait=off", value(&qmp::socket(names)))]);
    options.add(&[
        "-chardev",
        &format!("file,id=kernel,path={}", value(&names.kernel_log())),
        "-serial",
        "chardev:kernel",
    ]);
    for (number, disk) in guest.disks.iter().enumerate() {
        let read_only = if disk.read_only { "on" } else { "off" };
        let path = value(&disk.path);
        options.add(&["-drive", &format!("if=none,id=disk{number},format=raw,readonly={read_only},file={path}")]);
        options.add(&["-device", &format!("virtio-blk-pci,drive=disk{number},serial={}", disk.serial)]);
    }
    options.add(&["-device", "virtio-serial-pci,max_ports=31"]);
    // The first port of a console is the guest's hvc0.
    options.add(&["-chardev", &format!("file,id=console,path={}", value(&names.console()))]);
    options.add(&["-device", "virtconsole,chardev=console"]);
    for number in 0..PORTS {
        let path = value(&names.port(number));
        options.add(&["-chardev", &format!("socket,id=port{number},path={path},server=on,wait=off")]);
        options.add(&["-device", &format!("virtserialport,chardev=port{number},name={PORT}{number}")]);
    }
    options.add(&["-netdev", &segment.netdev("segment", names)]);
    options.add(&["-device", &format!("virtio-net-pci,netdev=segment,romfile=,mac={}", names.mac(0))]);
    if segment.has_user(spec) {
        options.add(&["-netdev", &segment.user_netdev("user", spec)?]);
        options.add(&["-device", &format!("virtio-net-pci,netdev=user,romfile=,mac={}", names.mac(1))]);
    }
    Ok(options.0)
}

struct Options(Vec<String>);

impl Options {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Escapes a value in a list: a comma is doubled.
fn value(path: &Path) -> String {
    text(path).replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use kcl_driver_api::{ErrorKind, NetworkSpec, Protocol, PublishedPort};
    use kcl_driver_vm::{Disk, Layout};

    use super::*;
    use crate::KIND;

    fn spec() -> MachineSpec {
        MachineSpec {
            cluster: "kcl".into(),
            name: "kcl".into(),
            address: [10, 89, 0, 2].into(),
            cpus: None,
            cpu_weight: 100,
            memory: None,
            rootfs: "/rootfs".into(),
            trees: Vec::new(),
            volumes: Vec::new(),
            ports: vec![PublishedPort {
                address: Ipv4Addr::LOCALHOST.into(),
                port: 40000,
                machine_port: 6443,
                protocol: Protocol::Tcp,
            }],
            mounts: Vec::new(),
            init: vec!["/init".into()],
            labels: Default::default(),
        }
    }

    #[test]
    fn a_whole_command_line() {
        let names =
            Layout::new(Path::new("/nonexistent/a,b"), Path::new("/run/kcl"), KIND).machine("kcl", "kcl").unwrap();
        let disks = vec![Disk { path: names.data(), serial: "data".into(), read_only: false }];
        let guest = Guest { kernel: "/k".into(), initrd: "/i".into(), disks, cpus: 2, memory: 1 << 30 };
        let segment = Segment::new(&names.cluster, &NetworkSpec::new("kcl", "10.89.0.0/24".parse().unwrap()));
        let segment = segment.unwrap();
        let line = machine(&names, &spec(), &guest, &segment, Accelerator::Emulation).unwrap().join(" ");
        for part in [
            "-accel tcg,thread=multi -cpu Westmere -smp 2 -m 1024M -kernel /k -initrd /i",
            "readonly=off,file=/nonexistent/a,,b/clusters/kcl/vms/kcl/data.ext4",
            "net=10.89.0.0/24,host=10.89.0.1,dns=10.89.0.255,dhcpstart=10.89.0.2,hostfwd=tcp:127.0.0.1:40000-10.89.0.2:6443",
            "name=kcl.15",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let v6 = PublishedPort { address: std::net::Ipv6Addr::LOCALHOST.into(), ..spec().ports[0] };
        let refused = machine(&names, &MachineSpec { ports: vec![v6], ..spec() }, &guest, &segment, Accelerator::Kvm);
        assert_eq!(refused.unwrap_err().kind, ErrorKind::State);
    }
}
