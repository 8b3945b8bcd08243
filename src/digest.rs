//! SHA-256 digests in hexadecimal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use base16ct::lower::encode_string;
use sha2::{Digest, Sha256};

/// Returns the digest of several parts. Each is preceded by its length, so that different lists have different digests.
pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    encode_string(&hash.finalize())
}

/// Returns the digest of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    encode_string(&Sha256::digest(bytes))
}

/// Returns the digest of a file.
pub fn of_file(path: &Path) -> io::Result<String> {
    let mut writer = Writer::new(io::sink());
    io::copy(&mut File::open(path)?, &mut writer)?;
    Ok(writer.finish().1)
}

/// Hashes the bytes that are written through it.
pub struct Writer<W> {
    inner: W,
    hash: Sha256,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Creates a writer that passes bytes on to `inner`.
    pub fn new(inner: W) -> Self {
        Writer { inner, hash: Sha256::new(), written: 0 }
    }

    /// Returns the inner writer, the digest and the number of bytes.
    pub fn finish(self) -> (W, String, u64) {
        (self.inner, encode_string(&self.hash.finalize()), self.written)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Hashes the bytes that are read through it.
pub struct Reader<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Reader<R> {
    /// Creates a reader of `inner`.
    pub fn new(inner: R) -> Self {
        Reader { inner, hash: Sha256::new() }
    }

    /// Returns the digest of all bytes that were read.
    pub fn finish(self) -> String {
        encode_string(&self.hash.finalize())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
