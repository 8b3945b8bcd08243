//! Compressed archives: those of gzip, zstd, xz and bzip2, known by their first bytes as Docker and Podman know them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::artifacts::space;
use crate::error::{Error, Id, Result};

/// The number of bytes that every magic number fits in.
pub const MAGIC: usize = 6;

/// The limits of what an archive unpacks to, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    /// The maximum size.
    largest: u64,
    /// The size from which on it must not have grown by more than [`RATIO`].
    suspicious: u64,
}

const LIMITS: Limits = Limits { largest: 256 << 30, suspicious: 1 << 30 };

/// The ratio that no archive of programs reaches, but one that is made to fill disks does.
const RATIO: u64 = 100;

/// The memory in KiB that xz may ask for: what `xz -9` needs, and a reserve.
const MEMORY: u32 = 256 << 10;

/// The number of bytes that are written between two looks at the free space.
const STEP: usize = 4 << 20;

/// A format of compressed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// The format of RFC 1952.
    Gzip,
    /// The format of RFC 8878.
    Zstd,
    /// The format of XZ Utils.
    Xz,
    /// The format of bzip2.
    Bzip2,
}

impl Compression {
    /// Returns the compression that the first bytes indicate.
    pub fn of(magic: &[u8]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            // A skippable frame may come first; the lowest four bits of its number are free.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Compression::Bzip2),
            _ => None,
        }
    }

    /// Returns the ending of the media type of a layer, if containerd unpacks layers that are compressed so.
    pub fn of_layer(self) -> Option<&'static str> {
        match self {
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
            Compression::Xz | Compression::Bzip2 => None,
        }
    }

    /// Returns a reader of what `stream` was before it was compressed; a stream of several parts is read to its end.
    pub fn reader<'s>(self, stream: impl Read + 's) -> io::Result<Box<dyn Read + 's>> {
        Ok(match self {
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stream)),
            Compression::Zstd => Box::new(zstd::Decoder::new(stream)?),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(stream, true, MEMORY)),
            Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(stream)),
        })
    }
}

/// Returns a reader of what a stream was before it was compressed, if it is.
pub fn plain<'s>(mut stream: impl Read + 's) -> io::Result<Box<dyn Read + 's>> {
    let mut magic = Vec::new();
    (&mut stream).take(MAGIC as u64).read_to_end(&mut magic)?;
    let compression = Compression::of(&magic);
    let whole = io::Cursor::new(magic).chain(stream);
    match compression {
        Some(compression) => compression.reader(whole),
        None => Ok(Box::new(whole)),
    }
}

/// Decompresses a stream, if it is compressed, into an unnamed file in `scratch`.
pub fn spool(stream: impl Read, name: &str, scratch: &Path) -> Result<File> {
    let full = |error: io::Error| {
        let message = format!("cannot store {name} in {} while it is read: {error}", scratch.display());
        Error::new(Id::FileUnwritable, message).source(error)
    };
    std::fs::create_dir_all(scratch).map_err(full)?;
    let file = tempfile::tempfile_in(scratch).map_err(full)?;
    let damaged = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => full(error),
        _ => Error::new(Id::ImageDamaged, format!("{name} is damaged or cut off: {error}"))
            .hint("create or copy it again"),
    };
    copy(stream, &file, &|file| space::left(file), LIMITS).map_err(damaged)?;
    Ok(file)
}

/// Copies what `stream` unpacks to into `file`, as long as `left` tells of enough space there.
fn copy(stream: impl Read, mut file: &File, left: &dyn Fn(&File) -> io::Result<()>, limits: Limits) -> io::Result<()> {
    let mut counted = Counted { stream, bytes: 0 };
    let mut magic = Vec::new();
    (&mut counted).take(MAGIC as u64).read_to_end(&mut magic)?;
    let compression = Compression::of(&magic);
    let counter = std::cell::RefCell::new(counted);
    let whole = io::Cursor::new(magic).chain(Shared(&counter));
    let mut reader = match compression {
        Some(compression) => compression.reader(whole)?,
        None => Box::new(whole),
    };
    let mut written = 0;
    let mut buffer = vec![0; STEP];
    loop {
        left(file)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..filled])?;
        written += filled as u64;
        let read = counter.borrow().bytes;
        if compression.is_some() && written > limits.suspicious && written / RATIO > read {
            let why = format!("{read} bytes of it unpack to more than {written}, which no archive of programs does");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        if written > limits.largest {
            let why = format!("it unpacks to more than {} bytes", limits.largest);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
    }
}

/// Counts the bytes that are read.
struct Counted<R> {
    stream: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// A stream whose count is read while a decoder has it.
struct Shared<'c, R>(&'c std::cell::RefCell<Counted<R>>);

impl<R: Read> Read for Shared<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use super::*;

    /// Compresses by each of the formats.
    fn compressed(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(text).unwrap();
        let options = lzma_rust2::XzOptions::with_preset(0);
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        xz.write_all(text).unwrap();
        vec![
            ("plain", text.to_vec()),
            ("gzip", gzip.finish().unwrap()),
            ("zstd", zstd::encode_all(text, 1).unwrap()),
            ("xz", xz.finish().unwrap()),
            ("bzip2", bzip2.finish().unwrap()),
        ]
    }

    fn text_of(stream: &[u8]) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile()?;
        copy(stream, &file, &|_| Ok(()), LIMITS)?;
        file.rewind()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn every_compression_is_read_to_its_end() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        for (how, bytes) in compressed(&text) {
            assert!(text_of(&bytes).unwrap() == text, "{how}");
            // Archives that were compressed in parts by several threads have several streams.
            let twice = [bytes.clone(), bytes].concat();
            assert!(text_of(&twice).unwrap() == [text.clone(), text.clone()].concat(), "{how}, two streams");
        }
        assert_eq!(text_of(b"").unwrap(), b"");
    }

    #[test]
    fn an_archive_that_is_cut_off_or_damaged_is_an_error() {
        let text: Vec<u8> =
            (0..20_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (how, bytes) in compressed(&text).into_iter().filter(|(how, _)| *how != "plain") {
            for end in [10, bytes.len() / 2, bytes.len() - 1] {
                assert!(text_of(&bytes[..end]).is_err(), "{how} of {end} bytes");
            }
            let mut damaged = bytes.clone();
            damaged[bytes.len() / 2] ^= 0x55;
            // zstd has no sum unless it is asked for; the digests of blobs tell.
            assert!(how == "zstd" || text_of(&damaged).is_err(), "{how}");
        }
    }

    #[test]
    fn neither_the_end_of_the_disk_nor_the_limit_is_passed() {
        let zeros = vec![0; 9 << 20];
        for (how, bytes) in compressed(&zeros) {
            let fails = |left: &dyn Fn(&File) -> io::Result<()>, limits| {
                let file = tempfile::tempfile().unwrap();
                let error = copy(&*bytes, &file, left, limits).unwrap_err();
                assert!(file.metadata().unwrap().len() <= 8 << 20, "{how}");
                error
            };
            let small = Limits { largest: 6 << 20, ..LIMITS };
            assert_eq!(fails(&|_| Ok(()), small).kind(), io::ErrorKind::FileTooLarge, "{how}");
            let full = |file: &File| match file.metadata()?.len() {
                0..0x40_0000 => Ok(()),
                _ => Err(io::ErrorKind::StorageFull.into()),
            };
            assert_eq!(fails(&full, LIMITS).kind(), io::ErrorKind::StorageFull, "{how}");
            if how != "plain" {
                // Nine megabytes of zeros are a few kilobytes.
                let error = fails(&|_| Ok(()), Limits { suspicious: 4 << 20, ..LIMITS }).to_string();
                assert!(error.contains("which no archive of programs does"), "{how}: {error}");
            }
        }
    }
}
