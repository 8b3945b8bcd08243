//! A server for the reports of pods: each sends `GET /<node>` when it has its answer.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A server on all addresses of the host, as the address that the cluster reaches is unknown before its network exists.
pub(crate) struct Listener {
    port: u16,
    heard: Arc<(Mutex<BTreeSet<String>>, Condvar)>,
}

impl Listener {
    /// Listens on a free port.
    pub(crate) fn bind() -> io::Result<Self> {
        let socket = TcpListener::bind(("0.0.0.0", 0))?;
        let port = socket.local_addr()?.port();
        let heard = Arc::new((Mutex::new(BTreeSet::new()), Condvar::new()));
        let shared = heard.clone();
        std::thread::spawn(move || {
            for mut stream in socket.incoming().flatten() {
                let mut line = String::new();
                let _ = BufReader::new(&stream).read_line(&mut line);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
                if let Some(node) = line.split_whitespace().nth(1) {
                    shared.0.lock().expect("no panic under the lock").insert(node.to_owned());
                    shared.1.notify_all();
                }
            }
        });
        Ok(Listener { port, heard })
    }

    /// Returns the port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Discards all reports.
    pub(crate) fn clear(&self) {
        self.heard.0.lock().expect("no panic under the lock").clear();
    }

    /// Waits for the reports of this number of nodes, and returns their names.
    pub(crate) fn wait_for(&self, nodes: usize, limit: Duration) -> Result<Vec<String>, String> {
        let guard = self.heard.0.lock().expect("no panic under the lock");
        let (guard, timeout) = self
            .heard
            .1
            .wait_timeout_while(guard, limit, |heard| heard.len() < nodes)
            .expect("no panic under the lock");
        let heard = guard.iter().cloned().collect();
        if timeout.timed_out() { Err(format!("heard only from {heard:?}")) } else { Ok(heard) }
    }
}
