//! Probes of a component on loopback while it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsConnector;

use crate::gate::{Client, http};

/// The interval between probes. They end once the component is ready.
const INTERVAL: Duration = Duration::from_millis(50);

/// Returns once `GET /healthz` on this port of loopback succeeds with 200.
pub async fn healthy(port: u16, client: Option<Arc<Client>>) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    loop {
        if ask(address, client.as_deref()).await.is_ok_and(|status| status == 200) {
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn ask(address: SocketAddr, client: Option<&Client>) -> std::io::Result<u16> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let Some(client) = client else {
        return Ok(http::get(&mut stream, "/healthz").await?.status);
    };
    let mut stream = TlsConnector::from(client.config.clone()).connect(client.name.clone(), stream).await?;
    Ok(http::get(&mut stream, "/healthz").await?.status)
}
