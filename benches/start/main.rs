//! How long a cluster takes, as ratios to the floor: etcd and kube-apiserver alone, from nothing to `/readyz`, measured
//! in the same run with the same binaries. Run as root: `cargo bench --bench start`.
//!
//! "Started" means: `kcl start` has returned (all nodes Ready, CoreDNS available), and a pod on each node has resolved a
//! Service, got its answer and told the host so by the host's name. The pods' manifest is given to `kcl start`.
//!
//! `KCL_BENCH_RUNS` (default 3) is how often each is measured; medians are printed.

mod cluster;
mod floor;
mod listener;
mod processes;
mod table;

use cluster::Cluster;
use table::Table;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this too, with --test; there is nothing to test.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let runs = std::env::var("KCL_BENCH_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let warm = Cluster::new("bench-warm", 1)?;
    eprintln!("artifacts: at hand, or made now");
    warm.fetch()?;
    let mut table = Table::default();
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        table.floor(floor::measure(&warm)?);
        for nodes in [1, 3] {
            let cluster = Cluster::new(&format!("bench-{nodes}"), nodes)?;
            table.add(nodes, "start", cluster.start()?);
            if nodes == 3 {
                table.idle(cluster.idle()?);
            }
            table.add(nodes, "stop", cluster.stop()?);
            table.add(nodes, "start after stop", cluster.start()?);
            table.add(nodes, "second start", cluster.start_again()?);
            table.add(nodes, "delete", cluster.delete()?);
        }
    }
    table.print();
    Ok(())
}
