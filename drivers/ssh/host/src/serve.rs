//! Serves one request with one answer.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_driver_api::{Error, ErrorKind, Exec, File, MachineInfo, Result, Stdin, Stdout};
use kcl_driver_local::context::Context as _;
use kcl_driver_oci::{access, exec, list};
use kcl_node_spec::Footprint;

use crate::host::Host;
use crate::protocol::{Done, Failure, FileText, Machine, Name, Request, answer, read_request};
use crate::{facts, machine, receive};

/// Runs `kcl-node host`, which answers the request on its standard input, or `kcl-node host keep CLUSTER MACHINE`, a
/// request of its own. `footprint` has the marks of the machines that it makes.
pub fn main(arguments: &[&str], footprint: &'static Footprint) -> ExitCode {
    let host = Host::new(footprint);
    // Not `Stdin`, which reads ahead: the bytes after the request may be for a command.
    let mut input = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(input) => fs::File::from(input),
        Err(error) => {
            let _ = writeln!(io::stderr(), "kcl-node: standard input: {error}");
            return ExitCode::FAILURE;
        }
    };
    let request = match arguments {
        [] => read_request(&mut input).map_err(Error::from),
        ["keep", cluster, machine] => {
            Ok(Request::Keep(Name { cluster: (*cluster).to_owned(), machine: (*machine).to_owned() }))
        }
        _ => Err(Error::new(ErrorKind::State, "usage: kcl-node host [keep CLUSTER MACHINE]")),
    };
    let done = match request {
        Ok(Request::Exec { name, argv, env, tty, mark }) => {
            return run(&host, &name, Exec { argv, env, tty, stdin: Stdin::Inherit, stdout: Stdout::Inherit }, &mark);
        }
        Ok(Request::Keep(name)) => machine::keep(&host, &name).map_err(|error| {
            let _ = writeln!(io::stderr(), "kcl-node: {error}");
            io::Error::other(error)
        }),
        Ok(request) => serve(&host, request, &mut input),
        Err(error) => answer::<Done>(&mut io::stdout(), Err(error)),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve(host: &Host, request: Request, input: &mut impl io::Read) -> io::Result<()> {
    let out = &mut io::stdout();
    let done = |result: Result<()>| result.map(|()| Done {});
    match request {
        Request::Facts { thorough } => answer(out, facts::gather(host, thorough)),
        Request::List { cluster } => {
            let machines = list::list(&host.layout, cluster.as_deref());
            answer(out, machines.map(|all| all.into_iter().map(Machine::from).collect::<Vec<_>>()))
        }
        Request::Claim { cluster, keys } => answer(out, claim(host, &cluster, &keys)),
        Request::Receive { cluster, trees } => {
            let keys: Vec<String> = trees.keys().cloned().collect();
            let received = claim(host, &cluster, &keys).and_then(|_| receive::receive(&host.trees, &trees, input, out));
            answer(out, received)
        }
        Request::Create { spec, runc } => answer(out, done(machine::create(host, &spec, &runc))),
        Request::On(name) => answer(out, done(machine::on(host, &name))),
        Request::Off { name, grace } => answer(out, done(machine::off(host, &name, Duration::from_millis(grace)))),
        Request::Info(name) => answer(out, info(host, &name)),
        Request::Put { name, files } => answer(out, done(put(host, &name, files))),
        Request::Get { name, path } => {
            let content = host.machine(&name).and_then(|names| access::get(&names, &path));
            answer(out, content.map(|content| STANDARD.encode(content)))
        }
        Request::Console(name) => {
            let content = host.machine(&name).and_then(|names| access::console(&names));
            answer(out, content.map(|content| STANDARD.encode(content)))
        }
        Request::Delete(name) => answer(out, done(machine::delete(host, &name))),
        Request::Leave { cluster } => answer(out, done(machine::leave(host, &cluster))),
        Request::Exec { .. } | Request::Keep(_) => unreachable!("taken before"),
    }
    .and_then(|()| out.flush())
}

/// Keeps the trees and returns the keys of those that are not whole.
fn claim(host: &Host, cluster: &str, keys: &[String]) -> Result<Vec<String>> {
    let _lock = machine::lock()?;
    host.layout.cluster(cluster)?;
    host.trees.claim(cluster, keys)?;
    let mut missing = Vec::new();
    for key in keys {
        if !host.trees.is_whole(key)? {
            missing.push(key.clone());
        }
    }
    Ok(missing)
}

fn info(host: &Host, name: &Name) -> Result<Machine> {
    Ok(list::info(&host.machine(name)?).into())
}

fn put(host: &Host, name: &Name, files: Vec<FileText>) -> Result<()> {
    let decode = |file: FileText| {
        let content = STANDARD.decode(&file.content).with_context(|| format!("read {}", file.path.display()))?;
        Ok(File { path: file.path, mode: file.mode, content })
    };
    let files: Vec<File> = files.into_iter().map(decode).collect::<Result<_>>()?;
    let names = host.machine(name)?;
    access::put(&names, &files)?;
    // This host starts the machine again by itself, with what is on its disk.
    access::settle(&names, &files)
}

/// Runs a command with the streams of this process.
fn run(host: &Host, name: &Name, request: Exec, mark: &str) -> ExitCode {
    let output = host.machine(name).and_then(|names| {
        let runc: Option<PathBuf> = machine::engine(&names)?.map(|engine| engine.runc);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().with_context(|| "start a runtime")?;
        runtime.block_on(exec::exec(runc.as_deref(), &names, request))
    });
    match output {
        Ok(output) => {
            // A command that does not exist is reported by kcl.
            let _ = io::stderr().write_all(&output.stderr);
            ExitCode::from(u8::try_from(output.code).unwrap_or(u8::MAX))
        }
        Err(error) => {
            let failure = serde_json::to_string(&Failure::from(error)).unwrap_or_default();
            let _ = writeln!(io::stderr(), "{mark}{failure}");
            ExitCode::FAILURE
        }
    }
}

impl From<MachineInfo> for Machine {
    fn from(info: MachineInfo) -> Self {
        let MachineInfo { cluster, name, power, address, labels } = info;
        Machine { cluster, name, power, address, labels }
    }
}
