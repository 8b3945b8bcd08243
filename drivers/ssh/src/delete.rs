//! Deletes a machine on its host.

use kcl_driver_api::Result;
use kcl_ssh_host::protocol::{Done, Name, Request};

use crate::context::Context;

/// Deletes a machine; succeeds if it or its host does not exist.
pub(crate) async fn delete(context: &Context, cluster: &str, name: &str) -> Result<()> {
    let Some(host) = context.host(cluster, name)? else { return Ok(()) };
    let name = Name { cluster: context.names.there(cluster)?, machine: name.to_owned() };
    host.ask_if_there::<Done>(&context.with, &Request::Delete(name)).await.map(drop)
}
