//! [`Redirected`]: another end for the ordinary packets of one service, with what that changes in
//! checksums worked out once for all.

use dataplane::family::Family;
use dataplane::wire::checksum::SummedAddress;

use super::ordinary::L3;
use super::readdress::{NewEnd, fold, or_all_ones};

/// What one end of packets becomes, where it is always the same before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<A> {
    /// Before and after.
    pub(super) address: (A, A),
    /// Before and after, host byte order; `None` stays.
    pub(super) port: Option<(u16, u16)>,
    /// What packets get that are to be marked.
    pub(super) dscp: Option<u8>,
}

/// What is to be added to checksums where one end of a packet becomes another and a hop is taken off:
/// the sums of all `~m + m'` (RFC 1624 eqn. 3), of words in the machine's byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    /// Of the address and the hop.
    pub(super) header: u16,
    /// Of address and port.
    pub(super) upper: u16,
}

/// What one hop less adds: `~m + m'` of the word with the hops in its first byte.
const HOP: u32 = 0xffff - u16::from_ne_bytes([1, 0]) as u32;

impl Sums {
    /// From one address to another, and from one port to another (host byte order) if there are any.
    pub(super) fn new<A: SummedAddress>((from, to): (A, A), port: Option<(u16, u16)>) -> Self {
        let [from, to] = [from, to].map(|address| NewEnd::new(address).sum());
        let address = u32::from(!from) + u32::from(to);
        let port = port.map_or(0, |(from, to)| {
            let [from, to] = [from, to].map(|port| u16::from_ne_bytes(port.to_be_bytes()));
            u32::from(!from) + u32::from(to)
        });
        Self { header: fold(address + HOP), upper: fold(address + port) }
    }
}

/// A checksum after a change, the sum of all `~m + m'` (RFC 1624 eqn. 3).
#[inline(always)]
pub(super) fn updated(checksum: u16, change: u16) -> u16 {
    let (sum, carry) = (!checksum).overflowing_add(change);
    !(sum + u16::from(carry))
}

/// Changes a checksum of TCP or UDP.
#[inline(always)]
pub(super) fn follow(field: &mut [u8; 2], udp: bool, change: u16) {
    let old = u16::from_ne_bytes(*field);
    let new = updated(old, change);
    let new = if udp { or_all_ones(new) } else { new };
    if old != 0 || !udp {
        *field = new.to_ne_bytes();
    }
}

/// A family whose packets are sent elsewhere.
pub(super) trait Redirected: Family {
    /// What packets become.
    type Redirect: Clone + std::fmt::Debug;

    /// What packets become whose source becomes another.
    type Restored: Clone + Copy + std::fmt::Debug;

    /// What packets become whose destination becomes another, behind this Ethernet header.
    fn redirection(link: [u8; L3], to: &Target<Self::Address>) -> Self::Redirect;

    /// Gives an ordinary packet in a plain Ethernet frame another header and destination, and takes a hop
    /// off. What becomes of the IP packet is what
    /// [`Readdress::readdress`](super::readdress::Readdress::readdress) does with
    /// [`Side::Destination`](super::readdress::Side::Destination). False, and it is as it was, when its
    /// frame is shorter than Ethernet's least. It is of UDP or else TCP.
    fn redirect(data: &mut [u8], to: &Self::Redirect, udp: bool) -> bool;

    /// The same, and marks it with the DSCP of the target.
    fn redirect_marked(data: &mut [u8], to: &Self::Redirect, udp: bool) -> bool;

    /// What packets become whose source becomes another; of UDP or else TCP.
    fn restoration(to: &Target<Self::Address>, udp: bool) -> Self::Restored;

    /// The same as [`redirect`](Self::redirect) for its source, behind this Ethernet header.
    fn restore(data: &mut [u8], link: &[u8; L3], to: &Self::Restored, udp: bool) -> bool;
}

/// Some bytes of a frame.
#[inline(always)]
pub(super) fn part<const N: usize, const LEN: usize>(
    head: &mut [u8; LEN],
    at: usize,
) -> Option<&mut [u8; N]> {
    head.get_mut(at..)?.first_chunk_mut()
}
