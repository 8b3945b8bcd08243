//! Measures clusters, as ratios to the floor: etcd and kube-apiserver alone, from nothing to `/readyz`, measured
//! in the same run with the same binaries. Run as root: `cargo bench --bench start`.
//!
//! "Started" means: `kcl start` has returned (all nodes Ready, CoreDNS available), and a pod on each node has resolved a
//! Service, got its answer and told the host so by the host's name. The pods' manifest is given to `kcl start`.
//!
//! `KCL_BENCH_RUNS` (default 3) is how often each is measured; medians are printed. `KCL_BENCH_DRIVERS` (default native)
//! names the drivers, as in `native,docker`; additional flags of each are in `KCL_BENCH_<DRIVER>_FLAGS`, and the hosts of ssh
//! in `KCL_BENCH_SSH_HOSTS`, as in `root@10.0.0.2 root@10.0.0.3 root@10.0.0.4`. Without them it makes hosts as the tests
//! do.

mod addons;
mod cluster;
mod floor;
mod fresh;
mod ground;
mod listener;
mod processes;
mod subject;
mod table;

use cluster::Cluster;
use ground::Ground;
use subject::Subject;
use table::Table;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this too, with --test; there is nothing to test.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let runs = std::env::var("KCL_BENCH_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut subjects = Subject::from_env();
    let bare = subjects.iter_mut().find(|subject| subject.driver == "ssh" && subject.hosts.is_empty());
    // Dropped after all clusters there.
    let _ground = bare.map(Ground::new).transpose()?;
    let warm = Cluster::new("bench-warm", &subjects[0], 1)?;
    eprintln!("artifacts: from the cache, or made now");
    warm.fetch()?;
    let mut table = Table::default();
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        table.floor(floor::measure(&warm)?);
        let with_addons = Cluster::new("bench-addons", &subjects[0], 1)?;
        addons::measure(&with_addons, |what, timing| table.add(&subjects[0].driver, 1, what, timing))?;
        for subject in &subjects {
            // What a driver makes for the first of its clusters stays while one is there, stopped though it is: the
            // image of nodes in an engine, the files of nodes on hosts.
            let keeper = Cluster::new("bench-keeper", subject, 3)?;
            if subject.driver != "native" {
                keeper.start()?;
                keeper.stop()?;
            }
            for nodes in [1, 3] {
                let mut add = |what, timing| table.add(&subject.driver, nodes, what, timing);
                let cluster = Cluster::new(&format!("bench-{}-{nodes}", subject.driver), subject, nodes)?;
                add("start", cluster.start()?);
                let idle = (nodes == 3 && subject.driver == "native").then(|| cluster.idle()).transpose()?;
                add("stop", cluster.stop()?);
                add("start after stop", cluster.start()?);
                add("second start", cluster.start_again()?);
                if subject.hosts.is_empty() {
                    add("one more worker", cluster.grow()?);
                    add("one worker less", cluster.shrink()?);
                }
                add("delete", cluster.delete()?);
                table.idle(idle);
            }
            // Those are for machines that are made.
            if !subject.hosts.is_empty() {
                continue;
            }
            let once = Cluster::new(&format!("bench-{}-fresh", subject.driver), subject, 1)?;
            table.add(&subject.driver, 1, "fresh, answers, deleted", fresh::measure(&once)?);
            once.spare()?;
            table.add(&subject.driver, 1, "the same with a spare", fresh::measure(&once)?);
            once.refilled()?;
        }
    }
    table.print();
    Ok(())
}
