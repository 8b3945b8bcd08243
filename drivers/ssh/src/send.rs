//! Sends the trees that machines are made of: only the files that the host does not have.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kcl_driver_api::{Error, MachineSpec, Result};
use kcl_driver_local::task::blocking;
use kcl_ssh_host::protocol::{self, Done, HOME, Missing, Request};
use kcl_ssh_host::trees::{self, Entry};
use russh::ChannelMsg;
use tokio::sync::{OnceCell, mpsc};

use crate::host::{Absent, Host, With, lost};

/// Bytes that are read, compressed and sent at a time.
const PIECE: usize = 256 << 10;
/// The level of zstd: a local network is no faster than this.
const LEVEL: i32 = 1;

/// A tree of files on this computer.
pub(crate) struct Local {
    source: PathBuf,
    /// The name of the tree on hosts.
    pub key: String,
    entries: Vec<Entry>,
    /// The entries with digests, once they were needed.
    digested: OnceCell<Arc<Vec<Entry>>>,
}

/// Trees by their paths: all hosts of a driver get the same.
#[derive(Default)]
pub(crate) struct LocalTrees(Mutex<HashMap<PathBuf, Once>>);

/// A tree that is listed once.
type Once = Arc<OnceCell<Arc<Local>>>;

async fn local(trees: &LocalTrees, source: &Path) -> Result<Arc<Local>> {
    let cell = trees.0.lock().unwrap_or_else(PoisonError::into_inner).entry(source.to_owned()).or_default().clone();
    let look = || async {
        let source = source.to_owned();
        let list = move || {
            let entries = trees::list(&source)?;
            Ok(Arc::new(Local { key: trees::key(&entries), entries, source, digested: OnceCell::new() }))
        };
        blocking(list).await
    };
    cell.get_or_try_init(look).await.cloned()
}

impl Local {
    async fn digested(self: &Arc<Self>) -> Result<Arc<Vec<Entry>>> {
        let look = || async {
            let own = self.clone();
            blocking(move || {
                let mut entries = own.entries.clone();
                trees::look_into(&own.source, &mut entries)?;
                Ok(Arc::new(entries))
            })
            .await
        };
        self.digested.get_or_try_init(look).await.cloned()
    }

    /// Returns the path of the tree on a host.
    fn there(&self) -> PathBuf {
        Path::new(HOME).join("trees").join(&self.key).join("root")
    }
}

/// Sends everything that the machine is made of. Returns the specification with the sources as they are on the host,
/// and the path of runc there.
pub(crate) async fn send(
    host: &Host,
    with: &With,
    trees: &LocalTrees,
    mut spec: MachineSpec,
    runc: &Path,
) -> Result<(MachineSpec, PathBuf)> {
    let mut all: BTreeMap<String, Arc<Local>> = BTreeMap::new();
    let mut known: Vec<(PathBuf, PathBuf)> = Vec::new();
    for source in std::iter::once(&mut spec.rootfs).chain(spec.trees.iter_mut().map(|tree| &mut tree.source)) {
        let tree = local(trees, source).await?;
        known.push((source.clone(), tree.there()));
        *source = tree.there();
        all.insert(tree.key.clone(), tree);
    }
    let within = known.iter().find_map(|(here, there)| Some(there.join(runc.strip_prefix(here).ok()?)));
    let runc = match within {
        Some(runc) => runc,
        // In none of the trees: sent with its directory.
        None => {
            let directory = runc.parent().unwrap_or(Path::new("/"));
            let tree = local(trees, directory).await?;
            let there = tree.there().join(runc.strip_prefix(directory).unwrap_or(runc));
            all.insert(tree.key.clone(), tree);
            there
        }
    };
    let request = Request::Claim { cluster: spec.cluster.clone(), keys: all.keys().cloned().collect() };
    let missing: Vec<String> = host.ask(with, &request, Absent::Install).await?;
    if !missing.is_empty() {
        transfer(host, with, &spec.cluster, &all).await?;
    }
    Ok((spec, runc))
}

async fn transfer(host: &Host, with: &With, cluster: &str, all: &BTreeMap<String, Arc<Local>>) -> Result<()> {
    let mut trees = BTreeMap::new();
    for (key, tree) in all {
        trees.insert(key.clone(), tree.digested().await?.as_ref().clone());
    }
    let request = Request::Receive { cluster: cluster.to_owned(), trees };
    let channel = host.begin(with, &request, None).await?;
    let (mut reader, writer) = channel.split();
    let mut answers = Lines::default();
    // The missing files, or an error.
    let first = loop {
        match answers.next() {
            Some(line) => break line,
            None => answers.read(&mut reader).await.map_err(|error| host.at(error))?,
        }
    };
    let missing: Missing = protocol::parse(&first).map_err(|error| host.at(error))?;
    let count: usize = missing.files.values().map(Vec::len).sum();
    tracing::info!("sending {count} files to {}", host.name());
    let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(4);
    let sources = all.clone();
    let reading = tokio::task::spawn_blocking(move || compress(&sources, &missing, sender));
    let write = async {
        while let Some(piece) = pieces.recv().await {
            writer.data_bytes(piece).await.map_err(|error| lost(&error))?;
        }
        writer.eof().await.map_err(|error| lost(&error))
    };
    let read = async {
        loop {
            match answers.next() {
                Some(line) => break Ok(line),
                None => answers.read(&mut reader).await?,
            }
        }
    };
    // The answer comes last, or early if the host cannot continue.
    tokio::pin!(read);
    let last = tokio::select! {
        answered = &mut read => answered,
        // A local file that cannot be read is reported below.
        written = write => match written {
            Ok(()) => read.await,
            Err(error) => read.await.or(Err(error)),
        },
    };
    drop(pieces);
    match reading.await {
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    protocol::parse::<Done>(&last.map_err(|error| host.at(error))?).map_err(|error| host.at(error))?;
    Ok(())
}

/// Reads the requested files, and passes them on compressed, as one stream.
fn compress(all: &BTreeMap<String, Arc<Local>>, missing: &Missing, sender: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(Pieces { sender, piece: Vec::with_capacity(PIECE) }, LEVEL)?;
    for (key, files) in &missing.files {
        let tree = all.get(key).ok_or_else(|| io::Error::other("a tree that was not offered"))?;
        for index in files {
            let entry = tree.entries.get(*index).ok_or_else(|| io::Error::other("a file that was not offered"))?;
            let path = tree.source.join(&entry.path);
            let mut file = std::fs::File::open(&path)?;
            let trees::Kind::File { size, .. } = entry.kind else { continue };
            // The tree has the size of the listing.
            let copied = io::copy(&mut (&mut file).take(size), &mut encoder)?;
            if copied != size {
                return Err(io::Error::other(format!("{} has become shorter", path.display())));
            }
        }
    }
    encoder.finish()?.flush()
}

/// Collects bytes into pieces.
struct Pieces {
    sender: mpsc::Sender<Vec<u8>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.blocking_send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// The lines that a command writes, and its standard error.
#[derive(Default)]
struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    /// Returns the next whole line that was read.
    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.stdout.iter().position(|byte| *byte == b'\n')?;
        Some(self.stdout.drain(..=end).collect())
    }

    async fn read(&mut self, reader: &mut russh::ChannelReadHalf) -> Result<()> {
        match reader.wait().await {
            Some(ChannelMsg::Data { data }) => protocol::collect(&mut self.stdout, &data)?,
            Some(ChannelMsg::ExtendedData { data, .. }) => protocol::collect(&mut self.stderr, &data)?,
            Some(_) => {}
            None => {
                let said = String::from_utf8_lossy(&self.stderr).trim().to_owned();
                let message = if said.is_empty() {
                    "the connection was cut".to_owned()
                } else {
                    format!("the connection was cut: {said}")
                };
                return Err(Error::engine(message));
            }
        }
        Ok(())
    }
}
