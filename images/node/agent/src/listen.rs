//! Listening that goes on after errors: a listener that gave up would be lost until the node is restarted.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use crate::console::say;

/// The delay after an error for which the agent is out of something: an immediate retry would fail as well.
const PAUSE: Duration = Duration::from_millis(100);
/// The interval at which errors are printed: ten a second would fill the console.
const INTERVAL: Duration = Duration::from_secs(60);

/// Accepts connections for as long as the agent runs, and passes each to `serve`.
pub(crate) async fn forever<T, F>(what: &str, mut accept: impl FnMut() -> F, mut serve: impl FnMut(T))
where
    F: Future<Output = io::Result<T>>,
{
    let mut told: Option<Instant> = None;
    loop {
        let error = match accept().await {
            Ok(connection) => {
                serve(connection);
                continue;
            }
            Err(error) => error,
        };
        // accept(2): these belong to the one connection, which its client has given up.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
            continue;
        }
        if told.is_none_or(|told| told.elapsed() >= INTERVAL) {
            say(format_args!("{what} cannot accept a connection: {error}"));
            told = Some(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_end_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut served = Vec::new();
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        let mut done = Some(done);
        let mut results = vec![
            Ok(1),
            Err(io::Error::from_raw_os_error(libc::EMFILE)),
            Err(io::ErrorKind::ConnectionAborted.into()),
            Err(io::Error::from_raw_os_error(libc::ENFILE)),
            Ok(2),
        ]
        .into_iter();
        let accept = || {
            let next = results.next();
            async move {
                match next {
                    Some(result) => result,
                    None => std::future::pending().await,
                }
            }
        };
        let serve = |one: i32| {
            served.push(one);
            if one == 2 {
                drop(done.take());
            }
        };
        runtime.block_on(async {
            tokio::select! {
                () = forever("the test", accept, serve) => {}
                _ = ended => {}
            }
        });
        assert_eq!(served, [1, 2]);
    }
}
