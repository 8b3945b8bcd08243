//! Tests the driver contract with machines in memory, and what only they do: record and fail.

use std::path::Path;

use futures::executor::block_on;
use kcl_driver_api::contract::{self, Fixture, GREETING};
use kcl_driver_api::{Addresses, Driver, Exec, ExecOutput, MachineSpec, NetworkSpec, Power, Stdin, Stdout};
use kcl_driver_fake::{FakeDriver, FakeExec};

fn spec(name: &str, address: Addresses) -> MachineSpec {
    MachineSpec { init: vec!["/init".into()], ..contract::spec("fake", name, address, Path::new("/rootfs")) }
}

/// Answers the commands of the contract as a shell would.
fn shell(driver: &FakeDriver, command: &FakeExec<'_>) -> ExecOutput {
    let output = |code, stdout: &[u8], stderr: &[u8]| ExecOutput { code, stdout: stdout.into(), stderr: stderr.into() };
    let read = |path: String| {
        driver.file(command.cluster, command.machine, path.as_ref()).map(|file| file.1).unwrap_or_default()
    };
    let argv: Vec<&str> = command.exec.argv.iter().map(String::as_str).collect();
    match &*argv {
        ["sh", "-c", "echo out; echo err >&2; exit 7"] => output(7, b"out\n", b"err\n"),
        ["sh", "-c", "kill -9 $$"] => output(137, b"", b""),
        ["sh", "-c", "printf %s \"$KCL_TEST\""] => output(0, command.exec.env[0].1.as_bytes(), b""),
        ["cat"] => match &command.exec.stdin {
            Stdin::Bytes(bytes) => output(0, bytes, b""),
            Stdin::From(from) => {
                let Stdout::To(to) = &command.exec.stdout else { panic!("cat into {:?}", command.exec.stdout) };
                let file = |fd: &std::os::fd::OwnedFd| std::fs::File::from(fd.try_clone().unwrap());
                std::io::copy(&mut file(from), &mut file(to)).unwrap();
                output(0, b"", b"")
            }
            _ => output(0, b"", b""),
        },
        ["sh", "-c", "cat /etc/kcl-many/*/*"] => {
            let place = |tens| move |step: usize| format!("/etc/kcl-many/{tens:02}/it's {:03}", step * 10 + tens);
            output(0, &(0..10).flat_map(|tens| (0..12).map(place(tens))).flat_map(read).collect::<Vec<_>>(), b"")
        }
        ["cat", paths @ ..] => {
            output(0, &paths.iter().map(ToString::to_string).flat_map(read).collect::<Vec<_>>(), b"")
        }
        ["/does/not/exist"] => output(127, b"", b"not found"),
        other => panic!("no answer to {other:?}"),
    }
}

#[test]
fn keeps_the_contract() {
    let driver = FakeDriver::new();
    let of_answers = driver.clone();
    driver.on_exec(move |command| shell(&of_answers, command));
    driver.set_console(GREETING);
    block_on(contract::all(&driver, &Fixture { cluster: "fake".into(), spec: Box::new(spec) }));
}

#[test]
fn records_and_fails_as_configured() {
    block_on(async {
        let driver = FakeDriver::new();
        let subnet = driver.propose_subnet("fake").await.unwrap();
        driver.ensure_network(&NetworkSpec::new("fake", subnet)).await.unwrap();
        driver.fail("create fake/fake-m02", "no room");
        driver.fail("exec fake/fake kcl-node", "runc died");
        let machine = driver.create(&spec("fake", [10, 89, 0, 10].into())).await.unwrap();
        let error = driver.create(&spec("fake-m02", [10, 89, 0, 11].into())).await.err().unwrap();
        assert_eq!(error.message, "no room");
        let powers: Vec<_> = driver.list(None).await.unwrap().iter().map(|info| info.power).collect();
        assert_eq!(powers, [Power::Stopped, Power::Broken]);
        assert!(driver.machine("fake", "fake-m02").await.unwrap().power_on().await.is_err(), "it is broken");
        machine.power_on().await.unwrap();
        assert!(machine.exec(Exec::new(["kcl-node", "status"])).await.is_err());
        assert_eq!(machine.exec(Exec::new(["kcl-node", "status"])).await.unwrap().code, 0, "only once");
        assert_eq!(
            driver.calls(),
            [
                "ensure-network fake 10.89.0.0/24",
                "create fake/fake",
                "create fake/fake-m02",
                "power-on fake/fake-m02",
                "power-on fake/fake",
                "exec fake/fake kcl-node status",
                "exec fake/fake kcl-node status",
            ]
        );
    });
}
