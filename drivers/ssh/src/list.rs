//! Lists machines on their hosts.

use futures::future::try_join_all;
use kcl_driver_api::{Error, MachineInfo, Result};
use kcl_ssh_host::protocol::{self, Request};

use crate::context::Context;
use crate::{machine, record};

/// Lists the machines of a cluster, or of all clusters.
pub(crate) async fn list(context: &Context, cluster: Option<&str>) -> Result<Vec<MachineInfo>> {
    let clusters = match cluster {
        Some(cluster) => vec![cluster.to_owned()],
        None => record::clusters(&context.home)?,
    };
    Ok(try_join_all(clusters.iter().map(|cluster| machines(context, cluster))).await?.concat())
}

/// Lists the machines of a cluster on its hosts.
async fn machines(context: &Context, cluster: &str) -> Result<Vec<MachineInfo>> {
    let hosts = context.hosts_of(cluster)?;
    let ask = hosts.iter().map(async |(machine, target)| {
        let request = Request::List { cluster: Some(context.names.there(cluster)?) };
        let there: Option<Vec<protocol::Machine>> =
            context.pool.get(target).ask_if_there(&context.with, &request).await?;
        let own = there.into_iter().flatten().filter(|one| one.name == *machine).map(machine::info);
        Ok::<_, Error>(own.collect::<Vec<_>>())
    });
    Ok(try_join_all(ask).await?.into_iter().flatten().collect())
}
