//! Layers of this host's Docker engine, read from its own storage (storage driver overlay2): the files of a layer, and the
//! rest of its archive (github.com/vbatts/tar-split). So a layer is read by itself, while the engine's API only exports
//! whole images, and writes them to a disk first. A layer whose bytes do not have the digest that the engine reported is
//! rejected.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use serde::Deserialize;

use super::beneath;

/// The archive of a layer in pieces.
pub struct SplitLayer {
    /// The directory of its files.
    files: PathBuf,
    pieces: Vec<Piece>,
    size: u64,
}

enum Piece {
    Bytes(Vec<u8>),
    /// A file and its size in bytes.
    File(PathBuf, u64),
}

impl Piece {
    fn size(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File(_, size) => *size,
        }
    }
}

/// A line of the archive's description: type 1 is a file, type 2 bytes.
#[derive(Deserialize)]
struct Line {
    r#type: u8,
    #[serde(default)]
    name: String,
    #[serde(default)]
    name_raw: Option<String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    payload: Option<String>,
}

impl SplitLayer {
    /// Reads the description of a layer in `described`; its files are below `root`.
    pub fn open_in(root: &Path, described: &Path) -> io::Result<Self> {
        let id = fs::read_to_string(described.join("cache-id"))?;
        let files = root.join("overlay2").join(id.trim()).join("diff");
        files.metadata()?;
        let mut pieces = Vec::new();
        let lines = BufReader::new(GzDecoder::new(File::open(described.join("tar-split.json.gz"))?));
        for line in lines.lines() {
            let line: Line = serde_json::from_str(&line?)?;
            let payload = |text: Option<String>| BASE64.decode(text.unwrap_or_default()).map_err(io::Error::other);
            match line.r#type {
                2 => pieces.push(Piece::Bytes(payload(line.payload)?)),
                1 if line.size > 0 => {
                    let name = match line.name_raw {
                        Some(raw) => String::from_utf8(BASE64.decode(raw).map_err(io::Error::other)?)
                            .map_err(io::Error::other)?,
                        None => line.name,
                    };
                    let inside = Path::new(&name).components().filter(|part| {
                        matches!(part, std::path::Component::Normal(_) | std::path::Component::ParentDir)
                    });
                    pieces.push(Piece::File(inside.collect(), line.size));
                }
                _ => {}
            }
        }
        let size = pieces.iter().map(Piece::size).fold(0, u64::saturating_add);
        Ok(SplitLayer { files, pieces, size })
    }

    /// Returns the size of the layer's archive in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the layer's archive from `offset` on.
    pub fn open(self: Arc<Self>, offset: u64) -> io::Result<Reader> {
        let mut reader = Reader { layer: self, next: 0, current: Box::new(io::empty()) };
        let mut skip = offset;
        while let Some(piece) = reader.layer.pieces.get(reader.next) {
            if skip < piece.size() {
                break;
            }
            skip -= piece.size();
            reader.next += 1;
        }
        if skip > 0 {
            reader.advance(skip)?;
        }
        Ok(reader)
    }
}

/// An archive that is assembled while it is read.
pub struct Reader {
    layer: Arc<SplitLayer>,
    next: usize,
    current: Box<dyn Read + Send>,
}

impl Reader {
    /// Advances to the next piece without its first `skip` bytes. Returns false at the end.
    fn advance(&mut self, skip: u64) -> io::Result<bool> {
        let Some(piece) = self.layer.pieces.get(self.next) else { return Ok(false) };
        self.current = match piece {
            Piece::Bytes(bytes) => {
                let from = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                Box::new(io::Cursor::new(bytes[from..].to_vec()))
            }
            Piece::File(path, size) => {
                // A container that runs can change the files, and make links of them.
                let mut file = beneath::open(&self.layer.files, path)?;
                file.seek(SeekFrom::Start(skip))?;
                Box::new(file.take(size - skip))
            }
        };
        self.next += 1;
        Ok(true)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.current.read(buffer)? {
                0 if !buffer.is_empty() => {
                    if !self.advance(0)? {
                        return Ok(0);
                    }
                }
                count => return Ok(count),
            }
        }
    }
}
