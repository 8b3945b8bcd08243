//! The tests that every driver passes, independent of its machines.
//!
//! They need a root file system with `sh` and `cat`, and a first process that writes [`GREETING`] on its console once
//! it is ready to end on SIGTERM. They panic if the driver breaks the contract, and leave nothing behind otherwise.

use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::try_join_all;

use crate::{
    Addresses, Driver, ErrorKind, Exec, File, Finding, HostMount, Machine, MachineSpec, Mounts, Network, NetworkSpec,
    Power, PreflightRequest, Severity, Stdin, Stdout,
};

/// The console output of the first process of a test machine.
pub const GREETING: &str = "hello from the first process";

/// A volume that machines of the fixture have.
pub const VOLUME: &str = "/data/kept";

/// A time longer than any first process takes to end when asked.
const GRACE: Duration = Duration::from_secs(60);

/// The setting of the tests.
pub struct Fixture {
    /// The cluster that the tests make and delete.
    pub cluster: String,
    /// The specification of a machine of that name and address, with the volume [`VOLUME`].
    pub spec: MakeSpec,
}

/// Makes the specification of a machine from its name and address.
pub type MakeSpec = Box<dyn Fn(&str, Addresses) -> MachineSpec + Send + Sync>;

/// Returns a test's machine, without limits: with the volume [`VOLUME`], and a first process that greets once it can be
/// ended.
pub fn spec(cluster: &str, name: &str, address: Addresses, rootfs: &Path) -> MachineSpec {
    let script = format!("trap 'exit 0' TERM; echo '{GREETING}'; while :; do sleep 1000 & wait; done");
    MachineSpec {
        cluster: cluster.to_owned(),
        name: name.to_owned(),
        address,
        cpus: None,
        cpu_weight: 100,
        memory: None,
        rootfs: rootfs.to_owned(),
        trees: Vec::new(),
        volumes: vec![VOLUME.into(), "/var/log".into()],
        ports: Vec::new(),
        mounts: Vec::new(),
        init: ["/bin/sh", "-c", &script].map(String::from).to_vec(),
        labels: [("kcl.cluster".to_owned(), cluster.to_owned())].into(),
    }
}

/// Makes one machine on a network of its own cluster, powered on.
pub async fn one(driver: &dyn Driver, cluster: &str, spec: impl FnOnce(Addresses) -> MachineSpec) -> Box<dyn Machine> {
    let subnet = driver.propose_subnet(cluster).await.expect("a free subnet");
    let network = driver.ensure_network(&NetworkSpec::new(cluster, subnet)).await.expect("a network");
    let machine = driver.create(&spec(network.subnet.hosts().nth(9).expect("an address"))).await.expect("a machine");
    machine.power_on().await.expect("powered on");
    machine
}

/// Runs a shell script that has to succeed in a machine and returns its output, trimmed.
pub async fn output(machine: &dyn Machine, script: &str) -> String {
    let output = machine.exec(Exec::new(["sh", "-c", script])).await.expect("a command");
    assert_eq!(output.code, 0, "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

impl Fixture {
    /// Returns a cluster of machines as [`spec`] makes them.
    pub fn new(cluster: &str, rootfs: &Path) -> Self {
        let (of, rootfs) = (cluster.to_owned(), rootfs.to_owned());
        let spec: MakeSpec = Box::new(move |name, address| spec(&of, name, address, &rootfs));
        Fixture { cluster: cluster.to_owned(), spec }
    }

    async fn network(&self, driver: &dyn Driver) -> Network {
        let subnet = driver.propose_subnet(&self.cluster).await.expect("a free subnet");
        driver.ensure_network(&NetworkSpec::new(self.cluster.clone(), subnet)).await.expect("a network")
    }

    fn machine(&self, network: &Network, index: usize) -> MachineSpec {
        let name = if index == 0 { self.cluster.clone() } else { format!("{}-m{index:02}", self.cluster) };
        (self.spec)(&name, network.subnet.hosts().nth(9 + index).expect("an address"))
    }

    /// Makes one machine, powered on.
    async fn one(&self, driver: &dyn Driver) -> (MachineSpec, Box<dyn Machine>) {
        let spec = self.machine(&self.network(driver).await, 0);
        let machine = driver.create(&spec).await.expect("a machine");
        machine.power_on().await.expect("powered on");
        greeted(&*machine).await;
        (spec, machine)
    }

    async fn end(&self, driver: &dyn Driver) {
        for machine in driver.list(Some(&self.cluster)).await.expect("a list") {
            driver.delete(&machine.cluster, &machine.name).await.expect("deleted");
        }
        driver.delete_network(&self.cluster).await.expect("network deleted");
        assert_eq!(driver.list(Some(&self.cluster)).await.expect("a list"), []);
    }
}

/// Runs all tests, one after the other.
pub async fn all(driver: &dyn Driver, fixture: &Fixture) {
    several_at_once(driver, fixture).await;
    commands(driver, fixture).await;
    streams(driver, fixture).await;
    files(driver, fixture).await;
    many_files(driver, fixture).await;
    power_cycles(driver, fixture).await;
    listing_and_deleting(driver, fixture).await;
    cut_off(driver, fixture).await;
    host_mounts(driver, fixture).await;
    looking_changes_nothing(driver, fixture).await;
}

/// Tests that several machines are made, powered on and deleted at once.
pub async fn several_at_once(driver: &dyn Driver, fixture: &Fixture) {
    let network = fixture.network(driver).await;
    assert!(network.host.is_none_or(|host| network.subnet.contains(host)));
    let specs: Vec<_> = (0..3).map(|index| fixture.machine(&network, index)).collect();
    let machines = try_join_all(specs.iter().map(|spec| driver.create(spec))).await.expect("three machines");
    try_join_all(machines.iter().map(|machine| machine.power_on())).await.expect("all powered on");
    let listed = driver.list(Some(&fixture.cluster)).await.expect("a list");
    assert_eq!(listed.len(), 3);
    for (spec, info) in specs.iter().zip(&listed) {
        assert_eq!((&info.name, info.power, info.address), (&spec.name, Power::Running, Some(spec.address)));
        assert_eq!(info.labels, spec.labels);
    }
    try_join_all(specs.iter().map(|spec| driver.delete(&spec.cluster, &spec.name))).await.expect("all deleted");
    fixture.end(driver).await;
}

/// Tests commands: exit codes, streams, input, variables, and commands that cannot be run.
pub async fn commands(driver: &dyn Driver, fixture: &Fixture) {
    let (_, machine) = fixture.one(driver).await;
    let output = machine.exec(Exec::new(["sh", "-c", "echo out; echo err >&2; exit 7"])).await.expect("a command");
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (7, &b"out\n"[..], &b"err\n"[..]));

    // More than a pipe holds, both ways at once.
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let cat = Exec { stdin: Stdin::Bytes(bytes.clone()), ..Exec::new(["cat"]) };
    assert!(machine.exec(cat).await.expect("cat").stdout == bytes, "cat gives back what it reads");
    assert_eq!(machine.exec(Exec::new(["cat"])).await.expect("cat").stdout, b"", "without input it reads nothing");

    let env = vec![("KCL_TEST".to_owned(), "a b".to_owned())];
    let print = Exec { env, ..Exec::new(["sh", "-c", "printf %s \"$KCL_TEST\""]) };
    assert_eq!(machine.exec(print).await.expect("printf").stdout, b"a b");

    let killed = machine.exec(Exec::new(["sh", "-c", "kill -9 $$"])).await.expect("a command that is killed");
    assert_eq!(killed.code, 128 + 9);
    let missing = machine.exec(Exec::new(["/does/not/exist"])).await.expect("an exit code, as in a shell");
    assert_eq!(missing.code, 127);

    machine.power_off(GRACE).await.expect("powered off");
    assert_eq!(machine.exec(Exec::new(["true"])).await.expect_err("it does not run").kind, ErrorKind::State);
    fixture.end(driver).await;
}

/// Tests a command whose streams are pipes: it answers each line before the input ends, and loses none.
pub async fn streams(driver: &dyn Driver, fixture: &Fixture) {
    let (_, machine) = fixture.one(driver).await;
    let (input, mut to) = std::io::pipe().expect("a pipe");
    let (mut from, output) = std::io::pipe().expect("a pipe");
    let talk = std::thread::spawn(move || {
        to.write_all(b"ping").expect("it reads");
        let mut answer = [0; 4];
        from.read_exact(&mut answer).expect("it answers while it reads");
        assert_eq!(&answer, b"ping");
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let sent = bytes.clone();
        let sending = std::thread::spawn(move || to.write_all(&sent).expect("it reads"));
        let mut all = Vec::new();
        from.read_to_end(&mut all).expect("it ends");
        sending.join().expect("all was sent");
        assert!(all == bytes, "cat gives back what it reads");
    });
    let (input, output) = (Arc::new(OwnedFd::from(input)), Arc::new(OwnedFd::from(output)));
    let cat = Exec { stdin: Stdin::From(input), stdout: Stdout::To(output), ..Exec::new(["cat"]) };
    let ended = machine.exec(cat).await.expect("cat");
    assert_eq!((ended.code, ended.stdout.len()), (0, 0));
    talk.join().expect("all was as it should be");
    fixture.end(driver).await;
}

/// Tests files: before the first boot, running, stopped; modes, parents, replacement, and missing ones.
pub async fn files(driver: &dyn Driver, fixture: &Fixture) {
    let spec = fixture.machine(&fixture.network(driver).await, 0);
    let machine = driver.create(&spec).await.expect("a machine");
    let in_volume = format!("{VOLUME}/a/b/file");
    for (number, state) in ["before the first boot", "running", "stopped"].into_iter().enumerate() {
        match number {
            1 => {
                machine.power_on().await.expect("powered on");
                greeted(&*machine).await;
            }
            2 => machine.power_off(GRACE).await.expect("powered off"),
            _ => {}
        }
        let files = ["/etc/kcl-test/a/file", &in_volume].map(|path| File {
            path: path.into(),
            mode: 0o640,
            content: state.into(),
        });
        machine.put(&files).await.expect(state);
        // Over an existing file.
        machine.put(&files).await.expect(state);
        for file in &files {
            let content = machine.get(&file.path).await.expect(state);
            assert_eq!(String::from_utf8_lossy(&content), state, "{}", file.path.display());
        }
        if number == 1 {
            let cat = machine.exec(Exec::new(["cat", "/etc/kcl-test/a/file", &in_volume])).await.expect("cat");
            assert_eq!(String::from_utf8_lossy(&cat.stdout), format!("{state}{state}"));
        }
        let missing = machine.get(Path::new("/etc/kcl-test/missing")).await.expect_err("not there");
        assert_eq!(missing.kind, ErrorKind::NotFound, "{state}");
    }
    fixture.end(driver).await;
}

/// Tests many files at once, of all sizes, in a stopped and in a running machine.
pub async fn many_files(driver: &dyn Driver, fixture: &Fixture) {
    let spec = fixture.machine(&fixture.network(driver).await, 0);
    let machine = driver.create(&spec).await.expect("a machine");
    for round in ["stopped", "running"] {
        if round == "running" {
            machine.power_on().await.expect("powered on");
            greeted(&*machine).await;
        }
        let content = |index: usize| round.bytes().cycle().take(index * index * 7).collect::<Vec<u8>>();
        let file = |index: usize| File {
            path: format!("/etc/kcl-many/{:02}/it's {index:03}", index % 10).into(),
            mode: 0o600,
            content: content(index),
        };
        machine.put(&(0..120).map(file).collect::<Vec<_>>()).await.expect(round);
        for index in [0, 1, 119] {
            assert!(machine.get(&file(index).path).await.expect(round) == content(index), "file {index}, {round}");
        }
        if round == "running" {
            let cat = machine.exec(Exec::new(["sh", "-c", "cat /etc/kcl-many/*/*"])).await.expect("cat");
            let by_name = (0..10).flat_map(|tens| (0..12).map(move |step| step * 10 + tens));
            assert!(cat.stdout == by_name.flat_map(content).collect::<Vec<_>>(), "all files are whole");
        }
    }
    fixture.end(driver).await;
}

/// Tests power: on twice, off twice, with data and address kept, and the console of the last boot only.
pub async fn power_cycles(driver: &dyn Driver, fixture: &Fixture) {
    let (spec, machine) = fixture.one(driver).await;
    machine.power_on().await.expect("a running machine is left alone");
    for path in ["/root/kept", &format!("{VOLUME}/kept")] {
        let file = File { path: path.into(), mode: 0o600, content: b"kept".to_vec() };
        machine.put(&[file]).await.expect("a file");
    }
    // A handle rebuilt from the names is as good.
    let machine = driver.machine(&spec.cluster, &spec.name).await.expect("a handle");
    for _ in 0..2 {
        machine.power_off(GRACE).await.expect("powered off");
        assert_eq!(machine.info().await.expect("info").power, Power::Stopped);
        machine.power_off(GRACE).await.expect("a stopped machine is left alone");
        assert_eq!(console(&*machine).await, GREETING, "the console outlives the machine's run");
        fixture.network(driver).await;
        driver.create(&spec).await.expect("a machine that is there is left alone");
        machine.power_on().await.expect("powered on again");
        greeted(&*machine).await;
        let info = machine.info().await.expect("info");
        assert_eq!((info.power, info.address), (Power::Running, Some(spec.address)));
        for path in ["/root/kept", &format!("{VOLUME}/kept")] {
            assert_eq!(machine.get(Path::new(path)).await.expect("kept over the power cycle"), b"kept", "{path}");
        }
    }
    machine.power_off(Duration::ZERO).await.expect("powered off at once");
    assert_eq!(machine.info().await.expect("info").power, Power::Stopped);
    fixture.end(driver).await;
}

/// Tests the list, and the deletion of running, stopped and missing machines.
pub async fn listing_and_deleting(driver: &dyn Driver, fixture: &Fixture) {
    assert_eq!(driver.list(Some(&fixture.cluster)).await.expect("a list"), []);
    let gone = driver.machine(&fixture.cluster, "nobody").await.err().expect("there is no such machine");
    assert_eq!(gone.kind, ErrorKind::NotFound);
    driver.delete(&fixture.cluster, "nobody").await.expect("deleting what is not there");
    driver.delete_network(&fixture.cluster).await.expect("deleting what is not there");

    let network = fixture.network(driver).await;
    assert_eq!(fixture.network(driver).await, network, "making it again changes nothing");
    let (running, stopped) = (fixture.machine(&network, 0), fixture.machine(&network, 1));
    driver.create(&running).await.expect("a machine").power_on().await.expect("powered on");
    driver.create(&stopped).await.expect("a machine");
    let all = driver.list(None).await.expect("a list");
    let powers: Vec<_> = all.iter().filter(|info| info.cluster == fixture.cluster).map(|info| info.power).collect();
    assert_eq!(powers, [Power::Running, Power::Stopped]);
    for spec in [&running, &stopped] {
        for _ in 0..2 {
            driver.delete(&spec.cluster, &spec.name).await.expect("deleted, twice");
        }
        assert!(driver.machine(&spec.cluster, &spec.name).await.is_err());
    }
    fixture.end(driver).await;
    fixture.end(driver).await;
}

/// Tests that a creation and a power-on may be dropped at any point, as by Ctrl-C: a deletion afterwards leaves
/// nothing, and the machine can be made again.
pub async fn cut_off(driver: &dyn Driver, fixture: &Fixture) {
    let network = fixture.network(driver).await;
    let spec = fixture.machine(&network, 0);
    for steps in [1, 2, 3, 5, 8, 13, 21] {
        cut_after(steps, async {
            let machine = driver.create(&spec).await.expect("a machine");
            machine.power_on().await.expect("powered on");
        })
        .await;
        driver.delete(&spec.cluster, &spec.name).await.expect("deleted");
        assert_eq!(driver.list(Some(&fixture.cluster)).await.expect("a list"), [], "cut off after {steps} steps");
    }
    cut_after(2, async { drop(driver.create(&spec).await) }).await;
    let machine = driver.create(&spec).await.expect("a machine, made again");
    machine.power_on().await.expect("powered on");
    fixture.end(driver).await;
}

/// Drops a future after it was polled `steps` times.
async fn cut_after(mut steps: u32, work: impl Future<Output = ()>) {
    let mut work = Box::pin(work);
    let cut = std::future::poll_fn(|context| {
        if steps == 0 {
            return Poll::Ready(());
        }
        steps -= 1;
        work.as_mut().poll(context)
    });
    cut.await;
}

/// Tests directories of this host: there from the first boot, live in both directions, over power cycles; if they can
/// change, they come and go. The machine's deletion leaves their content.
pub async fn host_mounts(driver: &dyn Driver, fixture: &Fixture) {
    let mut spec = fixture.machine(&fixture.network(driver).await, 0);
    let here = std::env::temp_dir().join(format!("kcl-contract-{}-{}", fixture.cluster, std::process::id()));
    let mount = |name: &str, read_only| {
        let source = here.join(name);
        std::fs::create_dir_all(&source).expect("a directory here");
        std::fs::write(source.join("file"), name).expect("a file here");
        HostMount { source, target: format!("/mnt/kcl-{name}").into(), read_only }
    };
    let able = driver.capabilities(&spec.cluster, &spec.name).await.expect("capabilities").mounts;
    let (one, two) = (mount("one", false), mount("two", true));
    if able != Mounts::Never {
        spec.mounts = vec![one.clone()];
    }
    let machine = driver.create(&spec).await.expect("a machine");
    machine.power_on().await.expect("powered on");
    greeted(&*machine).await;
    if able != Mounts::Live {
        assert_eq!(machine.set_mounts(&[two]).await.expect_err("it cannot").kind, ErrorKind::State);
    }
    if able != Mounts::Never {
        for round in ["first boot", "second boot"] {
            assert_eq!(shell(&*machine, "cat /mnt/kcl-one/file").await.1, "one", "{round}");
            std::fs::write(one.source.join("from-here"), round).expect("a file here");
            assert_eq!(shell(&*machine, "cat /mnt/kcl-one/from-here").await.1, round);
            assert_eq!(shell(&*machine, "echo there >/mnt/kcl-one/from-there").await.0, 0);
            assert_eq!(std::fs::read(one.source.join("from-there")).expect("a file of there"), b"there\n");
            machine.power_off(GRACE).await.expect("powered off");
            machine.power_on().await.expect("powered on again");
            greeted(&*machine).await;
        }
    }
    if able == Mounts::Live {
        let (one, two) = (mount("one", false), mount("two", true));
        for wanted in [&[one.clone(), two.clone()][..], &[one, two.clone()]] {
            machine.set_mounts(wanted).await.expect("another one");
        }
        let change = "cat /mnt/kcl-two/file; touch /mnt/kcl-one/more && ! touch /mnt/kcl-two/more 2>/dev/null";
        assert_eq!(shell(&*machine, change).await, (0, "two".to_owned()));
        machine.set_mounts(std::slice::from_ref(&two)).await.expect("one less");
        assert_eq!(shell(&*machine, "ls /mnt/kcl-one; cat /mnt/kcl-two/file").await, (0, "two".to_owned()));
        machine.power_off(GRACE).await.expect("powered off");
        let other = HostMount { source: here.join("one"), ..two.clone() };
        machine.set_mounts(&[other]).await.expect("another one while it is off");
        machine.put(&[File { path: "/etc/kcl-file".into(), mode: 0o600, content: Vec::new() }]).await.expect("a file");
        machine.power_on().await.expect("powered on again");
        greeted(&*machine).await;
        let change = "cat /mnt/kcl-two/file; ! touch /mnt/kcl-two/more 2>/dev/null";
        assert_eq!(shell(&*machine, change).await, (0, "one".to_owned()));
        let missing = HostMount { source: here.join("missing"), ..two };
        assert_eq!(machine.set_mounts(&[missing]).await.expect_err("not there").kind, ErrorKind::NotFound);
        assert_eq!(shell(&*machine, "cat /mnt/kcl-two/file").await.1, "one", "as before");
    }
    fixture.end(driver).await;
    assert_eq!(std::fs::read(here.join("one/file")).expect("it is still there"), b"one");
    std::fs::remove_dir_all(&here).expect("removed");
}

/// Returns the exit code and the output.
async fn shell(machine: &dyn Machine, script: &str) -> (i32, String) {
    let output = machine.exec(Exec::new(["sh", "-c", script])).await.expect("a command");
    (output.code, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Tests that methods that only look change nothing.
pub async fn looking_changes_nothing(driver: &dyn Driver, fixture: &Fixture) {
    let subnet = driver.propose_subnet(&fixture.cluster).await.expect("a free subnet");
    let request = PreflightRequest {
        cluster: fixture.cluster.clone(),
        machines: vec![fixture.cluster.clone()],
        subnet: Some(subnet),
        ..PreflightRequest::default()
    };
    let findings = driver.preflight(&request).await.expect("findings");
    let ids = |findings: &[Finding]| findings.iter().map(|finding| finding.id).collect::<Vec<_>>();
    assert_eq!(ids(&driver.preflight(&request).await.expect("findings")), ids(&findings), "looked at twice");
    assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:#?}");
    assert!(driver.health().await.expect("health").works());
    assert_eq!(driver.list(Some(&fixture.cluster)).await.expect("a list"), []);
    assert_eq!(driver.propose_subnet(&fixture.cluster).await.expect("a subnet"), subnet, "it is still free");
}

/// Waits until the first process is ready: earlier, it may miss a SIGTERM.
async fn greeted(machine: &dyn Machine) {
    while console(machine).await != GREETING {}
}

async fn console(machine: &dyn Machine) -> String {
    String::from_utf8_lossy(&machine.console().await.expect("a console")).trim().to_owned()
}
