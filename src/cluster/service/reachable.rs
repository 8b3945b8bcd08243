//! Whether what answers for a Service has come to it: kube-proxy hears of a new one a moment after the API has it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::urls::Url;

/// How long it is looked for. What takes no connections by then has another trouble than being new.
const SOON: Duration = Duration::from_secs(5);
/// How long one try may take. A node that does not serve it yet may refuse by ICMP, which is no answer to connect(2): the
/// kernel would try again after a second.
const TRY: Duration = Duration::from_millis(250);
/// Between two tries. What the packet filter does cannot be watched.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until those of TCP take connections. Which do not, and why.
pub async fn wait(urls: &[Url]) -> Vec<(Url, io::Error)> {
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
