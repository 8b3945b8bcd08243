//! The space on disks: what is written from foreign archives and servers never takes the last of it, as etcd and pods
//! usually write to the same disk.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::statvfs::{Statvfs, fstatvfs, statvfs};

/// The bytes that stay free, on disks of more than twenty times as many.
const RESERVE: u64 = 1 << 30;

/// Checks that the file system of an open file has more than its reserve left.
///
/// # Errors
/// `StorageFull` if it has not.
pub fn left(file: impl AsFd) -> io::Result<()> {
    judge(Bytes::of(&fstatvfs(file)?), 0)
}

/// Checks that the file system of `path` has space for `wanted` bytes, and its reserve.
///
/// # Errors
/// `StorageFull` if it has not.
pub fn fits(path: &Path, wanted: u64) -> io::Result<()> {
    judge(Bytes::of(&statvfs(path)?), wanted)
}

/// The size and the free space of a file system in bytes.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    size: u64,
    free: u64,
}

impl Bytes {
    fn of(stat: &Statvfs) -> Self {
        let unit = stat.fragment_size();
        Bytes { size: stat.blocks().saturating_mul(unit), free: stat.blocks_available().saturating_mul(unit) }
    }
}

fn judge(Bytes { size, free }: Bytes, wanted: u64) -> io::Result<()> {
    let reserve = RESERVE.min(size / 20);
    if free >= wanted.saturating_add(reserve) {
        return Ok(());
    }
    const MIB: u64 = 1 << 20;
    let why = match wanted {
        0 => format!("only {} MiB are free on this disk, of which {} MiB stay free", free / MIB, reserve / MIB),
        wanted => format!(
            "{} MiB are wanted, and {} MiB are free on this disk, of which {} MiB stay free",
            wanted.div_ceil(MIB),
            free / MIB,
            reserve / MIB
        ),
    };
    Err(io::Error::new(io::ErrorKind::StorageFull, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_disk_is_left_alone() {
        const GIB: u64 = 1 << 30;
        let disk = |free| Bytes { size: 100 * GIB, free };
        assert!(judge(disk(2 * GIB), 0).is_ok());
        assert!(judge(disk(2 * GIB), GIB).is_ok());
        assert_eq!(judge(disk(2 * GIB), GIB + 1).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(judge(disk(GIB - 1), 0).is_err());
        assert!(judge(disk(GIB), u64::MAX).is_err());
        // A small file system keeps a twentieth of itself.
        assert!(judge(Bytes { size: 100 << 20, free: 50 << 20 }, 45 << 20).is_ok());
        assert!(judge(Bytes { size: 100 << 20, free: 50 << 20 }, 46 << 20).is_err());
        assert!(fits(Path::new("/"), u64::MAX).is_err() && fits(Path::new("/nowhere"), 0).is_err());
    }
}
