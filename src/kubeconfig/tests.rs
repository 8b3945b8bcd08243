//! Files of users, before and after.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use serde_json::Value;

use super::lock::Lock;
use super::*;

const ENTRY: Entry<'_> =
    Entry { profile: "kcl", server: "https://10.1.0.2:6443", ca_pem: "ca", cert_pem: "cert", key_pem: "key" };

const OTHERS: &str = r#"# of the user
apiVersion: v1
kind: Config
preferences: {colors: true}
unknown: {"yes": "on", list: ["0777", 1, 1.5, null, "a: b", "multi\nline \n\n"]}
clusters:
- cluster: {server: "https://work:6443", insecure-skip-tls-verify: true}
  name: work
users:
- name: work
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: tool, args: ["--x", "1"], env: null}
contexts:
- context: {cluster: work, user: work, namespace: team}
  name: work
current-context: work
"#;

fn value(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn names(value: &Value, list: &str) -> Vec<String> {
    value[list].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Fixture { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Everything that lies in the directory, to see that nothing is left behind.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_new_file_is_private_and_complete() {
    let fixture = Fixture::new();
    let path = fixture.path("kube/config");
    let config = Kubeconfig::new(vec![path.clone()]);
    assert_eq!(config.check("kcl", ENTRY.server).unwrap(), Check::Missing);
    assert_eq!(config.merge(&ENTRY, false).unwrap(), path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let value = value(&path);
    assert_eq!(value["kind"], "Config");
    assert_eq!(value["current-context"], "kcl");
    assert_eq!(value["clusters"][0]["cluster"]["server"], ENTRY.server);
    assert_eq!(value["users"][0]["user"]["client-key-data"], "a2V5");
    assert_eq!(value["contexts"][0]["context"]["user"], "kcl");
    assert_eq!(config.check("kcl", ENTRY.server).unwrap(), Check::Configured);
    assert_eq!(config.check("kcl", "https://10.1.0.9:6443").unwrap(), Check::Misconfigured);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn what_others_wrote_survives_coming_and_going() {
    let fixture = Fixture::new();
    let path = fixture.file("config", OTHERS);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = value(&path);
    let config = Kubeconfig::new(vec![path.clone()]);
    config.merge(&ENTRY, true).unwrap();
    assert_eq!(value(&path)["current-context"], "work");
    config.merge(&ENTRY, false).unwrap();
    let merged = value(&path);
    assert_eq!(merged["current-context"], "kcl");
    assert_eq!(names(&merged, "contexts"), ["work", "kcl"]);
    for key in ["preferences", "unknown"] {
        assert_eq!(merged[key], before[key]);
    }
    assert_eq!(merged["users"][0], before["users"][0]);
    assert_eq!(config.remove("kcl").unwrap(), std::slice::from_ref(&path));
    let mut expected = before;
    expected["current-context"] = "".into();
    assert_eq!(value(&path), expected);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fixture.left(), ["config"]);
}

#[test]
fn only_our_own_current_context_is_unset() {
    let fixture = Fixture::new();
    let path = fixture.file("config", OTHERS);
    let config = Kubeconfig::new(vec![path.clone()]);
    config.merge(&ENTRY, true).unwrap();
    config.remove("kcl").unwrap();
    assert_eq!(value(&path)["current-context"], "work");
    assert!(config.remove("kcl").unwrap().is_empty());
    assert!(Kubeconfig::new(vec![fixture.path("none")]).remove("kcl").unwrap().is_empty());
    assert_eq!(fixture.left(), ["config"]);
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let fixture = Fixture::new();
    let path = fixture.file("config", OTHERS);
    let config = Kubeconfig::new(vec![path.clone()]);
    config.merge(&ENTRY, false).unwrap();
    // Other bytes of the same meaning stay.
    let text = format!("# a comment\n{}", fs::read_to_string(&path).unwrap());
    fs::write(&path, &text).unwrap();
    config.merge(&ENTRY, false).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn new_credentials_replace_old_ones_and_the_namespace_stays() {
    let fixture = Fixture::new();
    let path = fixture.path("config");
    let config = Kubeconfig::new(vec![path.clone()]);
    config.merge(&ENTRY, false).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replace("    user: kcl\n", "    user: kcl\n    namespace: dev\n");
    assert_ne!(changed, text);
    fs::write(&path, changed).unwrap();
    config.merge(&Entry { server: "https://10.2.0.2:6443", cert_pem: "new", ..ENTRY }, false).unwrap();
    let value = value(&path);
    assert_eq!(value["contexts"][0]["context"]["namespace"], "dev");
    assert_eq!(value["clusters"][0]["cluster"]["server"], "https://10.2.0.2:6443");
    assert_eq!(value["users"][0]["user"]["client-certificate-data"], "bmV3");
    assert_eq!(names(&value, "clusters"), ["kcl"]);
}

#[test]
fn an_entry_of_that_name_that_is_not_ours_stays() {
    let fixture = Fixture::new();
    let text = OTHERS.replace("work", "kcl");
    let path = fixture.file("config", &text);
    let config = Kubeconfig::new(vec![path.clone()]);
    let error = config.merge(&ENTRY, false).unwrap_err();
    assert_eq!(error.id, Id::KubeconfigConflict);
    assert!(error.message.contains("an entry \"kcl\" under clusters that is not kcl's"), "{error}");
    assert!(config.remove("kcl").unwrap().is_empty());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(fixture.left(), ["config"]);
}

#[test]
fn of_several_files_the_right_one_is_changed() {
    let fixture = Fixture::new();
    let (none, first, second) = (fixture.path("none"), fixture.path("first"), fixture.path("second"));
    // None exists: the last, as kubectl does.
    let config = Kubeconfig::new(vec![none.clone(), second.clone()]);
    assert_eq!(config.merge(&ENTRY, false).unwrap(), second);
    // It stays where it is; the current context is set where kubectl sets it.
    fs::write(&first, OTHERS).unwrap();
    let config = Kubeconfig::new(vec![none.clone(), first.clone(), second.clone()]);
    assert_eq!(config.merge(&ENTRY, false).unwrap(), second);
    assert_eq!(value(&first)["current-context"], "kcl");
    assert_eq!(names(&value(&first), "clusters"), ["work"]);
    assert_eq!(config.check("kcl", ENTRY.server).unwrap(), Check::Configured);
    // What is new goes into the first that exists.
    assert_eq!(config.merge(&Entry { profile: "other", ..ENTRY }, true).unwrap(), first);
    // All files are cleared, and no file is made.
    assert_eq!(config.remove("kcl").unwrap(), [first.clone(), second.clone()]);
    assert_eq!(value(&first)["current-context"], "");
    assert_eq!(value(&second)["current-context"], "");
    assert_eq!(fixture.left(), ["first", "second"]);
}

#[test]
fn links_stay_links() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("real")).unwrap();
    symlink("real/config", fixture.path("config")).unwrap();
    let config = Kubeconfig::new(vec![fixture.path("config")]);
    // First to nothing, then to a file.
    for server in ["https://a", "https://b"] {
        config.merge(&Entry { server, ..ENTRY }, false).unwrap();
        assert!(fs::symlink_metadata(fixture.path("config")).unwrap().is_symlink());
        assert_eq!(value(&fixture.path("real/config"))["clusters"][0]["cluster"]["server"], server);
    }
    assert_eq!(fixture.left(), ["config", "real"]);
    symlink("loop", fixture.path("loop")).unwrap();
    assert!(Kubeconfig::new(vec![fixture.path("loop")]).merge(&ENTRY, false).is_err());
}

#[test]
fn a_bad_file_is_named_and_left_alone() {
    let fixture = Fixture::new();
    for (text, problem) in [
        ("clusters: [", "unclosed bracket"),
        ("- a", "it is not a mapping"),
        ("just words", "it is not a mapping"),
        ("kind: Deployment", "its kind is not Config"),
        ("clusters: {a: b}", "clusters is not a list"),
        ("users: [{nam: a}]", "entry 1 of users has no name or no user"),
        ("contexts: [{name: a, context: 3}]", "entry 1 of contexts has no name or no context"),
        ("current-context: [a]", "current-context is not a text"),
        ("kind: Config\nkind: Config", "duplicate mapping key"),
        ("kind: Config\n---\nkind: Config", "multiple YAML documents"),
    ] {
        let path = fixture.file("config", text);
        let config = Kubeconfig::new(vec![path.clone()]);
        for error in [
            config.merge(&ENTRY, false).unwrap_err(),
            config.remove("kcl").unwrap_err(),
            config.check("kcl", "x").unwrap_err(),
        ] {
            assert_eq!(error.id, Id::KubeconfigUnusable);
            assert!(error.message.contains(problem) && error.message.contains(&*path.to_string_lossy()), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fixture.left(), ["config"]);
    }
    let config = Kubeconfig::new(vec![fixture.dir.path().to_owned()]);
    assert!(config.merge(&ENTRY, false).unwrap_err().message.contains("it cannot be read"));
}

#[test]
fn messages_hold_no_keys() {
    let fixture = Fixture::new();
    let path = fixture.file("config", "users: [{name: a, user: {token: SECRET}}, [");
    let error = Kubeconfig::new(vec![path]).check("kcl", "x").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
}

#[test]
fn empty_files_and_empty_lists_are_no_trouble() {
    let fixture = Fixture::new();
    for text in ["", "# nothing\n", "clusters: null\nusers: []\ncontexts:\n"] {
        let path = fixture.file("config", text);
        let config = Kubeconfig::new(vec![path]);
        assert_eq!(config.check("kcl", "x").unwrap(), Check::Missing);
        config.merge(&ENTRY, false).unwrap();
        assert_eq!(config.check("kcl", ENTRY.server).unwrap(), Check::Configured);
    }
}

#[test]
fn the_lock_is_client_gos() {
    let fixture = Fixture::new();
    let path = fixture.path("config");
    let held = Lock::take(&path).unwrap();
    assert_eq!(fixture.left(), ["config.lock"]);
    let error = Lock::take_within(&path, Duration::ZERO).unwrap_err();
    assert!(error.hints[1].contains(&format!("rm {}.lock", path.display())), "{error:?}");
    let waiting = {
        let path = path.clone();
        std::thread::spawn(move || Lock::take(&path).map(drop))
    };
    drop(held);
    waiting.join().unwrap().unwrap();
    assert!(fixture.left().is_empty());
}

#[test]
fn a_lock_that_a_killed_kcl_left_is_taken_over() {
    let fixture = Fixture::new();
    let lock = fixture.path("config.lock");
    let left = |mode| {
        std::fs::write(&lock, "").unwrap();
        std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    left(0o600);
    drop(Lock::take_within(&fixture.path("config"), Duration::ZERO).unwrap());
    assert!(fixture.left().is_empty());
    // Nothing tells whether the holder of another program's is there.
    for mode in [0o000, 0o644] {
        left(mode);
        Lock::take_within(&fixture.path("config"), Duration::ZERO).unwrap_err();
        assert_eq!(fixture.left(), ["config.lock"]);
        fs::remove_file(&lock).unwrap();
    }
}

#[test]
fn one_has_the_lock_at_a_time() {
    let fixture = Fixture::new();
    let path = fixture.path("config");
    let holders = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let lock = Lock::take_within(&path, Duration::from_secs(60)).unwrap();
                    assert_eq!(holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    std::thread::yield_now();
                    holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    });
    assert!(fixture.left().is_empty());
}
