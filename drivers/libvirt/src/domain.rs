//! Describes a machine as a domain of libvirt, as pure functions. It is the same guest that `drivers/qemu` starts by
//! itself.

use std::path::Path;

use kcl_driver_api::{MachineSpec, Result};
use kcl_driver_vm::accelerator::{Accelerator, EMULATED_CPU};
use kcl_driver_vm::channel::PORTS;
use kcl_driver_vm::network::{Segment, tap};
use kcl_driver_vm::{Disk, Guest, MachineNames};
use kcl_node_spec::guest::PORT;

use crate::connection::Scope;
use crate::metadata::Metadata;
use crate::names;
use crate::xml::{Element, element};

/// The XML namespace of arguments that libvirt passes on to QEMU.
const QEMU: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// The slots of the guest's PCI bus. With a slot, a device needs no port of its own, and the guest sees devices in this
/// order.
const SERIAL_SLOT: usize = 2;
const DISK_SLOT: usize = 3;
const NETWORK_SLOT: usize = 0x1b;

/// The parts of a domain.
pub(crate) struct Definition<'a> {
    pub names: &'a MachineNames,
    pub spec: &'a MachineSpec,
    pub guest: &'a Guest,
    pub segment: &'a Segment,
    pub accelerator: Accelerator,
    pub scope: Scope,
    pub metadata: &'a Metadata,
    /// The UUID of the domain that this one replaces.
    pub uuid: Option<String>,
    /// The user and the group that run QEMU.
    pub owner: (u32, u32),
}

impl Definition<'_> {
    /// Returns the domain's XML (libvirt's "Domain XML format").
    ///
    /// # Errors
    /// `State` for a port that QEMU cannot publish.
    pub(crate) fn render(&self) -> Result<String> {
        let (kind, cpu) = match self.accelerator {
            Accelerator::Kvm => ("kvm", element("cpu").with("mode", "host-passthrough")),
            Accelerator::Emulation => {
                let model = element("model").with("fallback", "forbid").text(EMULATED_CPU);
                let cpu = element("cpu").with("mode", "custom").with("match", "exact").with("check", "none");
                ("qemu", cpu.holding([model]))
            }
        };
        let guest = self.guest;
        let mut domain = element("domain").with("type", kind).with("xmlns:qemu", QEMU).holding([
            element("name").text(names::domain(self.names)),
            element("title").text(format!("{} of the kcl cluster {}", self.names.name, self.names.cluster.name)),
            element("metadata").holding([self.metadata.element()]),
            element("memory").with("unit", "b").text(guest.memory),
            element("vcpu").text(guest.cpus),
            element("os").holding([
                element("type").with("arch", "x86_64").with("machine", "q35").text("hvm"),
                element("kernel").text(guest.kernel.display()),
                element("initrd").text(guest.initrd.display()),
                element("cmdline").text(self.accelerator.command_line("")),
            ]),
            element("features").holding([element("acpi"), element("apic"), element("vmport").with("state", "off")]),
            cpu,
            element("clock").with("offset", "utc"),
            // A machine does not reboot by itself: kcl writes the files of the next boot.
            element("on_poweroff").text("destroy"),
            element("on_reboot").text("destroy"),
            element("on_crash").text("destroy"),
            element("devices").holding(self.devices()),
        ]);
        if let Some(uuid) = &self.uuid {
            domain = domain.holding([element("uuid").text(uuid)]);
        }
        if self.scope == Scope::System {
            // This is the owner of all files of the machine, so nothing needs another owner, not even for a time.
            let label = element("label").text(format!("+{}:+{}", self.owner.0, self.owner.1));
            let label =
                element("seclabel").with("type", "static").with("model", "dac").with("relabel", "no").holding([label]);
            domain = domain.holding([label]);
        }
        let arguments = self.arguments()?;
        if !arguments.is_empty() {
            let argument = |value| element("qemu:arg").with("value", value);
            domain = domain.holding([element("qemu:commandline").holding(arguments.into_iter().map(argument))]);
        }
        Ok(domain.render())
    }

    fn devices(&self) -> Vec<Element> {
        let names = self.names;
        let mut devices = vec![
            element("controller").with("type", "usb").with("index", 0).with("model", "none"),
            element("controller")
                .with("type", "virtio-serial")
                .with("index", 0)
                .with("ports", 31)
                .holding([at(SERIAL_SLOT)]),
        ];
        devices.extend(self.guest.disks.iter().enumerate().map(disk));
        devices.extend(self.interface());
        devices.extend([
            element("serial").with("type", "file").holding([
                element("source").with("path", names.kernel_log().display()),
                element("target").with("type", "isa-serial").with("port", 0),
            ]),
            // This is the guest's hvc0.
            element("console").with("type", "file").holding([
                element("source").with("path", names.console().display()),
                element("target").with("type", "virtio"),
            ]),
        ]);
        devices.extend((0..PORTS).map(|number| {
            element("channel").with("type", "unix").holding([
                element("source").with("mode", "bind").with("path", names.port(number).display()),
                element("target").with("type", "virtio").with("name", format!("{PORT}{number}")),
            ])
        }));
        devices.push(element("memballoon").with("model", "none"));
        devices
    }

    /// Returns an interface on a bridge: the network's own, or one that another driver made.
    fn interface(&self) -> Option<Element> {
        let bridge = self.segment.bridge.as_ref()?;
        let interface = element("interface");
        let interface = match *bridge == names::bridge(&self.names.cluster) {
            true => interface
                .with("type", "network")
                .holding([element("source").with("network", names::network(&self.names.cluster))]),
            false => interface.with("type", "bridge").holding([element("source").with("bridge", bridge)]),
        };
        Some(interface.holding([
            element("mac").with("address", self.names.mac(0)),
            element("model").with("type", "virtio"),
            element("target").with("dev", tap(self.names)),
            element("rom").with("enabled", "no"),
            at(NETWORK_SLOT),
        ]))
    }

    /// Returns QEMU's arguments for networks that libvirt cannot describe: a multicast segment on loopback, and
    /// published ports.
    fn arguments(&self) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        let mut add = |id: &str, netdev: String, slot: usize, mac: String| {
            let device = format!("virtio-net-pci,netdev={id},romfile=,mac={mac},bus=pcie.0,addr={slot:#x}");
            arguments.extend(["-netdev".to_owned(), netdev, "-device".to_owned(), device]);
        };
        if self.segment.bridge.is_none() {
            add("segment", self.segment.netdev("segment", self.names), NETWORK_SLOT, self.names.mac(0));
        }
        if self.segment.has_user(self.spec) {
            add("user", self.segment.user_netdev("user", self.spec)?, NETWORK_SLOT + 1, self.names.mac(1));
        }
        Ok(arguments)
    }
}

fn disk((number, disk): (usize, &Disk)) -> Element {
    let letter = char::from(b'a' + (number % 26) as u8);
    let mut all = element("disk").with("type", "file").with("device", "disk").holding([
        element("driver").with("name", "qemu").with("type", "raw"),
        source(&disk.path),
        element("target").with("dev", format!("vd{letter}")).with("bus", "virtio"),
        element("serial").text(&disk.serial),
    ]);
    if disk.read_only {
        all = all.holding([element("readonly")]);
    }
    // Devices beyond the slots of the bus get ports of their own.
    if DISK_SLOT + number < NETWORK_SLOT { all.holding([at(DISK_SLOT + number)]) } else { all }
}

fn source(path: &Path) -> Element {
    element("source").with("file", path.display())
}

fn at(slot: usize) -> Element {
    let number = format!("{slot:#04x}");
    element("address")
        .with("type", "pci")
        .with("domain", "0")
        .with("bus", "0")
        .with("slot", number)
        .with("function", "0")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use kcl_driver_api::{NetworkSpec, Protocol, PublishedPort};
    use kcl_driver_vm::Layout;

    use super::*;

    fn render(bridge: Option<&str>, scope: Scope) -> String {
        let layout = Layout::new(Path::new("/nonexistent/<home>"), Path::new("/run/kcl"), crate::KIND);
        let machine = layout.machine("kcl", "kcl").unwrap();
        let port = PublishedPort {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 8080,
            machine_port: 80,
            protocol: Protocol::Tcp,
        };
        let spec = MachineSpec {
            cluster: "kcl".into(),
            name: "kcl".into(),
            address: [10, 89, 0, 2].into(),
            cpus: None,
            cpu_weight: 100,
            memory: None,
            rootfs: "/rootfs".into(),
            trees: Vec::new(),
            volumes: Vec::new(),
            ports: vec![port],
            mounts: Vec::new(),
            init: vec!["/init".into()],
            labels: [("kcl.role".into(), "worker".into())].into(),
        };
        let disks = vec![Disk { path: machine.data(), serial: "data".into(), read_only: false }];
        let guest = Guest { kernel: "/k".into(), initrd: "/i".into(), disks, cpus: 2, memory: 1 << 30 };
        let subnet = "10.89.0.0/24".parse().unwrap();
        let network = NetworkSpec { bridge: bridge.map(str::to_owned), ..NetworkSpec::new("kcl", subnet) };
        let definition = Definition {
            names: &machine,
            spec: &spec,
            guest: &guest,
            segment: &Segment::new(&machine.cluster, &network).unwrap(),
            accelerator: Accelerator::Emulation,
            scope,
            metadata: &Metadata::of(layout.home(), &spec),
            uuid: Some("u".into()),
            owner: (0, 0),
        };
        definition.render().unwrap()
    }

    #[test]
    fn a_domain_of_a_session() {
        let text = render(None, Scope::Session);
        for part in [
            "<domain type=\"qemu\"",
            "<uuid>u</uuid>",
            "<memory unit=\"b\">1073741824</memory>",
            "<source file=\"/nonexistent/&lt;home&gt;/clusters/kcl/domains/kcl/data.ext4\"/>",
            "name=\"kcl.15\"",
            "localaddr=127.0.0.1",
            "host=10.89.0.1,dns=10.89.0.255,dhcpstart=10.89.0.2,hostfwd=tcp:127.0.0.1:8080-10.89.0.2:80",
            "addr=0x1c",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("seclabel") && !text.contains("<interface"), "{text}");
    }

    #[test]
    fn a_domain_of_the_system() {
        let text = render(Some("br0"), Scope::System);
        for part in [
            "<interface type=\"bridge\">",
            "<source bridge=\"br0\"/>",
            "slot=\"0x1b\"",
            "<label>+0:+0</label>",
            "host=10.89.0.254,",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("mcast"), "{text}");
    }
}
