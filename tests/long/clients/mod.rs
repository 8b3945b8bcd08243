//! Clients that others wrote, with the kubeconfig that kcl writes: each lists pods, watches, runs a command in a pod and
//! forwards a port. Needs Go, Python with pip, Node.js with npm, and a JDK with Maven.

mod kube_rs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Home, Output};

/// A pod that answers requests.
const WEB: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: IMAGE
    command: [sh, -c, "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 8080 -h /www"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
"#;

/// Returns the source of a client in this repository.
fn source(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/long/clients").join(language)
}

/// Makes a directory for a client and its libraries, which is kept for the next run.
fn place(language: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(language);
    fs::create_dir_all(&place).expect("a directory");
    for entry in fs::read_dir(source(language)).expect("the client's directory").flatten() {
        fs::copy(entry.path(), place.join(entry.file_name())).expect("a copy");
    }
    place
}

/// Runs a program of a package manager, unless it has run for the same list of packages.
fn install(place: &Path, list: &str, program: &str, arguments: &[&str]) {
    let (list, done) = (place.join(list), place.join(".installed"));
    let wanted = fs::read(&list).expect("a list of packages");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return;
    }
    Output::of(Command::new(program).args(arguments).current_dir(place)).ok();
    fs::write(done, wanted).expect("a file");
}

/// Returns the clients by their names, as commands.
fn clients() -> Vec<(&'static str, Command)> {
    let command = |program: &str, arguments: &[&str], place: &Path| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(place);
        command
    };
    let go = place("go");
    // As kcl builds Kubernetes, so that the packages are in Go's cache.
    let build = ["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-o", "client", "."];
    Output::of(Command::new("go").args(build).current_dir(&go).env("CGO_ENABLED", "0")).ok();
    let python = place("python");
    let flags = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action", "ignore"];
    let packages = ["--upgrade", "--target", "packages", "--requirement", "requirements.txt"];
    install(&python, "requirements.txt", "python3", &[&flags[..], &packages[..]].concat());
    let with_packages = |script: &str| {
        let mut command = command("python3", &[script], &python);
        command.env("PYTHONPATH", python.join("packages")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let node = place("node");
    install(&node, "package-lock.json", "npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    let java = place("java");
    let copy = ["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=libraries"];
    install(&java, "pom.xml", "mvn", &copy);
    vec![
        ("client-go", command(go.join("client").to_str().expect("UTF-8"), &[], &go)),
        ("Python kubernetes", with_packages("official.py")),
        ("kr8s", with_packages("with_kr8s.py")),
        ("@kubernetes/client-node", command("node", &["official.mjs"], &node)),
        ("fabric8", command("java", &["-cp", "libraries/*", "Fabric8.java"], &java)),
        ("client-java", command("java", &["-cp", "libraries/*", "Official.java"], &java)),
    ]
}

#[test]
fn clients_of_others_work_with_the_kubeconfig() {
    let home = Home::new("clients");
    let cluster = home.start("clients", &[]);
    cluster.apply(WEB);
    home.step("get the clients");
    let clients = clients();
    cluster.wait_for("condition=Ready", &["pod", "web"]);
    for (name, mut client) in clients {
        home.step(name);
        // A proxy of this machine's user knows nothing of the cluster.
        for variable in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            client.env_remove(variable);
        }
        let said = Output::of(client.env("KUBECONFIG", home.kubeconfig()));
        let lines: Vec<&str> = said.ok().lines().collect();
        let added = |line: &&str| line.to_lowercase() == "watch added";
        assert!(lines.contains(&"list web") && lines.iter().any(added), "{said}");
        assert!(lines.contains(&"exec hi there") && lines.contains(&"port-forward hello"), "{said}");
    }
    home.step("kube");
    kube_rs::all(&cluster);
}
