//! The files below `vagrant/` can be read by those who run them: Ruby and a shell.

use std::process::Command;

fn check(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/vagrant"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; `make test-deps` installs it"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_vagrantfile_is_ruby() {
    check("ruby", &["-wc", "Vagrantfile"]);
}

#[test]
fn the_quick_start_is_a_script() {
    check("sh", &["-n", "quickstart.sh"]);
}
