//! The result: ratios to the floor of the same run, each phase's share, and what is aimed at.

use std::time::Duration;

use crate::cluster::Timing;
use crate::processes::Idle;

/// The goals: driver, nodes, measurement, floors.
const AIMS: [(&str, usize, &str, f64); 13] = [
    ("native", 1, "start", 2.5),
    ("native", 3, "start", 3.5),
    ("native", 1, "fresh, answers, deleted", 4.0),
    ("native", 1, "the same with a spare", 0.5),
    ("native", 1, "enable storage", 1.0),
    ("native", 1, "enable metrics-server", 1.0),
    ("native", 1, "enable ingress", 2.0),
    ("native", 3, "one more worker", 0.6),
    ("native", 3, "stop", 1.0),
    ("native", 3, "delete", 1.0),
    ("docker", 1, "start", 3.0),
    ("docker", 3, "start", 4.5),
    ("ssh", 3, "start", 4.0),
];

/// And of an idle cluster of three nodes: MiB and busy cores.
const IDLE_AIM: (f64, f64) = (800.0, 0.1);

/// The table of measurements.
#[derive(Default)]
pub(crate) struct Table {
    floors: Vec<Duration>,
    rows: Vec<Row>,
    idles: Vec<Idle>,
}

struct Row {
    driver: String,
    nodes: usize,
    what: &'static str,
    timings: Vec<Timing>,
}

impl Table {
    /// Adds a floor.
    pub(crate) fn floor(&mut self, time: Duration) {
        self.floors.push(time);
    }

    /// Adds what something took.
    pub(crate) fn add(&mut self, driver: &str, nodes: usize, what: &'static str, timing: Timing) {
        let same = |row: &&mut Row| row.driver == driver && row.nodes == nodes && row.what == what;
        match self.rows.iter_mut().find(same) {
            Some(row) => row.timings.push(timing),
            None => self.rows.push(Row { driver: driver.to_owned(), nodes, what, timings: vec![timing] }),
        }
    }

    /// Adds what an idle cluster took, where it was looked at.
    pub(crate) fn idle(&mut self, idle: Option<Idle>) {
        self.idles.extend(idle);
    }

    /// Prints all measurements.
    pub(crate) fn print(&self) {
        let floor = median(self.floors.iter().map(Duration::as_secs_f64));
        println!("\nfloor (etcd and kube-apiserver alone, to /readyz): 1.00 = {floor:.2} s");
        println!("{:<42} {:>8} {:>8} {:>8}", "", "floors", "seconds", "aim");
        for row in &self.rows {
            let seconds = median(row.timings.iter().map(|timing| timing.total.as_secs_f64()));
            let aim = AIMS
                .iter()
                .find(|(driver, nodes, what, _)| (*driver, *nodes, *what) == (&row.driver, row.nodes, row.what));
            let aim = aim.map(|(_, _, _, floors)| format!("<= {floors}")).unwrap_or_default();
            let label =
                format!("{}, {} node{}: {}", row.driver, row.nodes, if row.nodes == 1 { "" } else { "s" }, row.what);
            println!("{label:<42} {:>8.2} {seconds:>8.2} {aim:>8}", seconds / floor);
            for (name, share) in row.parts() {
                println!("    {name:<38} {:>8.2} {share:>8.2}", share / floor);
            }
        }
        if self.idles.is_empty() {
            return;
        }
        let (memory, cores) = IDLE_AIM;
        println!("native, 3 nodes, idle:");
        let pss = median(self.idles.iter().map(|idle| idle.memory_mib));
        let busy = median(self.idles.iter().map(|idle| idle.cores));
        println!("    memory, PSS of all processes   {pss:>8.0} MiB      <= {memory}");
        println!("    busy cores                     {busy:>8.3}          <= {cores}");
        for (program, mib) in self.idles.last().iter().flat_map(|idle| idle.by_program.iter().take(12)) {
            println!("        {program:<26} {mib:>8.1} MiB");
        }
    }
}

impl Row {
    /// The medians of the parts, in the order of the first measurement.
    fn parts(&self) -> Vec<(String, f64)> {
        let names = self.timings.first().map(|timing| timing.parts.iter().map(|part| part.0.clone()));
        let of = |name: &str| {
            let shares = self.timings.iter().flat_map(|timing| &timing.parts).filter(|part| part.0 == name);
            median(shares.map(|part| part.1.as_secs_f64()))
        };
        names.into_iter().flatten().map(|name| (name.clone(), of(&name))).collect()
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
