//! The wait until a Service accepts connections: kube-proxy learns of a new one a moment after the API server.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::urls::Url;

/// The time that a new Service has to accept connections. If it does not by then, something else is wrong.
const SOON: Duration = Duration::from_secs(5);
/// The longest time for one attempt. A node that does not serve the Service yet may refuse by ICMP, which does not end
/// connect(2): the kernel would retry after a second.
const TRY: Duration = Duration::from_millis(250);
/// The pause between two attempts. There is no way to watch for changes of the packet filter's behavior.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until the TCP URLs accept connections. Returns those that do not, each with its error.
pub(super) async fn wait(urls: &[Url]) -> Vec<(Url, io::Error)> {
    let tcp = urls.iter().filter(|url| matches!(url.scheme, "http" | "https"));
    let tried = tcp.map(|url| async move {
        let begun = Instant::now();
        loop {
            let error = match timeout(TRY, TcpStream::connect(SocketAddr::new(url.address, url.port))).await {
                Ok(Ok(_)) => return None,
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            if begun.elapsed() > SOON {
                return Some((url.clone(), error));
            }
            sleep(INTERVAL).await;
        }
    });
    join_all(tried).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn one_that_comes_later_is_waited_for() {
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = taken.local_addr().expect("its address").port();
        drop(taken);
        let urls = ["http", "udp"].map(|scheme| Url { scheme, address: Ipv4Addr::LOCALHOST.into(), port });
        let later = async {
            sleep(INTERVAL * 3).await;
            tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the port is free")
        };
        let (troubles, _listener) = tokio::join!(wait(&urls), later);
        assert!(troubles.is_empty(), "{troubles:?}");
    }
}
