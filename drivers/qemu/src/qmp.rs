//! Talks to QEMU by its own channel, the QEMU Machine Protocol.

use std::path::PathBuf;
use std::time::Duration;

use kcl_driver_vm::MachineNames;
use qapi::futures::QmpStreamTokio;
use qapi::qmp;

/// The time that QEMU may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Returns the socket on which QEMU listens.
pub(crate) fn socket(names: &MachineNames) -> PathBuf {
    names.run.join("qmp")
}

/// Tells QEMU to end, which closes its disks in order. Returns false if it does not listen.
pub(crate) async fn quit(names: &MachineNames) -> bool {
    let ask = async {
        let stream = QmpStreamTokio::open_uds(socket(names)).await.ok()?.negotiate().await.ok()?;
        let (service, handle) = stream.spawn_tokio();
        let answer = service.execute(qmp::quit {}).await;
        handle.abort();
        // QEMU may end before it has answered.
        Some(answer.is_ok())
    };
    matches!(tokio::time::timeout(LIMIT, ask).await, Ok(Some(_)))
}
