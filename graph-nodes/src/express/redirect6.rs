//! [`Redirected`] packets of IPv6.

use std::net::Ipv6Addr;

use dataplane::family::Ip6;
use dataplane::wire::Header;
use dataplane::wire::ipv6::Ipv6Header;

use super::ordinary::L3;
use super::redirect::{Redirected, Sums, Target, follow, part};
use super::redirect4::{Words, change_words};

/// What IPv6 packets become whose destination is always the same before.
#[derive(Clone, Debug)]
pub(super) struct Redirect6 {
    address: Ipv6Addr,
    /// Host byte order; `None` stays.
    port: Option<u16>,
    /// What is added to checksums.
    upper: u16,
    /// The new Ethernet header.
    link: [u8; L3],
    /// That of [marked](Redirected::redirect_marked) packets.
    dscp: u8,
}

/// Where in a frame the [`Words`] end that hold the source's port and the checksum: of TCP, and of UDP.
const ENDS: [usize; 2] = [at6::TCP_CHECKSUM + 2, at6::UDP_CHECKSUM + 2];

/// What IPv6 packets of one protocol become whose source is always the same before.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(super) struct Restored6 {
    /// What is added to words, and the bits that turn before and after, as [in IPv4](super::redirect4::Restored4).
    added: Words,
    before: Words,
    after: Words,
    source: [u8; 16],
    /// Where in a frame the words start.
    start: u16,
}

impl Restored6 {
    fn new(to: &Target<Ipv6Addr>, udp: bool) -> Self {
        let [from, source] = [to.address.0, to.address.1].map(|address| address.octets());
        let port = to.port.map_or([[0; 2]; 2], |(from, to)| [from, to].map(u16::to_be_bytes));
        // The bits of a frame that turn.
        let mut turned = [0; ENDS[0]];
        for (at, from, to) in
            [(at6::SOURCE, &from[..], &source[..]), (at6::SOURCE_PORT, &port[0], &port[1])]
        {
            for (offset, (from, to)) in from.iter().zip(to).enumerate() {
                turned[at + offset] = from ^ to;
            }
        }
        let (mut added, mut before, mut after) = ([0; 16], [u16::MAX; 16], [0; 16]);
        let Sums { upper, .. } = Sums::new(to.address, to.port);
        // UDP's checksum never becomes 0 so, as that would say that there is none (RFC 768).
        (added[15], before[15]) = if udp { (!upper, 0) } else { (upper, u16::MAX) };
        let end = ENDS[usize::from(udp)];
        let pairs = turned[end - 32..end].as_chunks().0.iter().zip(before);
        for (after, (turned, before)) in after.iter_mut().zip(pairs) {
            *after = u16::from_ne_bytes(*turned) ^ before;
        }
        Self { added, before, after, source, start: (end - 32) as u16 }
    }

    /// Changes a packet. `None`, and it is as it was, when it is shorter than what changes.
    #[inline(always)]
    fn change(&self, data: &mut [u8], link: &[u8; L3]) -> Option<()> {
        let words = data.get_mut(usize::from(self.start)..)?.first_chunk_mut()?;
        change_words(words, (&self.added, &self.before, &self.after));
        let head = data.first_chunk_mut::<HEAD6>()?;
        // An end of it is among the words.
        *part(head, at6::SOURCE)? = self.source;
        head[at6::HOPS] = head[at6::HOPS].wrapping_sub(1);
        // By two moves that overlap.
        *part::<8, HEAD6>(head, 0)? = *link.first_chunk()?;
        *part::<8, HEAD6>(head, L3 - 8)? = *link.last_chunk()?;
        Some(())
    }
}

/// Up to the end of UDP's header.
const HEAD6: usize = L3 + Ipv6Header::LEN + 8;

/// Where these bytes of a frame start.
mod at6 {
    #[cfg(test)]
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
fn settle6(data: &mut [u8], upper: u16, udp: bool) -> Option<&mut [u8; HEAD6]> {
    let checksum_at = if udp { at6::UDP_CHECKSUM } else { at6::TCP_CHECKSUM };
    follow(data.get_mut(checksum_at..)?.first_chunk_mut()?, udp, upper);
    // Shorter than where the checksum was.
    let head = data.first_chunk_mut::<HEAD6>()?;
    head[at6::HOPS] = head[at6::HOPS].wrapping_sub(1);
    Some(head)
}

impl Redirected for Ip6 {
    type Redirect = Redirect6;
    type Restored = Restored6;

    fn redirection(link: [u8; L3], to: &Target<Ipv6Addr>) -> Redirect6 {
        let Target { address, port, dscp } = *to;
        let Sums { upper, .. } = Sums::new(address, port);
        let (port, dscp) = (port.map(|(_, to)| to), dscp.unwrap_or_default());
        Redirect6 { address: address.1, port, upper, link, dscp }
    }

    #[inline(always)]
    fn redirect(data: &mut [u8], to: &Redirect6, udp: bool) -> bool {
        let change = |data: &mut [u8]| {
            let head = settle6(data, to.upper, udp)?;
            *part(head, 0)? = to.link;
            *part(head, at6::DESTINATION)? = to.address.octets();
            if let Some(port) = to.port {
                *part(head, at6::PORT)? = port.to_be_bytes();
            }
            Some(())
        };
        change(data).is_some()
    }

    #[inline(always)]
    fn redirect_marked(data: &mut [u8], to: &Redirect6, udp: bool) -> bool {
        if !Self::redirect(data, to, udp) {
            return false;
        }
        if let Some(header) = Ipv6Header::at_mut(data, L3) {
            header.set_dscp(to.dscp);
        }
        true
    }

    fn restoration(to: &Target<Ipv6Addr>, udp: bool) -> Restored6 {
        Restored6::new(to, udp)
    }

    #[inline(always)]
    fn restore(data: &mut [u8], link: &[u8; L3], to: &Restored6, _udp: bool) -> bool {
        to.change(data, link).is_some()
    }
}

#[cfg(test)]
mod tests {
    use dataplane::wire::ipv4::protocol;
    use proptest::prelude::*;

    use super::super::readdress::{NewEnd, Readdress, Side};
    use super::*;

    proptest! {
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
            let to = Ip6::redirection([9; L3], &Target { address: (from, to), port: ports, dscp });
            let redirect = dscp.map_or(Ip6::redirect as fn(&mut _, &_, _) -> _, |_| Ip6::redirect_marked);
            prop_assert!(redirect(&mut data, &to, !tcp));
            prop_assert_eq!(data, expected);
        }

        #[test]
        fn ip6_is_restored_as_it_is_readdressed(
            mut data in prop::collection::vec(any::<u8>(), 74), tcp: bool, from: u128, to: u128,
            ports: (u16, u16), none in 0..8, len in 62..=74_usize,
        ) {
            let [from, to] = [from, to].map(Ipv6Addr::from_bits);
            data[at6::PROTOCOL] = if tcp { protocol::TCP } else { protocol::UDP };
            if !tcp {
                data.truncate(len);
                if none == 0 {
                    data[at6::UDP_CHECKSUM..][..2].fill(0);
                }
            }
            data[at6::SOURCE..][..16].copy_from_slice(&from.octets());
            data[at6::SOURCE_PORT..][..2].copy_from_slice(&ports.0.to_be_bytes());
            (data[14], data[at6::HOPS]) = (0x60, data[at6::HOPS].max(2));
            let mut expected = data.clone();
            Ip6::readdress(&mut expected, L3, Side::Source, &NewEnd::new(to), Some(ports.1));
            expected[..L3].fill(9);
            let to = Target { address: (from, to), port: Some(ports), dscp: None };
            let to = Ip6::restoration(&to, !tcp);
            prop_assert!(Ip6::restore(&mut data, &[9; L3], &to, !tcp));
            prop_assert_eq!(data, expected);
        }
    }

    #[test]
    fn short_frames_stay_as_they_are() {
        let to = Target {
            address: (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED),
            port: None,
            dscp: None,
        };
        for (udp, len) in [(true, 61), (false, 71)] {
            let mut data = vec![7; len];
            assert!(!Ip6::restore(&mut data, &[9; L3], &Ip6::restoration(&to, udp), udp));
            assert_eq!(data, vec![7; len]);
        }
    }
}
