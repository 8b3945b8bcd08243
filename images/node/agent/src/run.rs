//! `kcl-node run`: the life of a node from its preparation to its end.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use kcl_node_spec::{NodeSpec, SCHEMA, Taint};
use nix::sys::reboot::{RebootMode, reboot};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::capacity::View;
use crate::console::say;
use crate::error::{Doing, Error, Result};
use crate::facts::Facts;
use crate::gate::{self, Client, Gate};
use crate::socket::{Answer, Request};
use crate::state::State;
use crate::supervise::{self, Component, Reaper};
use crate::{components, console, facts, files, paths, prepare, socket};

/// The time that containers get to end when the node stops, before they are killed.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The running parts of a prepared node.
struct Node {
    spec: NodeSpec,
    /// The taints with which the kubelet was started.
    taints: Vec<Taint>,
    facts: Facts,
    gate: Rc<Gate>,
    handles: HashMap<&'static str, mpsc::Sender<supervise::Command>>,
    reaper: Reaper,
}

impl Node {
    /// Returns the spec without what a kubelet tells only as it registers its node: a change of that restarts nothing.
    fn as_registered(&self) -> NodeSpec {
        let mut spec = self.spec.clone();
        spec.kubernetes.taints.clone_from(&self.taints);
        spec
    }
}

/// Runs until a command or a signal stops the node.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.doing(|| "start the event loop".to_owned())?;
    let result = LocalSet::new().block_on(&runtime, main());
    if let Err(error) = &result {
        say(format_args!("the node cannot run: {error}"));
    }
    power_off();
    result
}

async fn main() -> Result<()> {
    let _ = console::started();
    prepare::base()?;
    let state = Rc::new(State::new(&nix::unistd::gethostname().unwrap_or_default().to_string_lossy()));
    let reaper = Reaper::start()?;
    let (sender, mut orders) = mpsc::channel(8);
    socket::serve(state.clone(), sender)?;
    let mut signals = Signals::listen()?;
    let mut node = tokio::select! {
        started = start(&state, &reaper) => match started {
            Ok(node) => Some(node),
            Err(error) => {
                // The agent stays, so that kcl can ask for the reason.
                say(format_args!("the node could not be prepared: {error}"));
                state.failed(&error.to_string());
                None
            }
        },
        () = signals.any() => return Ok(()),
    };
    // The client of the stop waits for the end of the connection, so its sender is kept until then.
    let _asked = loop {
        tokio::select! {
            () = signals.any() => break None,
            Some((request, answer)) = orders.recv() => {
                if let Request::Stop = request {
                    break Some(answer);
                }
                let result = obey(request, node.as_mut()).await;
                let _ = answer.send(Answer { error: result.err().map(|error| error.to_string()) });
            }
        }
    };
    state.stopping();
    if let Some(node) = &node {
        supervise::stop(&node.handles, STOP_GRACE).await;
        say("stopped");
    }
    Ok(())
}

/// Prepares the node and starts its components.
async fn start(state: &Rc<State>, reaper: &Reaper) -> Result<Node> {
    let spec = read_spec()?;
    state.named(&spec);
    let facts = Facts::detect(&spec);
    let client = Client::from_kubeconfig(Path::new(paths::KUBELET_CONF))?;
    prepare::all(&spec, &facts, reaper).await?;
    let view = Rc::new(View::render(&spec)?);
    let gate = gate::open(&spec, client, state.clone()).await?;
    let processes = components::all(&spec, &facts);
    state.starting(&processes);
    say(format_args!("{} is prepared after {} ms", spec.name, state.uptime_ms()));
    tokio::task::spawn_local(supervise::rotate_forever(processes.iter().map(|process| process.name).collect()));
    tokio::task::spawn_local(follow_api(spec.clone(), gate.clone(), reaper.clone()));
    let mut handles = HashMap::new();
    for process in processes {
        let (sender, commands) = mpsc::channel(4);
        handles.insert(process.name, sender);
        let component =
            Component { process, state: state.clone(), reaper: reaper.clone(), gate: gate.clone(), view: view.clone() };
        tokio::task::spawn_local(component.live(commands));
    }
    let taints = spec.kubernetes.taints.clone();
    Ok(Node { spec, taints, facts, gate, handles, reaper: reaper.clone() })
}

/// Leads the Service `kubernetes` to the API server that the node uses, for as long as the agent runs.
async fn follow_api(spec: NodeSpec, gate: Rc<Gate>, reaper: Reaper) {
    let mut changes = gate.watch();
    let mut led = None;
    loop {
        changes.mark_unchanged();
        let chosen = gate.chosen();
        if led != chosen {
            match prepare::packets::lead_to_api(&spec, chosen, &reaper).await {
                Ok(()) => led = chosen,
                Err(error) => say(format_args!("the Service kubernetes cannot be led to the API: {error}")),
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn read_spec() -> Result<NodeSpec> {
    let spec: NodeSpec = serde_json::from_str(&files::read(paths::SPEC)?)
        .map_err(|error| Error::Invalid(format!("{}: {error}", paths::SPEC)))?;
    if spec.schema != SCHEMA {
        let (found, path) = (spec.schema, paths::SPEC);
        return Err(Error::Invalid(format!("{path}: schema is {found}, this agent reads {SCHEMA}")));
    }
    Ok(spec)
}

async fn obey(request: Request, node: Option<&mut Node>) -> Result<()> {
    let node = node.ok_or_else(|| Error::Invalid("the node could not be prepared; see its status".to_owned()))?;
    match request {
        Request::Restart { component } => {
            let handle = node.handles.get(component.as_str()).ok_or_else(|| {
                let names: Vec<_> = node.handles.keys().copied().collect();
                Error::Invalid(format!("there is no component {component:?} here, but {}", names.join(", ")))
            })?;
            supervise::order(handle, supervise::Command::Restart).await;
        }
        Request::Reload => {
            let spec = read_spec()?;
            prepare::update(&node.spec, &spec, &node.facts, &node.reaper).await?;
            node.gate.set_servers(&spec);
            gate::share(&spec, &node.gate)?;
            node.spec = spec;
            node.gate.client().read_again(Path::new(paths::KUBELET_CONF))?;
            supervise::refresh(&node.handles, components::all(&node.as_registered(), &node.facts)).await;
        }
        Request::Status | Request::Watch | Request::Stop => {}
    }
    Ok(())
}

/// Powers off a machine whose first process is the agent: the kernel panics when that process ends for any reason.
fn power_off() {
    if std::process::id() == 1 && facts::own_kernel() {
        nix::unistd::sync();
        let Err(error) = reboot(RebootMode::RB_POWER_OFF);
        say(format_args!("power off: {error}"));
    }
}

/// Waits for a signal to stop the node.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> Result<Signals> {
        let listen = |kind| signal(kind).doing(|| "listen for signals".to_owned());
        // Engines and hypervisors send SIGPWR to an init that is to stop.
        let power = SignalKind::from_raw(libc::SIGPWR);
        Ok(Signals([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(power)?]))
    }

    async fn any(&mut self) {
        let [first, second, third] = &mut self.0;
        tokio::select! {
            _ = first.recv() => {}
            _ = second.recv() => {}
            _ = third.recv() => {}
        }
    }
}
