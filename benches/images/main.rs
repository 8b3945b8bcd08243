//! Measures the time of an image from Docker into all nodes, against the manual way: `docker save` into `ctr images
//! import` in each node, measured in the same run. Run as root with a Docker engine: `cargo bench --bench images`.
//!
//! First the whole image, then the same with one changed file of a few bytes on top. `KCL_BENCH_LAYERS` (default 2) is the
//! number of large layers, `KCL_BENCH_LAYER_MB` (default 100) their size, `KCL_BENCH_NODES` (default 3) that of the cluster.
//! Takes the disk of the image about six times, and gives it back.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kcl::state::Paths;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The image that is measured.
const IMAGE: &str = "kcl-bench-images:1";

fn main() -> Result<()> {
    // `cargo test --benches` runs this too, with --test; there is nothing to test.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (layers, size) = (number("KCL_BENCH_LAYERS", 2), number("KCL_BENCH_LAYER_MB", 100));
    let bench = Bench::new(number("KCL_BENCH_NODES", 3))?;
    bench.context(layers, size)?;
    bench.build("first")?;
    let by_hand = bench.timed(Bench::by_hand)?;
    bench.kcl(&["image", "rm", IMAGE])?;
    let first = bench.timed(Bench::load)?;
    bench.build("by hand")?;
    let by_hand_again = bench.timed(Bench::by_hand)?;
    bench.build("by kcl")?;
    let again = bench.timed(Bench::load)?;
    println!("{layers} layers of {size} MB, {} nodes", bench.nodes.len());
    let line = |what: &str, by_hand: Duration, ours: Duration| {
        let (by_hand, ours) = (by_hand.as_secs_f64(), ours.as_secs_f64());
        println!("{what:<8} by hand {by_hand:>7.2} s   kcl {ours:>7.2} s   {:>6.1} times faster", by_hand / ours);
    };
    line("first", by_hand, first);
    line("reload", by_hand_again, again);
    Ok(())
}

/// A cluster in a home of its own, and an image in Docker. Both are removed when it is dropped.
struct Bench {
    home: tempfile::TempDir,
    nodes: Vec<String>,
}

impl Bench {
    fn new(nodes: u64) -> Result<Self> {
        let cache = Paths::from_env()?.cache;
        std::fs::create_dir_all(&cache)?;
        let home = tempfile::Builder::new().prefix("bench-").tempdir_in(&cache)?;
        let mut bench = Bench { home, nodes: Vec::new() };
        bench.kcl(&["start", "--nodes", &nodes.to_string()])?;
        let list: serde_json::Value = serde_json::from_slice(&bench.kcl(&["node", "list", "-o", "json"])?)?;
        let names = list.as_array().into_iter().flatten().filter_map(|node| node["Name"].as_str());
        bench.nodes = names.map(str::to_owned).collect();
        Ok(bench)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.env("KCL_HOME", self.home.path().join("home")).env("KUBECONFIG", self.home.path().join("kubeconfig"));
        command.args(["-p", "bench-images"]);
        command
    }

    fn kcl(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        output(self.command().args(arguments))
    }

    /// Layers that cannot be compressed, and a small one on top.
    fn context(&self, layers: u64, size: u64) -> Result<()> {
        let mut file = "FROM scratch\n".to_owned();
        let mut random = std::fs::File::open("/dev/urandom")?;
        std::fs::create_dir_all(self.place())?;
        for layer in 0..layers {
            let mut to = std::fs::File::create(self.place().join(layer.to_string()))?;
            std::io::copy(&mut std::io::Read::take(&mut random, size * 1_000_000), &mut to)?;
            file += &format!("COPY {layer} /{layer}\n");
        }
        file += "COPY small /small\n";
        std::fs::write(self.place().join("Dockerfile"), file)?;
        Ok(())
    }

    fn place(&self) -> std::path::PathBuf {
        self.home.path().join("context")
    }

    fn build(&self, small: &str) -> Result<()> {
        std::fs::write(self.place().join("small"), small)?;
        output(Command::new("docker").args(["build", "--quiet", "--tag", IMAGE]).arg::<&Path>(&self.place()))?;
        Ok(())
    }

    fn by_hand(&self) -> Result<()> {
        for node in &self.nodes {
            let mut save = Command::new("docker").args(["save", IMAGE]).stdout(Stdio::piped()).spawn()?;
            let archive = save.stdout.take().ok_or("no output")?;
            let ctr = ["--", "/opt/kcl/components/bin/ctr", "-n", "k8s.io", "images", "import", "-"];
            output(self.command().args(["ssh", "-n", node]).args(ctr).stdin(archive))?;
            save.wait()?;
        }
        Ok(())
    }

    fn load(&self) -> Result<()> {
        self.kcl(&["image", "load", IMAGE]).map(drop)
    }

    fn timed(&self, work: fn(&Bench) -> Result<()>) -> Result<Duration> {
        let begun = Instant::now();
        work(self)?;
        Ok(begun.elapsed())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(error) = self.kcl(&["delete"]) {
            let _ = writeln!(std::io::stderr(), "{error}");
        }
        let _ = Command::new("docker").args(["rmi", "--force", IMAGE]).output();
    }
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
