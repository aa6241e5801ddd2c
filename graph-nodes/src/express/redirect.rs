//! [`Redirect`]: another destination for the packets to a VIP of one address, with what that changes
//! in checksums worked out once for all.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::family::{Family, Ip4, Ip6};
use dataplane::wire::Header;
use dataplane::wire::checksum::SummedAddress;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::wire::tcp::TcpHeader;

use super::ordinary::L3;
use super::readdress::{NewEnd, fold, or_all_ones};

/// What a packet's destination becomes, where it is always the same before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redirect<A> {
    address: A,
    /// Host byte order; `None` stays.
    port: Option<u16>,
    /// The sum of all `~m + m'` of the address and the hop (RFC 1624 eqn. 3), of words in the
    /// machine's byte order.
    header: u16,
    /// The same of address and port.
    upper: u16,
    /// The new Ethernet header.
    link: [u8; L3],
    /// `None` stays.
    dscp: Option<u8>,
}

/// What one hop less adds: `~m + m'` of the word with the hops in its first byte.
const HOP: u32 = 0xffff - u16::from_ne_bytes([1, 0]) as u32;

impl<A: SummedAddress> Redirect<A> {
    /// From one address to another, and from one port to another (host byte order) if there are any,
    /// behind this Ethernet header, with this DSCP if any.
    pub(super) fn new(
        link: [u8; L3],
        (from, to): (A, A),
        ports: Option<(u16, u16)>,
        dscp: Option<u8>,
    ) -> Self {
        let [from, end] = [from, to].map(NewEnd::new);
        let address = u32::from(!from.sum()) + u32::from(end.sum());
        let port = ports.map_or(0, |(from, to)| {
            let [from, to] = [from, to].map(|port| u16::from_ne_bytes(port.to_be_bytes()));
            u32::from(!from) + u32::from(to)
        });
        let port_after = ports.map(|(_, to)| to);
        let (header, upper) = (fold(address + HOP), fold(address + port));
        Self { address: to, port: port_after, header, upper, link, dscp }
    }
}

/// What the source of an AS's packets becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restored<A> {
    address: A,
    /// Host byte order.
    port: u16,
    /// As those of a [`Redirect`].
    header: u16,
    upper: u16,
}

impl<A: SummedAddress> Restored<A> {
    /// From one address to another, and from one port to another (host byte order).
    pub(super) fn new((from, to): (A, A), (old, port): (u16, u16)) -> Self {
        let as_there = Redirect::new([0; L3], (from, to), Some((old, port)), None);
        let Redirect { address, header, upper, .. } = as_there;
        Self { address, port, header, upper }
    }
}

/// The change of an IPv4 header's checksum where its class becomes another, too.
#[inline(always)]
fn with_class(change: u16, old: u8, new: u8) -> u16 {
    let word = |class| u16::from_ne_bytes([0x45, class]);
    fold(u32::from(change) + u32::from(!word(old)) + u32::from(word(new)))
}

/// A checksum after a change, the sum of all `~m + m'` (RFC 1624 eqn. 3).
#[inline(always)]
fn updated(checksum: u16, change: u16) -> u16 {
    let (sum, carry) = (!checksum).overflowing_add(change);
    !(sum + u16::from(carry))
}

/// Changes a checksum of TCP or UDP.
#[inline(always)]
fn follow(field: &mut [u8; 2], udp: bool, change: u16) {
    let old = u16::from_ne_bytes(*field);
    let new = updated(old, change);
    let new = if udp { or_all_ones(new) } else { new };
    if old != 0 || !udp {
        *field = new.to_ne_bytes();
    }
}

/// A family whose packets are sent elsewhere.
pub(super) trait Redirected: Family {
    /// Gives an ordinary packet in a plain Ethernet frame another header and destination, takes a hop
    /// off, and sets the DSCP. What becomes of the IP packet is what
    /// [`Readdress::readdress`](super::readdress::Readdress::readdress) does with
    /// [`Side::Destination`](super::readdress::Side::Destination). False, and it is as it was, when its
    /// frame is shorter than Ethernet's least.
    fn redirect(data: &mut [u8], to: &Redirect<Self::Address>) -> bool;

    /// The same for its source.
    fn restore(data: &mut [u8], link: &[u8; L3], to: &Restored<Self::Address>) -> bool;
}

/// The bits of a class that are not the DSCP.
const ECN: u8 = 3;

const HEAD4: usize = L3 + Ipv4Header::LEN + TcpHeader::LEN;

/// Where these bytes of a frame start.
mod at4 {
    pub(super) const CLASS: usize = 15;
    pub(super) const HOPS: usize = 22;
    pub(super) const PROTOCOL: usize = 23;
    pub(super) const CHECKSUM: usize = 24;
    pub(super) const SOURCE: usize = 26;
    pub(super) const DESTINATION: usize = 30;
    pub(super) const SOURCE_PORT: usize = 34;
    pub(super) const PORT: usize = 36;
    pub(super) const UDP_CHECKSUM: usize = 40;
    pub(super) const TCP_CHECKSUM: usize = 50;
}

/// Some bytes of a frame.
#[inline(always)]
fn part<const N: usize, const LEN: usize>(head: &mut [u8; LEN], at: usize) -> Option<&mut [u8; N]> {
    head.get_mut(at..)?.first_chunk_mut()
}

/// Takes a hop off an IPv4 packet, and lets its checksums follow.
#[inline(always)]
fn settle4(head: &mut [u8; HEAD4], header: u16, upper: u16) -> Option<()> {
    head[at4::HOPS] = head[at4::HOPS].wrapping_sub(1);
    let checksum = part(head, at4::CHECKSUM)?;
    *checksum = updated(u16::from_ne_bytes(*checksum), header).to_ne_bytes();
    if head[at4::PROTOCOL] == protocol::UDP {
        follow(part(head, at4::UDP_CHECKSUM)?, true, upper);
    } else {
        follow(part(head, at4::TCP_CHECKSUM)?, false, upper);
    }
    Some(())
}

impl Redirected for Ip4 {
    #[inline(always)]
    fn redirect(data: &mut [u8], to: &Redirect<Ipv4Addr>) -> bool {
        let Some(head) = data.first_chunk_mut::<HEAD4>() else { return false };
        let mut header = to.header;
        if let Some(dscp) = to.dscp {
            let old = head[at4::CLASS];
            let new = dscp << 2 | old & ECN;
            head[at4::CLASS] = new;
            header = with_class(header, old, new);
        }
        let change = |head: &mut [u8; HEAD4]| {
            *part(head, 0)? = to.link;
            *part(head, at4::DESTINATION)? = to.address.octets();
            if let Some(port) = to.port {
                *part(head, at4::PORT)? = port.to_be_bytes();
            }
            settle4(head, header, to.upper)
        };
        change(head).is_some()
    }

    #[inline(always)]
    fn restore(data: &mut [u8], link: &[u8; L3], to: &Restored<Ipv4Addr>) -> bool {
        let Some(head) = data.first_chunk_mut::<HEAD4>() else { return false };
        let change = |head: &mut [u8; HEAD4]| {
            *part(head, 0)? = *link;
            *part(head, at4::SOURCE)? = to.address.octets();
            *part(head, at4::SOURCE_PORT)? = to.port.to_be_bytes();
            settle4(head, to.header, to.upper)
        };
        change(head).is_some()
    }
}

#[inline(always)]
fn set_dscp<F: Family>(data: &mut [u8], dscp: Option<u8>) {
    if let Some(dscp) = dscp
        && let Some(header) = F::Header::at_mut(data, L3)
    {
        header.set_dscp(dscp);
    }
}

/// Up to the end of UDP's header.
const HEAD6: usize = L3 + Ipv6Header::LEN + 8;

/// Where these bytes of a frame start.
mod at6 {
    pub(super) const PROTOCOL: usize = 20;
    pub(super) const HOPS: usize = 21;
    pub(super) const SOURCE: usize = 22;
    pub(super) const DESTINATION: usize = 38;
    pub(super) const SOURCE_PORT: usize = 54;
    pub(super) const PORT: usize = 56;
    pub(super) const UDP_CHECKSUM: usize = 60;
    pub(super) const TCP_CHECKSUM: usize = 70;
}

/// Takes a hop off an IPv6 packet, and lets its checksum follow. `None`, and it is as it was, when
/// that is not there.
#[inline(always)]
fn settle6(data: &mut [u8], upper: u16) -> Option<&mut [u8; HEAD6]> {
    let udp = data.get(at6::PROTOCOL) == Some(&protocol::UDP);
    let checksum_at = if udp { at6::UDP_CHECKSUM } else { at6::TCP_CHECKSUM };
    follow(data.get_mut(checksum_at..)?.first_chunk_mut()?, udp, upper);
    // Shorter than where the checksum was.
    let head = data.first_chunk_mut::<HEAD6>()?;
    head[at6::HOPS] = head[at6::HOPS].wrapping_sub(1);
    Some(head)
}

impl Redirected for Ip6 {
    #[inline(always)]
    fn redirect(data: &mut [u8], to: &Redirect<Ipv6Addr>) -> bool {
        let change = |data: &mut [u8]| {
            let head = settle6(data, to.upper)?;
            *part(head, 0)? = to.link;
            *part(head, at6::DESTINATION)? = to.address.octets();
            if let Some(port) = to.port {
                *part(head, at6::PORT)? = port.to_be_bytes();
            }
            Some(())
        };
        if change(data).is_none() {
            return false;
        }
        set_dscp::<Self>(data, to.dscp);
        true
    }

    #[inline(always)]
    fn restore(data: &mut [u8], link: &[u8; L3], to: &Restored<Ipv6Addr>) -> bool {
        let change = |data: &mut [u8]| {
            let head = settle6(data, to.upper)?;
            *part(head, 0)? = *link;
            *part(head, at6::SOURCE)? = to.address.octets();
            *part(head, at6::SOURCE_PORT)? = to.port.to_be_bytes();
            Some(())
        };
        change(data).is_some()
    }
}

#[cfg(test)]
mod tests {
    use dataplane::wire::Header;
    use proptest::prelude::*;

    use super::super::readdress::{Readdress, Side};
    use super::*;

    proptest! {
        #[test]
        fn ip4_is_redirected_as_it_is_readdressed(
            mut data in prop::collection::vec(any::<u8>(), 60), tcp: bool, from: u32, to: u32,
            ports in prop::option::of((any::<u16>(), any::<u16>())), none in 0..8,
            dscp in prop::option::of(0_u8..64),
        ) {
            let [from, to] = [from, to].map(Ipv4Addr::from_bits);
            data[at4::PROTOCOL] = if tcp { protocol::TCP } else { protocol::UDP };
            data[at4::DESTINATION..][..4].copy_from_slice(&from.octets());
            (data[14], data[at4::HOPS]) = (0x45, data[at4::HOPS].max(2));
            if let Some((port, _)) = ports {
                data[at4::PORT..][..2].copy_from_slice(&port.to_be_bytes());
            }
            if none == 0 && !tcp {
                data[at4::UDP_CHECKSUM..][..2].fill(0);
            }
            Ipv4Header::at_mut(&mut data, L3).unwrap().fill_checksum();
            let mut expected = data.clone();
            let port = ports.map(|(_, to)| to);
            Ip4::readdress(&mut expected, L3, Side::Destination, &NewEnd::new(to), port);
            expected[..L3].fill(9);
            if let Some(dscp) = dscp {
                Ipv4Header::at_mut(&mut expected, L3).unwrap().set_dscp(dscp);
            }
            let to = Redirect::new([9; L3], (from, to), ports, dscp);
            prop_assert!(Ip4::redirect(&mut data, &to));
            prop_assert_eq!(data, expected);
        }

        #[test]
        fn ip6_is_redirected_as_it_is_readdressed(
            mut data in prop::collection::vec(any::<u8>(), 74), tcp: bool, from: u128, to: u128,
            ports in prop::option::of((any::<u16>(), any::<u16>())), dscp in prop::option::of(0_u8..64),
        ) {
            let [from, to] = [from, to].map(Ipv6Addr::from_bits);
            data[at6::PROTOCOL] = if tcp { protocol::TCP } else { protocol::UDP };
            data[at6::DESTINATION..][..16].copy_from_slice(&from.octets());
            (data[14], data[at6::HOPS]) = (0x60, data[at6::HOPS].max(2));
            if let Some((port, _)) = ports {
                data[at6::PORT..][..2].copy_from_slice(&port.to_be_bytes());
            }
            let mut expected = data.clone();
            let port = ports.map(|(_, to)| to);
            Ip6::readdress(&mut expected, L3, Side::Destination, &NewEnd::new(to), port);
            expected[..L3].fill(9);
            if let Some(dscp) = dscp {
                Ipv6Header::at_mut(&mut expected, L3).unwrap().set_dscp(dscp);
            }
            let to = Redirect::new([9; L3], (from, to), ports, dscp);
            prop_assert!(Ip6::redirect(&mut data, &to));
            prop_assert_eq!(data, expected);
        }
    }

    proptest! {
        #[test]
        fn ip4_is_restored_as_it_is_readdressed(
            mut data in prop::collection::vec(any::<u8>(), 60), tcp: bool, from: u32, to: u32,
            ports: (u16, u16), none in 0..8,
        ) {
            let [from, to] = [from, to].map(Ipv4Addr::from_bits);
            data[at4::PROTOCOL] = if tcp { protocol::TCP } else { protocol::UDP };
            data[at4::SOURCE..][..4].copy_from_slice(&from.octets());
            data[at4::SOURCE_PORT..][..2].copy_from_slice(&ports.0.to_be_bytes());
            (data[14], data[at4::HOPS]) = (0x45, data[at4::HOPS].max(2));
            if none == 0 && !tcp {
                data[at4::UDP_CHECKSUM..][..2].fill(0);
            }
            Ipv4Header::at_mut(&mut data, L3).unwrap().fill_checksum();
            let mut expected = data.clone();
            Ip4::readdress(&mut expected, L3, Side::Source, &NewEnd::new(to), Some(ports.1));
            expected[..L3].fill(9);
            let to = Restored::new((from, to), ports);
            prop_assert!(Ip4::restore(&mut data, &[9; L3], &to));
            prop_assert_eq!(data, expected);
        }

        #[test]
        fn ip6_is_restored_as_it_is_readdressed(
            mut data in prop::collection::vec(any::<u8>(), 74), tcp: bool, from: u128, to: u128,
            ports: (u16, u16),
        ) {
            let [from, to] = [from, to].map(Ipv6Addr::from_bits);
            data[at6::PROTOCOL] = if tcp { protocol::TCP } else { protocol::UDP };
            data[at6::SOURCE..][..16].copy_from_slice(&from.octets());
            data[at6::SOURCE_PORT..][..2].copy_from_slice(&ports.0.to_be_bytes());
            (data[14], data[at6::HOPS]) = (0x60, data[at6::HOPS].max(2));
            let mut expected = data.clone();
            Ip6::readdress(&mut expected, L3, Side::Source, &NewEnd::new(to), Some(ports.1));
            expected[..L3].fill(9);
            let to = Restored::new((from, to), ports);
            prop_assert!(Ip6::restore(&mut data, &[9; L3], &to));
            prop_assert_eq!(data, expected);
        }
    }

    #[test]
    fn short_frames_stay_as_they_are() {
        let to = Ipv4Addr::new(10, 0, 0, 2);
        let mut data = [7; HEAD4 - 1];
        assert!(!Ip4::redirect(&mut data, &Redirect::new([0; L3], (to, to), None, None)));
        assert_eq!(data, [7; HEAD4 - 1]);
    }
}
