//! Makes a machine on its host.

use kcl_driver_api::{Error, ErrorKind, MachineSpec, Result};
use kcl_ssh_host::protocol::{Done, Request};

use crate::context::Context;
use crate::host::Absent;
use crate::{record, send};

/// Sends everything that the machine is made of to its host, and makes it there.
pub(crate) async fn create(context: &Context, spec: &MachineSpec) -> Result<()> {
    let host = context.host(&spec.cluster, &spec.name)?.ok_or_else(|| Context::no_host(&spec.name))?;
    let no_runc = || Error::new(ErrorKind::Host, "the ssh driver was given no runc");
    let runc = context.runc.as_ref().ok_or_else(no_runc)?;
    record::add(&context.home, &spec.cluster, &spec.name, &host.target)?;
    let there = MachineSpec { cluster: context.names.there(&spec.cluster)?, ..spec.clone() };
    let sent = send::send(&host, &context.with, &context.trees, there, runc).await;
    let (there, runc) = sent.map_err(|error| unfinished(error, &spec.cluster))?;
    let request = Request::Create { spec: Box::new(there), runc };
    host.ask::<Done>(&context.with, &request, Absent::Install).await.map(drop)
}

/// Says that what was sent before the error is kept.
fn unfinished(error: Error, cluster: &str) -> Error {
    let first = error.hint.map(|hint| format!("{hint}; ")).unwrap_or_default();
    let hint = format!("{first}what was sent is kept; go on with: kcl start -p {cluster}");
    Error { kind: ErrorKind::Unfinished, hint: Some(hint), ..error }
}
