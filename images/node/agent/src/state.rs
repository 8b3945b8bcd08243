//! The state of the node: one value that all tasks change and watch.

use kcl_node_spec::{ComponentState, ComponentStatus, NodeSpec, NodeStatus, Phase};
use tokio::sync::watch;

use crate::components::Process;
use crate::console::{say, started};

/// The state of the node, with its watchers.
pub(crate) struct State {
    status: watch::Sender<NodeStatus>,
    /// True while the node's own API server serves, though it may not be ready.
    pub api_serving: watch::Sender<bool>,
}

impl State {
    /// Returns the state of a node whose preparation begins.
    pub(crate) fn new(name: &str) -> State {
        let status = NodeStatus {
            name: name.to_owned(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            phase: Phase::Preparing,
            error: None,
            api_ready: false,
            uptime_ms: 0,
            components: Vec::new(),
        };
        State { status: watch::Sender::new(status), api_serving: watch::Sender::new(false) }
    }

    /// Returns the current status.
    pub(crate) fn now(&self) -> NodeStatus {
        NodeStatus { uptime_ms: self.uptime_ms(), ..self.status.borrow().clone() }
    }

    /// Returns the milliseconds since the agent started.
    pub(crate) fn uptime_ms(&self) -> u64 {
        started().elapsed().as_millis() as u64
    }

    /// Returns a receiver of the current status and of all changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<NodeStatus> {
        let mut receiver = self.status.subscribe();
        receiver.mark_changed();
        receiver
    }

    /// Notes that the node follows its spec from now on.
    pub(crate) fn named(&self, spec: &NodeSpec) {
        self.status.send_modify(|status| status.name.clone_from(&spec.name));
    }

    /// Notes that the node is prepared and that these components are started.
    pub(crate) fn starting(&self, components: &[Process]) {
        let waiting = |process: &Process| ComponentStatus {
            name: process.name.to_owned(),
            state: ComponentState::Waiting,
            pid: None,
            restarts: 0,
            last_exit: None,
            ready_after_ms: None,
        };
        self.status.send_modify(|status| {
            status.phase = Phase::Starting;
            status.components = components.iter().map(waiting).collect();
        });
    }

    /// Notes that the preparation failed.
    pub(crate) fn failed(&self, error: &str) {
        self.status.send_modify(|status| {
            status.phase = Phase::Failed;
            status.error = Some(error.to_owned());
        });
    }

    /// Notes that the node is being stopped.
    pub(crate) fn stopping(&self) {
        self.status.send_modify(|status| status.phase = Phase::Stopping);
    }

    /// Notes that the API is reachable or no longer reachable.
    pub(crate) fn api_ready(&self, ready: bool) {
        self.status.send_if_modified(|status| std::mem::replace(&mut status.api_ready, ready) != ready);
    }

    /// Changes a component's status; the node's phase follows.
    pub(crate) fn component(&self, name: &str, change: impl FnOnce(&mut ComponentStatus)) {
        self.status.send_if_modified(|status| {
            let Some(component) = status.components.iter_mut().find(|component| component.name == name) else {
                return false;
            };
            let before = component.clone();
            change(component);
            let changed = *component != before;
            if matches!(status.phase, Phase::Starting | Phase::Running) {
                let all = status.components.iter().all(|component| component.state == ComponentState::Ready);
                status.phase = if all { Phase::Running } else { Phase::Starting };
            }
            changed
        });
    }

    /// Notes that a component is ready.
    pub(crate) fn ready(&self, name: &str) {
        let now = self.uptime_ms();
        say(format_args!("{name} is ready"));
        self.component(name, |status| {
            status.state = ComponentState::Ready;
            status.ready_after_ms.get_or_insert(now);
        });
    }

    /// Returns once the component is ready.
    pub(crate) async fn until_ready(&self, name: &str) {
        let ready = |status: &NodeStatus| {
            status.components.iter().any(|one| one.name == name && one.state == ComponentState::Ready)
        };
        // The state holds the sender, so this ends only when the condition is true.
        let _ = self.status.subscribe().wait_for(ready).await;
    }

    /// Returns once the node's own API server serves.
    pub(crate) async fn until_api_serving(&self) {
        let _ = self.api_serving.subscribe().wait_for(|serving| *serving).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components;
    use crate::testing::{facts, spec};

    #[test]
    fn a_node_runs_while_all_its_components_are_ready() {
        let state = State::new("kcl");
        let processes = components::all(&spec(), &facts());
        state.starting(&processes);
        for process in &processes {
            assert_eq!(state.now().phase, Phase::Starting);
            state.ready(process.name);
        }
        assert_eq!(state.now().phase, Phase::Running);
        state.component("kubelet", |status| status.state = ComponentState::BackOff);
        assert_eq!(state.now().phase, Phase::Starting);
        state.stopping();
        state.ready("kubelet");
        assert_eq!(state.now().phase, Phase::Stopping);
    }
}
