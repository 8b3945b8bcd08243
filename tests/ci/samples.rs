//! The samples for other languages, as their users would run them.

use std::path::Path;
use std::process::Command;

use crate::run::gone;
use crate::support::{Home, Output};

/// A command in a sample's directory that finds kcl on its PATH.
fn sample(home: &Home, directory: &str, program: &str, arguments: &[&str]) -> Command {
    let kcl = home.command([""; 0]);
    let own = Path::new(kcl.get_program()).parent().expect("its directory").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path))).expect("a PATH");
    let mut command = Command::new(program);
    command.args(arguments).envs(kcl.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", path);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ci").join(directory));
    command
}

#[test]
fn samples_for_other_languages() {
    let home = Home::new("samples");
    home.step("pytest");
    let flags = ["-m", "pytest", "-q", "-p", "no:cacheprovider"];
    let mut pytest = sample(&home, "pytest", "python3", &flags);
    let said = Output::of(pytest.env("PYTHONDONTWRITEBYTECODE", "1"));
    assert!(said.ok().contains("2 passed"), "{said}");
    gone(&home);
    home.step("go test");
    let said = Output::of(sample(&home, "go", "go", &["test", "-count=1", "-v", "./..."]).env("GOFLAGS", "-mod=mod"));
    assert!(said.ok().contains("--- PASS: TestAnswers"), "{said}");
    gone(&home);
    assert!(!home.kubeconfig().exists(), "the user's kubeconfig was touched");
}

#[test]
fn scripts_of_ci_systems_are_scripts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| -> serde_json::Value {
        let text = std::fs::read_to_string(root.join(file)).expect("the sample");
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let action = read("action.yml");
    let steps = action["runs"]["steps"].as_array().expect("steps");
    let gitlab = read("tests/ci/gitlab.yml");
    let job = gitlab["integration-tests"]["script"].as_array().expect("a script");
    let scripts: Vec<&str> = steps.iter().map(|step| &step["run"]).chain(job).filter_map(|run| run.as_str()).collect();
    assert_eq!(scripts.len(), 3);
    for script in scripts {
        Output::of(Command::new("bash").args(["-n", "-c", script])).ok();
    }
}
