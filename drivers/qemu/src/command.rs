//! QEMU's command line: pure.

use std::net::Ipv4Addr;
use std::path::Path;

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Protocol, Result};
use kcl_driver_vm::channel::PORTS;
use kcl_driver_vm::{Guest, MachineNames, command_line};
use kcl_node_spec::guest::PORT;

use crate::accelerator::Accelerator;
use crate::network::Segment;
use crate::{process, qmp};

/// The program.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// The options of all guests: nothing of a computer but what is named, and no second boot.
pub(crate) fn base(guest: &Guest, accelerator: Accelerator, append: &str) -> Vec<String> {
    let mut options = Options::default();
    options.add(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    options.add(&["-machine", "q35,vmport=off,usb=off,sata=off,smbus=off"]);
    match accelerator {
        Accelerator::Kvm => options.add(&["-accel", "kvm", "-cpu", "host"]),
        Accelerator::Emulation => options.add(&["-accel", "tcg,thread=multi", "-cpu", "max"]),
    }
    options.add(&["-smp", &guest.cpus.to_string(), "-m", &format!("{}M", guest.memory >> 20)]);
    options.add(&["-kernel", &text(&guest.kernel), "-initrd", &text(&guest.initrd)]);
    let emulated = if accelerator == Accelerator::Emulation { " mitigations=off" } else { "" };
    options.add(&["-append", &format!("{}{emulated} {append}", command_line())]);
    options.0
}

/// The command line of a machine.
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
    let mut options = Options(base(guest, accelerator, ""));
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
    match &segment.bridge {
        Some(bridge) if !spec.ports.is_empty() => {
            let message = format!("{} is on the bridge {bridge}, where QEMU publishes no ports", spec.name);
            return Err(Error::new(ErrorKind::State, message));
        }
        Some(_) => {}
        None => {
            options.add(&["-netdev", &user(spec, segment, "user")?]);
            options.add(&["-device", &format!("virtio-net-pci,netdev=user,romfile=,mac={}", names.mac(1))]);
        }
    }
    Ok(options.0)
}

/// The user-mode network of a machine: it has the cluster's subnet, in which QEMU is the host and the way out.
fn user(spec: &MachineSpec, segment: &Segment, id: &str) -> Result<String> {
    let (subnet, address) = (segment.subnet, spec.address);
    // QEMU wants addresses for services that nobody uses.
    let dns = subnet.broadcast();
    let mut text = format!("user,id={id},ipv6=off,net={subnet},host={},dns={dns},dhcpstart={address}", segment.host);
    for port in &spec.ports {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let bind: Ipv4Addr = match port.address {
            std::net::IpAddr::V4(bind) => bind,
            std::net::IpAddr::V6(bind) => {
                let message = format!("QEMU publishes ports on IPv4 addresses only, and {bind} is none");
                return Err(Error::new(ErrorKind::State, message));
            }
        };
        text.push_str(&format!(",hostfwd={protocol}:{bind}:{}-{address}:{}", port.port, port.machine_port));
    }
    Ok(text)
}

#[derive(Default)]
struct Options(Vec<String>);

impl Options {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// As a value in a list: a comma is doubled.
fn value(path: &Path) -> String {
    text(path).replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use kcl_driver_api::{NetworkSpec, PublishedPort};
    use kcl_driver_vm::{Disk, Layout};

    use super::*;

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
            init: vec!["/init".into()],
            labels: Default::default(),
        }
    }

    #[test]
    fn the_whole_of_it() {
        let names = Layout::new(Path::new("/nonexistent/a,b"), Path::new("/run/kcl")).machine("kcl", "kcl").unwrap();
        let disks = vec![Disk { path: names.data(), serial: "data".into(), read_only: false }];
        let guest = Guest { kernel: "/k".into(), initrd: "/i".into(), disks, cpus: 2, memory: 1 << 30 };
        let segment = Segment::new(&names.cluster, &NetworkSpec::new("kcl", "10.89.0.0/24".parse().unwrap()));
        let segment = segment.unwrap();
        let line = machine(&names, &spec(), &guest, &segment, Accelerator::Emulation).unwrap().join(" ");
        for part in [
            "-accel tcg,thread=multi -cpu max -smp 2 -m 1024M -kernel /k -initrd /i",
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
