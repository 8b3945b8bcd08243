//! Locks on files that are asked for by fcntl_locking(2), which says who holds them.

use nix::libc;

/// A lock on all of a file, for its writer.
pub fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Whether the answer to [`whole_file`] is that nobody holds one.
pub fn is_free(answer: &libc::flock) -> bool {
    answer.l_type == libc::F_UNLCK as libc::c_short
}
