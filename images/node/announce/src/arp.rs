//! Gratuitous ARP: announces to a segment that an address is at this node now (RFC 5227, 3). Without it, hosts would
//! send to the former node until their entries expire.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An interface on the node network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// The index of the interface.
    pub index: u32,
    /// The hardware address of the interface.
    pub mac: [u8; 6],
}

const BROADCAST: [u8; 6] = [0xff; 6];

/// Sends an announcement of `address` through an interface.
pub(super) fn announce(interface: Interface, address: Ipv4Addr) -> io::Result<()> {
    // Protocol 0: nothing is received.
    // SAFETY: a plain system call without pointers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let frame = frame(interface.mac, address);
    // SAFETY: all bytes zero are a valid sockaddr_ll.
    let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_protocol = (libc::ETH_P_ARP as u16).to_be();
    to.sll_ifindex = interface.index as i32;
    to.sll_halen = 6;
    to.sll_addr[..6].copy_from_slice(&BROADCAST);
    // SAFETY: frame and address live through the call, and their lengths are their own.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            mem::size_of_val(&to) as libc::socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns an Ethernet frame with an ARP request (RFC 826) in which the sender asks for its own address.
fn frame(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(BROADCAST);
    frame.extend(mac);
    frame.extend((libc::ETH_P_ARP as u16).to_be_bytes());
    // Ethernet, IPv4, the lengths of their addresses, request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_a_request_for_the_own_address() {
        let frame = frame([2, 0, 0, 0, 0, 7], Ipv4Addr::new(10, 0, 0, 200));
        let text: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            text,
            "ffffffffffff0200000000070806\
             00010800060400010200000000070a0000c80000000000000a0000c8"
        );
    }
}
