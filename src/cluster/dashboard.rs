//! `dashboard`: kcl's console of a cluster, served by a kcl in the background, one for each cluster and user.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_console::{Config, Console, Identity, Reply, Request};
use kcl_driver_api::Power;

use super::addons::{AddonOptions, AddonRow, ENABLED, addons, disable, enable};
use super::background::dashboard::{Place, READY};
use super::{background, drivers};
use crate::app::App;
use crate::artifacts::Way;
use crate::error::{Error, Id, Result};
use crate::kubernetes::Access;

/// The time after which a console without a request or an open page ends.
const IDLE: Duration = Duration::from_secs(8 * 60 * 60);

/// The time that an addon has to become ready, or to be removed.
const SWITCH: Duration = Duration::from_secs(6 * 60);

/// The options of `dashboard`.
pub struct DashboardOptions {
    /// The identity that the console acts with.
    pub identity: Identity,
    /// The port on loopback; none: any free port.
    pub port: Option<u16>,
}

/// Returns a link to the console of a running cluster, which signs in once. Starts the console if none runs.
pub async fn dashboard(app: &App, cluster: &str, options: DashboardOptions) -> Result<String> {
    let place = Place::of(app, cluster);
    let access = running(app, cluster).await?;
    let lock = place.lock().await?;
    let request = Request::Link {
        identity: options.identity,
        server: access.server,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        port: options.port,
    };
    match place.ask(&request).await? {
        Some(Reply::Link(url)) => return Ok(url),
        Some(_) => place.end().await?,
        None => {}
    }
    // The holder of the lock may have deleted the cluster, and the lock with it.
    app.existing(cluster).inspect_err(|_| background::dashboard::forget(app, cluster))?;
    place.start(app, cluster, lock, options.port).await?;
    match place.ask(&request).await? {
        Some(Reply::Link(url)) => Ok(url),
        other => Err(Error::new(Id::Internal, format!("the console gives no link: {other:?}"))),
    }
}

/// Writes a page that only the user can read and that leads to a link. Returns nothing if there is no directory for it.
pub fn dashboard_page(app: &App, cluster: &str, url: &str) -> Result<Option<PathBuf>> {
    // Files of root are out of reach for the browser of the user behind sudo.
    let page = match kcl_files::sudo_user() {
        None => Place::of(app, cluster).page(),
        Some((user, _)) => PathBuf::from(format!("/run/user/{user}/kcl-console-{cluster}.html")),
    };
    if !page.parent().is_some_and(|directory| directory.is_dir()) {
        return Ok(None);
    }
    // The link consists of letters, digits and the marks of URLs.
    let text = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\">\n<title>kcl</title>\n<a href=\"{url}\">The console</a>\n"
    );
    kcl_files::write(&page, text.as_bytes(), 0o600).map_err(|error| {
        Error::new(Id::FileUnwritable, format!("{}: cannot be written: {error}", page.display())).source(error)
    })?;
    Ok(Some(page))
}

/// Serves the console of a cluster until it is no longer needed. Standard input is the lock under which this process
/// was started.
pub async fn serve_dashboard(app: &App, cluster: &str, port: Option<u16>) -> Result<()> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::new(Id::BackgroundFailed, format!("the console of \"{cluster}\" {what}: {error}"))
    };
    background::detach();
    let place = Place::of(app, cluster);
    let state = app.existing(cluster)?;
    let Access { server, credentials } = app.access(&state)?;
    let shown = kcl_console::Cluster {
        name: cluster.to_owned(),
        server,
        ca_pem: credentials.ca_pem,
        cert_pem: credentials.cert_pem,
        key_pem: credentials.key_pem,
        kcl_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let socket = place.socket();
    if let Err(error) = fs::remove_file(&socket)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed("cannot listen", &error));
    }
    let switches = Switches { app: app.clone(), cluster: cluster.to_owned() };
    let addons: Option<Arc<dyn kcl_console::Addons>> = Some(Arc::new(switches));
    let config = Config { cluster: shown, port: port.unwrap_or(0), socket: &socket, addons, idle: IDLE };
    let console = Console::bind(config).await.map_err(|error| match port {
        Some(port) => {
            failed(&format!("cannot listen on port {port}"), &error).hint("name another one, or none, with --port")
        }
        None => failed("cannot listen", &error),
    })?;
    // If the kcl that started this process was killed, nobody knows of the console, so it ends.
    writeln!(io::stdout(), "{READY}").map_err(|error| failed("is not wanted", &error))?;
    let null =
        File::options().read(true).write(true).open("/dev/null").map_err(|error| failed("cannot start", &error))?;
    nix::unistd::dup2_stdout(&null)
        .and_then(|()| nix::unistd::dup2_stdin(&null))
        .map_err(|error| failed("cannot start", &error))?;
    let files = app.store.paths().cluster(cluster);
    console.serve(move || files.exists()).await;
    place.clear();
    Ok(())
}

/// The cluster's addons, as the console lists and switches them.
struct Switches {
    app: App,
    cluster: String,
}

impl Switches {
    /// Changes an addon on a thread of its own, as the work of a verb must stay on one thread.
    async fn apart<W>(&self, name: &str, work: W) -> std::result::Result<(), String>
    where
        W: AsyncFnOnce(&App, &str, &[String], &AddonOptions) -> Result<bool> + Send + 'static,
    {
        let (app, cluster, names) = (self.app.clone(), self.cluster.clone(), [name.to_owned()]);
        let options = AddonOptions { artifacts: Default::default(), way: Way::Auto, wait_timeout: SWITCH };
        let runtime = tokio::runtime::Handle::current();
        let done = tokio::task::spawn_blocking(move || runtime.block_on(work(&app, &cluster, &names, &options)));
        match done.await {
            Ok(done) => done.map(drop).map_err(told),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[async_trait]
impl kcl_console::Addons for Switches {
    async fn list(&self) -> std::result::Result<Vec<kcl_console::Addon>, String> {
        let rows = addons(&self.app, &self.cluster).map_err(told)?;
        let addon = |row: AddonRow| kcl_console::Addon {
            name: row.name,
            title: row.title,
            version: row.version,
            enabled: row.status == ENABLED,
            needs: row.needs,
        };
        Ok(rows.into_iter().map(addon).collect())
    }

    async fn enable(&self, name: &str) -> std::result::Result<(), String> {
        self.apart(name, async |app, cluster, names, options| enable(app, cluster, names, options).await).await
    }

    async fn disable(&self, name: &str) -> std::result::Result<(), String> {
        self.apart(name, async |app, cluster, names, options| disable(app, cluster, names, false, options).await).await
    }
}

/// Returns the text of an error and its hints.
fn told(error: Error) -> String {
    let hints = error.hints.iter().map(|hint| format!("\n{hint}"));
    std::iter::once(error.message.clone()).chain(hints).collect()
}

/// Returns the access to the API of a running cluster.
async fn running(app: &App, cluster: &str) -> Result<Access> {
    let state = app.existing(cluster)?;
    let machines = drivers::driver_of(app, &state)?.list(Some(cluster)).await?;
    if !machines.iter().any(|machine| machine.power == Power::Running) {
        return Err(Error::new(Id::ClusterStopped, format!("the cluster \"{cluster}\" does not run"))
            .hint(format!("start it with: kcl start -p {cluster}")));
    }
    app.access(&state)
}
