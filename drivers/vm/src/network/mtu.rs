//! The largest packet of an interface of this host (netdevice(7)).

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

nix::ioctl_readwrite_bad!(get_mtu, libc::SIOCGIFMTU, libc::ifreq);

/// In bytes; none where there is no such interface.
#[allow(unsafe_code)]
pub(super) fn of(interface: &str) -> Option<u32> {
    use std::os::fd::AsRawFd;
    // SAFETY: all zeros are a valid request: names and numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = byte as libc::c_char;
    }
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    // SAFETY: the request lives for the call, and its name ends with a zero.
    unsafe { get_mtu(socket.as_raw_fd(), &mut request) }.ok()?;
    // SAFETY: the kernel has set the number.
    u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_this_host() {
        assert!(super::of("lo").is_some_and(|mtu| mtu > 1000));
        assert_eq!(super::of("no-such-link"), None);
        assert_eq!(super::of("a name that is far too long"), None);
    }
}
