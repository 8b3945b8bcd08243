//! The life of one component: waiting, starting, ready, ended, restarted.

use std::rc::Rc;
use std::time::{Duration, Instant};

use kcl_node_spec::ComponentState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};

use super::reaper::{Exit, Reaper, Running};
use super::{notify, probe, spawn};
use crate::capacity::View;
use crate::components::{After, Process, Readiness};
use crate::console::say;
use crate::etcd;
use crate::files;
use crate::gate::Gate;
use crate::state::State;

/// The first delay before a restart; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest delay.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The run time after which a component has recovered, so that the next delay is the first again.
const RECOVERED: Duration = Duration::from_secs(30);

/// An order for a component.
pub(crate) enum Command {
    /// Ends the component for good. The reply comes once it has ended.
    Stop(oneshot::Sender<()>),
    /// Ends the component and restarts it at once. The reply comes once it has ended.
    Restart(oneshot::Sender<()>),
    /// Makes this its process. It is restarted if its arguments or files have changed, also those that it reads only when it
    /// starts; else the reply comes at once.
    Refresh(Box<Process>, oneshot::Sender<()>),
}

/// A supervised component.
pub(crate) struct Component {
    /// The process to run.
    pub process: Process,
    /// The state of the node, which gets the component's status.
    pub state: Rc<State>,
    /// The reaper, which waits for processes.
    pub reaper: Reaper,
    /// The gate, which knows the readiness of the API.
    pub gate: Rc<Gate>,
    /// The size of the machine as the kubelet sees it.
    pub view: Rc<View>,
}

/// The reason why a run of the process ended.
enum Ended {
    Itself(Exit),
    Told(Command),
    /// It no longer answered, and was ended.
    Hung,
    Unstartable(String),
}

impl Component {
    /// Supervises the component until a command stops it.
    pub(crate) async fn live(mut self, mut commands: mpsc::Receiver<Command>) {
        let name = self.process.name;
        let mut pause = FIRST_PAUSE;
        loop {
            self.set(ComponentState::Waiting);
            tokio::select! {
                () = self.may_start() => {}
                command = commands.recv() => match self.adopt(command) {
                    // It reads its files when it starts.
                    Ok(done) => {
                        let _ = done.send(());
                        continue;
                    }
                    Err(other) => return self.stopped(other),
                },
            }
            let started = Instant::now();
            let ended = self.run(&mut commands).await;
            let told = match ended {
                Ended::Told(command) => match self.adopt(Some(command)) {
                    Ok(done) => {
                        // The reply comes when the status no longer says that it is ready.
                        self.set(ComponentState::Waiting);
                        let _ = done.send(());
                        None
                    }
                    Err(stop) => return self.stopped(stop),
                },
                Ended::Itself(exit) => Some(exit.to_string()),
                Ended::Hung => Some("it had hung: its health check failed again and again".to_owned()),
                Ended::Unstartable(error) => Some(error),
            };
            self.state.component(name, |status| status.restarts += 1);
            let Some(how) = told else { continue };
            if started.elapsed() >= RECOVERED {
                pause = FIRST_PAUSE;
            }
            say(format_args!("{name} ended: {how}; it is started again in {} ms", pause.as_millis()));
            self.state.component(name, |status| {
                status.state = ComponentState::BackOff;
                status.pid = None;
                status.last_exit = Some(how.clone());
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                command = commands.recv() => match self.adopt(command) {
                    Ok(done) => drop(done.send(())),
                    Err(other) => return self.stopped(other),
                },
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes over the process of an order to start again, and returns the sender of its reply; other orders are returned.
    fn adopt(&mut self, command: Option<Command>) -> Result<oneshot::Sender<()>, Option<Command>> {
        match command {
            Some(Command::Restart(done)) => Ok(done),
            Some(Command::Refresh(process, done)) => {
                self.process = *process;
                Ok(done)
            }
            other => Err(other),
        }
    }

    /// Runs the process once, from its start to its end.
    async fn run(&self, commands: &mut mpsc::Receiver<Command>) -> Ended {
        let notify = match notify::Socket::bind(self.process.name) {
            Ok(socket) => socket,
            Err(error) => return Ended::Unstartable(error.to_string()),
        };
        let read = files::digest(&self.process.reads);
        let mut running = match spawn::spawn(&self.process, &self.view, &self.reaper) {
            Ok(running) => running,
            Err(error) => return Ended::Unstartable(error.to_string()),
        };
        self.state.component(self.process.name, |status| {
            status.state = ComponentState::Starting;
            status.pid = Some(running.pid.as_raw() as u32);
        });
        let mut ready = false;
        let works = |works| self.works(works);
        let mut hung = std::pin::pin!(probe::hung(self.process.liveness, self.gate.client(), works));
        let ended = loop {
            tokio::select! {
                exit = &mut running.exit => break Ended::Itself(exit.unwrap_or(Exit::Code(-1))),
                command = commands.recv() => match command {
                    Some(Command::Refresh(process, done))
                        if self.process.starts_like(&process) && files::digest(&process.reads) == read =>
                    {
                        let _ = done.send(());
                    }
                    command => {
                        self.end(&mut running).await;
                        break Ended::Told(command.unwrap_or_else(|| Command::Restart(oneshot::channel().0)));
                    }
                },
                () = self.ready(&notify), if !ready => {
                    ready = true;
                    self.state.ready(self.process.name);
                }
                () = &mut hung, if ready => {
                    self.end(&mut running).await;
                    break Ended::Hung;
                }
            }
        };
        if self.process.readiness == Readiness::Gate {
            self.state.api_serving.send_replace(false);
            self.gate.local_ended();
        }
        ended
    }

    /// Notes that the component no longer answers, or that it does again.
    fn works(&self, works: bool) {
        let name = self.process.name;
        if works {
            return self.state.ready(name);
        }
        say(format_args!("{name} does not answer"));
        self.state.component(name, |status| status.state = ComponentState::Starting);
        if self.process.readiness == Readiness::Gate {
            // The gate looks for itself, and holds connections meanwhile.
            self.gate.local_ended();
        }
    }

    /// Sends SIGTERM, and SIGKILL after the grace period.
    async fn end(&self, running: &mut Running) {
        if self.process.hands_over {
            etcd::step_down().await;
        }
        signal(running.pid, Signal::SIGTERM);
        if tokio::time::timeout(self.process.grace, &mut running.exit).await.is_err() {
            say(format_args!("{} did not end within {} ms: killed", self.process.name, self.process.grace.as_millis()));
            signal(running.pid, Signal::SIGKILL);
            let _ = (&mut running.exit).await;
        }
    }

    fn stopped(&self, command: Option<Command>) {
        self.state.component(self.process.name, |status| {
            status.state = ComponentState::Stopped;
            status.pid = None;
        });
        say(format_args!("{} is stopped", self.process.name));
        if let Some(Command::Stop(done)) = command {
            let _ = done.send(());
        }
    }

    fn set(&self, state: ComponentState) {
        self.state.component(self.process.name, |status| {
            status.state = state;
            status.pid = None;
        });
    }

    async fn may_start(&self) {
        for after in self.process.after {
            match after {
                After::Ready(other) => self.state.until_ready(other).await,
                After::ApiServing => self.state.until_api_serving().await,
            }
        }
    }

    async fn ready(&self, notify: &notify::Socket) {
        match self.process.readiness {
            Readiness::Notify => notify.ready().await,
            Readiness::Voter => {
                notify.ready().await;
                etcd::until_voter().await;
            }
            Readiness::Http(port) => probe::healthy(port, None).await,
            Readiness::Https(port) => probe::healthy(port, Some(self.gate.client())).await,
            Readiness::Gate => {
                notify.ready().await;
                self.state.api_serving.send_replace(true);
                self.gate.until_local_ready().await;
            }
        }
    }
}

fn signal(pid: Pid, signal: Signal) {
    // The process may have just ended.
    let _ = kill(pid, signal);
}
