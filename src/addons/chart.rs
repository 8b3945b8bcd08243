//! Helm, run for an addon's chart. The chart is a release of Helm's own, so that hooks, lookups, capabilities and random
//! values are as everywhere, and `kcl helm` goes on with it.

use std::fmt;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kube::api::DynamicObject;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::definition::Addon;
use crate::digest;
use crate::error::{Error, Id, Result};
use crate::kubeconfig::{self, Entry};
use crate::kubernetes::{self, Access, Credentials};

/// The template of the values, in the addon's folder.
pub(super) const VALUES: &str = "values.yaml";

/// The folder of a chart, and the name of the cluster in a kubeconfig, where Helm runs.
const NAME: &str = "chart";

/// The Helm of the catalog, which is obtained when it is needed first.
#[derive(Clone)]
pub struct Helm(Arc<Obtain>);

/// The function of [`Helm`].
type Obtain = dyn Fn() -> BoxFuture<'static, Result<PathBuf>> + Send + Sync;

impl fmt::Debug for Helm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Helm")
    }
}

impl Helm {
    /// Returns a Helm that is obtained by `obtain`, which returns the program's path.
    pub fn new(obtain: impl Fn() -> BoxFuture<'static, Result<PathBuf>> + Send + Sync + 'static) -> Self {
        Helm(Arc::new(obtain))
    }

    /// Obtains the program, and returns its path.
    pub async fn program(&self) -> Result<PathBuf> {
        (self.0)().await
    }
}

/// The state of a release, as Helm reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// There is no release.
    Missing,
    /// The last change was carried out.
    Deployed,
    /// The last change failed, and the next one may follow.
    Failed,
    /// The first installation was interrupted.
    Installing,
    /// A change was interrupted.
    Changing,
}

/// The release of an addon's chart.
pub(super) struct Release {
    name: String,
    namespace: String,
    helm: PathBuf,
    /// Helm's working directory, with the files of this run.
    folder: TempDir,
}

impl Release {
    /// Prepares Helm for the release of an addon, which has the addon's name.
    pub(super) async fn open(helm: &Helm, access: &Access, addon: &str, namespace: &str) -> Result<Self> {
        let helm = helm.program().await?;
        let folder = tempfile::tempdir().map_err(|error| unprepared(addon, &error))?;
        let write = || {
            let mut file = fs::File::options();
            let file = file.write(true).create_new(true).mode(0o600).open(folder.path().join("kubeconfig"))?;
            Ok(serde_json::to_writer(file, &kubeconfig(access))?)
        };
        write().map_err(|error: std::io::Error| unprepared(addon, &error))?;
        Ok(Release { name: addon.to_owned(), namespace: namespace.to_owned(), helm, folder })
    }

    /// Installs the chart, which is in the addon's folder or in `archive`, or upgrades the release to it. With `adopt`,
    /// the release takes over objects that are there already.
    pub(super) async fn install(
        &self,
        addon: &Addon,
        archive: Option<&Path>,
        values: &str,
        adopt: bool,
        patience: Duration,
    ) -> Result<()> {
        self.put(addon, values)?;
        let chart = archive.unwrap_or(Path::new(NAME));
        let mut helm = self.helm(&["upgrade", "--install", &self.name]);
        // The objects of `crds` are applied before, as Helm would not upgrade them.
        helm.arg(chart).args(["--values", VALUES, "--reset-values", "--skip-crds", "--force-conflicts"]);
        helm.arg(format!("--timeout={}s", patience.as_secs().max(1)));
        if adopt {
            helm.arg("--take-ownership");
        }
        self.run(helm).await.map(drop)
    }

    /// Returns the definitions in the folder `crds` of a chart, which its templates do not make.
    pub(super) async fn definitions(&self, addon: &Addon, archive: Option<&Path>) -> Result<Vec<DynamicObject>> {
        self.put(addon, "")?;
        let mut helm = self.helm(&["show", "crds"]);
        helm.arg(archive.unwrap_or(Path::new(NAME)));
        self.objects(helm).await
    }

    /// Returns the objects that the release has made, except hooks.
    pub(super) async fn manifest(&self) -> Result<Vec<DynamicObject>> {
        self.objects(self.helm(&["get", "manifest", &self.name])).await
    }

    /// Returns the state of the release.
    pub(super) async fn status(&self) -> Result<Status> {
        let output = self.output(self.helm(&["status", &self.name, "--output", "json"])).await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return if said.contains("not found") { Ok(Status::Missing) } else { Err(self.failed(&said)) };
        }
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Ok(match status["info"]["status"].as_str().unwrap_or_default() {
            "deployed" => Status::Deployed,
            "pending-install" | "uninstalling" => Status::Installing,
            "pending-upgrade" | "pending-rollback" => Status::Changing,
            "uninstalled" => Status::Missing,
            _ => Status::Failed,
        })
    }

    /// Cleans up after a kcl that was killed while Helm worked: Helm refuses to change such a release.
    pub(super) async fn recover(&self, status: Status) -> Result<()> {
        match status {
            Status::Installing => self.run(self.helm(&["uninstall", &self.name, "--no-hooks"])).await.map(drop),
            Status::Changing => self.run(self.helm(&["rollback", &self.name])).await.map(drop),
            Status::Missing | Status::Deployed | Status::Failed => Ok(()),
        }
    }

    /// Removes the release and waits until its objects are gone; a missing one is ignored.
    pub(super) async fn uninstall(&self) -> Result<()> {
        // Helm's other way of waiting may take an object that is just ending for one that stays.
        let mut helm = self.helm(&["uninstall", &self.name, "--ignore-not-found", "--wait=legacy"]);
        helm.args(["--cascade", "foreground"]);
        self.run(helm).await.map(drop)
    }

    /// Writes the addon's chart and its values to Helm's working directory.
    fn put(&self, addon: &Addon, values: &str) -> Result<()> {
        let write = || {
            for (file, content) in &addon.chart {
                let path = self.folder.path().join(NAME).join(file);
                fs::create_dir_all(path.parent().expect("it is in a folder"))?;
                fs::write(path, content)?;
            }
            fs::write(self.folder.path().join(VALUES), values)
        };
        write().map_err(|error| unprepared(&self.name, &error))
    }

    /// Returns a command of Helm, which sees nothing of the user's own Helm.
    fn helm(&self, arguments: &[&str]) -> Command {
        let mut helm = Command::new(&self.helm);
        helm.args(arguments).args(["--namespace", &self.namespace]);
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HELM_")) {
            helm.env_remove(variable);
        }
        for directory in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            helm.env(directory, self.folder.path().join(directory));
        }
        helm.env("KUBECONFIG", self.folder.path().join("kubeconfig")).current_dir(self.folder.path());
        helm.kill_on_drop(true);
        helm
    }

    async fn output(&self, mut helm: Command) -> Result<Output> {
        let failed = |error| {
            Error::new(Id::ProgramUnusable, format!("{} does not run: {error}", self.helm.display()))
                .hint("if it is damaged, recreate it with: kcl artifacts fetch --verify")
        };
        helm.output().await.map_err(failed)
    }

    async fn run(&self, helm: Command) -> Result<Vec<u8>> {
        let output = self.output(helm).await?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(self.failed(&String::from_utf8_lossy(&output.stderr))),
        }
    }

    async fn objects(&self, helm: Command) -> Result<Vec<DynamicObject>> {
        let text = self.run(helm).await?;
        let place = format!("the chart of the addon {}", self.name);
        let mut objects = kubernetes::documents(&place, text)?;
        for object in &mut objects {
            // The API server removes it from objects that are not namespaced.
            object.metadata.namespace.get_or_insert_with(|| self.namespace.clone());
        }
        Ok(objects)
    }

    fn failed(&self, said: &str) -> Error {
        let said = said.trim().trim_start_matches("Error: ");
        Error::new(Id::AddonFailed, format!("the chart of the addon {} cannot be installed: {said}", self.name))
            .hint(format!("look closer with: kcl helm -- status {} -n {}", self.name, self.namespace))
            .hint(format!("try again with: kcl addons enable {}", self.name))
    }
}

/// Returns the objects, hooks included, that the chart of an addon would make with a version of Kubernetes (`v1.37.2`).
/// No cluster is asked.
pub(super) async fn template(
    helm: &Helm,
    addon: &Addon,
    namespace: &str,
    archive: Option<&Path>,
    values: &str,
    version: &str,
) -> Result<Vec<DynamicObject>> {
    let folder = tempfile::tempdir().map_err(|error| unprepared(&addon.name, &error))?;
    let release =
        Release { name: addon.name.clone(), namespace: namespace.to_owned(), helm: helm.program().await?, folder };
    release.put(addon, values)?;
    let mut helm = release.helm(&["template", &release.name]);
    helm.arg(archive.unwrap_or(Path::new(NAME))).args(["--values", VALUES, "--skip-tests"]);
    helm.arg(format!("--kube-version={version}"));
    let output = release.output(helm).await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("Error: ");
        return Err(Error::new(
            Id::AddonInvalid,
            format!("the chart of the addon {} cannot be rendered: {said}", addon.name),
        ));
    }
    kubernetes::documents(&format!("the chart of the addon {}", addon.name), output.stdout)
}

/// Returns the digest of all that a release is made from.
pub(super) fn digest_of(addon: &Addon, namespace: &str, archive: Option<&Path>, values: &str) -> Result<String> {
    let mut parts = vec![namespace.as_bytes().to_vec(), values.as_bytes().to_vec()];
    for (file, content) in &addon.chart {
        parts.push(file.as_bytes().to_vec());
        parts.push(content.clone());
    }
    if let Some(path) = archive {
        parts.push(fs::read(path).map_err(|error| unprepared(&addon.name, &error))?);
    }
    let digests: Vec<String> = parts.iter().map(|part| digest::of_bytes(part)).collect();
    Ok(digest::of_bytes(digests.concat().as_bytes()))
}

fn unprepared(addon: &str, error: &std::io::Error) -> Error {
    Error::new(Id::Internal, format!("the chart of the addon {addon} cannot be prepared: {error}"))
}

/// Returns a kubeconfig with this cluster alone.
fn kubeconfig(access: &Access) -> Value {
    let Credentials { ca_pem, cert_pem, key_pem } = &access.credentials;
    kubeconfig::standalone(&Entry { profile: NAME, server: &access.server, ca_pem, cert_pem, key_pem }, NAME)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn addon(template: &str) -> Addon {
        let files = [
            ("addon.toml", "title = 't'\nversion = '1'\n[chart]\nnamespace = 'n'\n"),
            ("chart/Chart.yaml", "name: web"),
            ("chart/templates/a.yaml", template),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        Addon::parse("web", "test", files).expect("an addon")
    }

    #[test]
    fn files_of_a_chart_need_not_be_text() {
        let binary = vec![0x1f, 0x8b, 0xff];
        let files = [
            ("addon.toml", b"title = 't'\nversion = '1'\n[chart]\nnamespace = 'n'\n".to_vec()),
            ("chart/Chart.yaml", b"name: web".to_vec()),
            ("chart/charts/part-1.0.0.tgz", binary.clone()),
        ];
        let addon = Addon::parse("web", "test", files.map(|(name, content)| (name.to_owned(), content)).into());
        assert_eq!(addon.expect("an addon").chart["charts/part-1.0.0.tgz"], binary);
        let files = BTreeMap::from([("addon.toml".to_owned(), binary)]);
        let error = Addon::parse("web", "test", files).expect_err("an error");
        assert!(error.message.contains("addon.toml is not text"), "{error}");
    }

    #[test]
    fn a_release_is_made_again_only_if_something_of_it_differs() {
        let digest = |addon: &Addon, values| digest_of(addon, "n", None, values).unwrap();
        let one = digest(&addon("a: 1"), "x: 1");
        assert_eq!(one, digest(&addon("a: 1"), "x: 1"));
        assert_ne!(one, digest(&addon("a: 2"), "x: 1"));
        assert_ne!(one, digest(&addon("a: 1"), "x: 2"));
    }

    #[test]
    fn helm_gets_a_cluster_by_itself() {
        let credentials = Credentials { ca_pem: "ca".into(), cert_pem: "cert".into(), key_pem: "key".into() };
        let config = kubeconfig(&Access { server: "https://10.0.0.2:6443".into(), credentials });
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://10.0.0.2:6443");
        assert_eq!(config["users"][0]["user"]["client-key-data"], "a2V5");
    }
}
