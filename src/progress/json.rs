//! The renderer for programs: one CloudEvent (version 1.0) a line, in minikube's shape.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::error::Id;
use crate::progress::{Event, Renderer, text};

/// The shortest interval between two events of a running step.
const INTERVAL: Duration = Duration::from_millis(500);

/// Writes events as JSON lines.
pub(super) struct Json {
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    /// Names this run, so that ids differ from those of others.
    run: String,
    count: usize,
    running: HashMap<usize, Running>,
    /// The error by which the first event was lost.
    lost: Option<io::Error>,
}

/// A running step.
struct Running {
    data: Map<String, Value>,
    throttle: text::Throttle,
}

impl Json {
    /// Writes events to `out`.
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        let run = format!("{}-{}", jiff::Timestamp::now().as_nanosecond(), std::process::id());
        Json { state: Mutex::new(State::new(out, run)) }
    }
}

impl Renderer for Json {
    fn event(&self, event: &Event) {
        // A panic elsewhere is no reason to lose the events that explain it.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kind, data)) = state.data(event, Instant::now()) {
            state.count += 1;
            let event = json!({
                "specversion": "1.0",
                "id": format!("{}-{}", state.run, state.count),
                "source": "/kcl",
                "type": format!("io.k8s.sigs.kcl.{kind}"),
                "time": jiff::Timestamp::now().to_string(),
                "datacontenttype": "application/json",
                "data": data,
            });
            // The reader may be gone; that does not stop the work.
            if let Err(error) = writeln!(state.out, "{event}").and_then(|()| state.out.flush()) {
                state.lost.get_or_insert(error);
            }
        }
    }

    fn lost(&self) -> Option<io::Error> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lost.take()
    }
}

impl State {
    fn new(out: Box<dyn Write + Send>, run: String) -> Self {
        State { out, run, count: 0, running: HashMap::new(), lost: None }
    }

    /// Returns the end of the type and the data of an event, if it is worth one. All values are texts, as in minikube.
    fn data(&mut self, event: &Event, now: Instant) -> Option<(&'static str, Map<String, Value>)> {
        match event {
            Event::Started { step, total, name, title } => {
                let mut data = map(&[("currentstep", step.to_string()), ("name", (*name).to_owned())]);
                data.insert("totalsteps".to_owned(), total.map_or(String::new(), |total| total.to_string()).into());
                let running = Running { data: data.clone(), throttle: text::Throttle::new(INTERVAL, now) };
                self.running.insert(*step, running);
                data.insert("message".to_owned(), title.clone().into());
                Some(("step", data))
            }
            Event::Progress { step, message, position } => {
                let percent = text::percent(*position);
                let running = self.running.get_mut(step)?;
                if !running.throttle.lets(&format!("{message} {percent:?}"), now) {
                    return None;
                }
                let mut data = running.data.clone();
                data.insert("message".to_owned(), message.clone().into());
                if let Some(percent) = percent {
                    let part = format!("{}.{:02}", percent / 100, percent % 100);
                    data.insert("progress".to_owned(), part.into());
                }
                Some(("progress", data))
            }
            Event::Finished { step, message, elapsed } => {
                let mut data = self.running.remove(step)?.data;
                data.insert("message".to_owned(), message.clone().into());
                data.insert("elapsed".to_owned(), format!("{:.3}", elapsed.as_secs_f64()).into());
                Some(("info", data))
            }
            // The error itself follows.
            Event::Failed { step, .. } => {
                self.running.remove(step);
                None
            }
            Event::Warning(message) => Some(("warning", map(&[("message", message.clone())]))),
            Event::Info(message) => Some(("info", map(&[("message", message.clone())]))),
            Event::Trouble { id, message, hints, causes } => Some(("warning", failure(*id, message, hints, causes))),
            Event::Error { id, message, hints, causes } => Some(("error", failure(*id, message, hints, causes))),
        }
    }
}

/// Returns the data of an error, or of a warning about something that failed.
fn failure(id: Id, message: &str, hints: &[String], causes: &[String]) -> Map<String, Value> {
    map(&[
        ("id", id.as_str().to_owned()),
        ("name", id.family().name().to_owned()),
        ("exitcode", id.exit_code().to_string()),
        ("message", message.to_owned()),
        ("advice", hints.join("\n")),
        ("cause", causes.join(": ")),
    ])
}

fn map(pairs: &[(&str, String)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::progress::Progress;
    use crate::progress::page::Page;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[test]
    fn a_run_reads_as_cloud_events() {
        let page = Page::default();
        let progress = Progress::new(Arc::new(Json::new(Box::new(page.clone()))));
        progress.expect(2);
        let step = progress.step("machines", "Making machines");
        step.message("too early");
        step.finish("3 machines run");
        drop(progress.step("api", "Starting\nKubernetes"));
        progress.warn("little memory");
        progress.trouble(&Error::new(Id::AddonNotReady, "web waits").hint("wait with it"));
        progress.info("bye");
        progress.error(&Error::new(Id::ClusterFailed, "no answer").hint("look").hint("think"));
        let text = page.text();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let kind = |end: &str| format!("io.k8s.sigs.kcl.{end}");
        assert_eq!(kinds, ["step", "info", "step", "warning", "warning", "info", "error"].map(kind));
        let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
        assert_eq!(ids.len(), events.len());
        assert!(events.iter().all(|event| event["specversion"] == "1.0" && event["source"] == "/kcl"));
        assert_eq!(
            events[2]["data"],
            json!({"currentstep": "2", "totalsteps": "2", "name": "api", "message": "Starting\nKubernetes"})
        );
        assert_eq!(events[1]["data"]["currentstep"], "1");
        let trouble = &events[4]["data"];
        assert_eq!(trouble["id"], "addon.not-ready");
        assert_eq!((&trouble["name"], &trouble["exitcode"]), (&json!("TIMEOUT"), &json!("75")));
        assert_eq!((&trouble["message"], &trouble["advice"]), (&json!("web waits"), &json!("wait with it")));
        assert_eq!(
            events[6]["data"],
            json!({
                "id": "cluster.failed", "name": "CLUSTER", "exitcode": "76",
                "message": "no answer", "advice": "look\nthink", "cause": "",
            })
        );
    }

    #[test]
    fn the_documentation_has_all_events() {
        let begin = Instant::now();
        let mut state = State::new(Box::new(io::sink()), "r".into());
        let events = [
            Event::Started { step: 1, total: None, name: "a", title: "A".into() },
            Event::Progress { step: 1, message: "etcd".into(), position: Some((1, 4)) },
            Event::Finished { step: 1, message: "done".into(), elapsed: INTERVAL },
            Event::Warning("w".into()),
            Event::Trouble { id: Id::ClusterFailed, message: "t".into(), hints: Vec::new(), causes: Vec::new() },
            Event::Error { id: Id::ClusterFailed, message: "e".into(), hints: Vec::new(), causes: Vec::new() },
        ];
        let page = include_str!("../../docs/output.md");
        for (event, passed) in events.iter().zip(1..) {
            let (kind, data) = state.data(event, begin + INTERVAL * passed).unwrap();
            let mut keys: Vec<_> = data.keys().map(|key| format!("`{key}`")).collect();
            keys.sort();
            let row = format!("| `io.k8s.sigs.kcl.{kind}` | {} | ", keys.join(", "));
            assert!(page.contains(&row), "docs/output.md lacks: {row}");
        }
    }

    #[test]
    fn progress_is_a_part_of_one() {
        let begin = Instant::now();
        let mut state = State::new(Box::new(io::sink()), "r".into());
        state.data(&Event::Started { step: 1, total: None, name: "a", title: "A".into() }, begin);
        let event = Event::Progress { step: 1, message: "etcd".into(), position: Some((1, 4)) };
        let (kind, data) = state.data(&event, begin + INTERVAL).unwrap();
        assert_eq!((kind, &data["progress"], &data["message"]), ("progress", &json!("0.25"), &json!("etcd")));
        assert!(state.data(&event, begin + INTERVAL * 2).is_none());
    }
}
