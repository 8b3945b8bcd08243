//! The sandbox process of pods: holds the pod's namespaces, reaps orphans, and ends on a signal.

#![allow(unsafe_code)]

fn main() {
    // SAFETY: plain system calls on a local signal set in a process of one thread.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGCHLD] {
            libc::sigaddset(&mut signals, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
        loop {
            match libc::sigwaitinfo(&signals, std::ptr::null_mut()) {
                libc::SIGINT | libc::SIGTERM => libc::_exit(0),
                _ => while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {},
            }
        }
    }
}
