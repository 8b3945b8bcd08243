//! Connections through the gate.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use kcl_node_spec::{NodeSpec, ports};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Client, Gate};
use crate::console::say;
use crate::error::{Doing, Result};
use crate::state::State;

/// The time to connect after which a server on the same network is considered down.
const PATIENCE: Duration = Duration::from_secs(1);

/// Seconds without a response after which a connection is dropped: a node that lost its power closes nothing, and its
/// clients should soon find another one.
const SILENCE: u32 = 10;

/// Opens the gate's port and passes its connections on for as long as the agent runs.
pub async fn open(spec: &NodeSpec, client: Client, state: Rc<State>) -> Result<Rc<Gate>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::API_SERVER));
    let listener = TcpListener::bind(address).await.doing(|| format!("listen on {address}"))?;
    let gate = Gate::new(spec, client, state);
    tokio::task::spawn_local(accept(listener, gate.clone()));
    Ok(gate)
}

async fn accept(listener: TcpListener, gate: Rc<Gate>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::task::spawn_local(pass(client, gate.clone()));
            }
            Err(error) => {
                // Descriptors or memory are exhausted: an immediate retry would fail as well.
                say(format_args!("the gate cannot accept a connection: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Holds the connection until it can be passed on.
async fn pass(mut client: TcpStream, gate: Rc<Gate>) {
    let mut server = connect(&gate).await;
    let _ = client.set_nodelay(true);
    // Either side may close at any time; the other one sees the end.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

async fn connect(gate: &Gate) -> TcpStream {
    loop {
        for upstream in gate.until_some_ready().await {
            match timeout(PATIENCE, TcpStream::connect(upstream.address)).await {
                Ok(Ok(stream)) if prepare(&stream).is_ok() => return stream,
                _ => upstream.failed(),
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &SILENCE)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &(SILENCE / 2))?;
    setsockopt(stream, sockopt::TcpKeepCount, &2)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &(SILENCE * 1000))?;
    Ok(())
}
