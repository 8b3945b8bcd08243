//! Describes locks on files for fcntl_locking(2), which reports who holds them.

use nix::libc;

/// Returns a write lock on the whole of a file.
pub fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Tells whether the answer to [`whole_file`] is that nobody holds a lock.
pub fn is_free(answer: &libc::flock) -> bool {
    answer.l_type == libc::F_UNLCK as libc::c_short
}
