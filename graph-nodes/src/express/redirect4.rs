//! [`Redirected`] packets of IPv4.

use std::net::Ipv4Addr;

use dataplane::family::Ip4;
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::tcp::TcpHeader;

use super::ordinary::L3;
use super::readdress::fold;
use super::redirect::{Redirected, Sums, Target, part, updated};

const HEAD: usize = L3 + Ipv4Header::LEN + TcpHeader::LEN;

/// Where these bytes of a frame start.
mod at {
    pub(super) const CLASS: usize = 15;
    pub(super) const HOPS: usize = 22;
    #[cfg(test)]
    pub(super) const PROTOCOL: usize = 23;
    pub(super) const CHECKSUM: usize = 24;
    pub(super) const SOURCE: usize = 26;
    pub(super) const DESTINATION: usize = 30;
    pub(super) const SOURCE_PORT: usize = 34;
    pub(super) const PORT: usize = 36;
    pub(super) const UDP_CHECKSUM: usize = 40;
    pub(super) const TCP_CHECKSUM: usize = 50;
}

/// The bits of a class that are not the DSCP.
const ECN: u8 = 3;

/// Where in a frame the [`Words`] start: behind them is nothing of a header that changes.
const START: usize = 20;

/// Words of a frame from [`START`] on, in the machine's byte order: so many that the compiler has one
/// instruction for all.
pub(super) type Words = [u16; 16];

/// The number of a word that starts at this byte of a frame.
const fn word(at: usize) -> usize {
    (at - START) / 2
}

/// What IPv4 packets become whose destination is always the same before.
///
/// In this order no words cross the end of a line where a [`ServerWay`](super::server_way::ServerWay) has it.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Redirect4 {
    /// The new Ethernet header.
    link: [u8; L3],
    /// The bits that turn before, as it is their complements that are added to (RFC 1624 eqn. 3): all but
    /// UDP's checksum, which so never becomes 0, as that would say that there is none (RFC 768). Not known
    /// to the compiler, which would make something special of each word.
    before: Words,
    /// The bits that turn after.
    after: Words,
    /// What is added with the carry at the low end, to packets of TCP and of UDP.
    added: [Words; 2],
    /// The class that [marked](Redirected::redirect_marked) packets get which had none. What that
    /// changes in the header's checksum is among the added.
    class: u8,
}

/// What IPv4 packets of one protocol become whose source is always the same before.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(super) struct Restored4 {
    /// The same as in [`Redirect4`], as the next two.
    added: Words,
    before: Words,
    after: Words,
}

/// What is added to packets of TCP and of UDP.
fn added(to: &Target<Ipv4Addr>) -> [Words; 2] {
    let Sums { header, upper } = Sums::new(to.address, to.port);
    let header = fold(u32::from(header) + to.dscp.map_or(0, |dscp| class_change(0, dscp << 2)));
    let mut added = [[0; 16]; 2];
    for added in &mut added {
        added[word(at::HOPS)] = u16::from_ne_bytes([1, 0]);
        added[word(at::CHECKSUM)] = header;
    }
    added[0][word(at::TCP_CHECKSUM)] = upper;
    added[1][word(at::UDP_CHECKSUM)] = !upper;
    added
}

/// The bits that turn before and after, where an address and a port at these bytes of a frame become
/// others.
fn turned((address_at, port_at): (usize, usize), to: &Target<Ipv4Addr>) -> (Words, Words) {
    let mut before = [u16::MAX; 16];
    before[word(at::UDP_CHECKSUM)] = 0;
    let mut after = before;
    let [from, to_address] = [to.address.0, to.address.1].map(|address| address.octets());
    let port = to.port.map_or([[0; 2]; 2], |(from, to)| [from, to].map(u16::to_be_bytes));
    let bytes = [(address_at, &from[..], &to_address[..]), (port_at, &port[0], &port[1])];
    for (at, from, to) in bytes {
        let pairs = from.as_chunks().0.iter().zip(to.as_chunks().0);
        for (offset, (from, to)) in pairs.enumerate() {
            after[word(at) + offset] ^= u16::from_ne_bytes(*from) ^ u16::from_ne_bytes(*to);
        }
    }
    (before, after)
}

impl Redirect4 {
    fn new(link: [u8; L3], to: &Target<Ipv4Addr>) -> Self {
        let class = to.dscp.map_or(0, |dscp| dscp << 2);
        let added = added(to);
        let (before, after) = turned((at::DESTINATION, at::PORT), to);
        Self { link, before, after, added, class }
    }

    #[inline(always)]
    fn change(&self, head: &mut [u8; HEAD], udp: bool) -> Option<()> {
        change(head, &self.link, (&self.added[usize::from(udp)], &self.before, &self.after))
    }
}

impl Restored4 {
    fn new(to: &Target<Ipv4Addr>, udp: bool) -> Self {
        let added = added(to)[usize::from(udp)];
        let (before, after) = turned((at::SOURCE, at::SOURCE_PORT), to);
        Self { added, before, after }
    }
}

/// What the words of a packet become, whose hops are not 0.
#[inline(always)]
fn changed(words: &Words, (added, before, after): (&Words, &Words, &Words)) -> Words {
    let mut changed = [0; 16];
    for at in 0..words.len() {
        // If there is no checksum, it stays so.
        let kept = if words[at] | before[at] == 0 { 0 } else { u16::MAX };
        let (sum, carry) = (words[at] ^ before[at]).overflowing_add(added[at] & kept);
        changed[at] = sum.wrapping_add(u16::from(carry)) ^ after[at];
    }
    changed
}

/// Changes words of a packet.
#[inline(always)]
pub(super) fn change_words(bytes: &mut [u8; 32], by: (&Words, &Words, &Words)) {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u16::from_ne_bytes(*bytes);
    }
    let changed = changed(&words, by);
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(changed) {
        *bytes = word.to_ne_bytes();
    }
}

#[inline(always)]
fn change(head: &mut [u8; HEAD], link: &[u8; L3], by: (&Words, &Words, &Words)) -> Option<()> {
    change_words(part(head, START)?, by);
    // By two moves that overlap.
    *part::<8, HEAD>(head, 0)? = *link.first_chunk()?;
    *part::<8, HEAD>(head, L3 - 8)? = *link.last_chunk()?;
    Some(())
}

/// What the header's checksum has to follow when a class becomes another: `~m + m'` (RFC 1624 eqn. 3).
#[inline(always)]
fn class_change(from: u8, to: u8) -> u32 {
    let word = |class| u16::from_ne_bytes([0x45, class]);
    u32::from(!word(from)) + u32::from(word(to))
}

/// Sets the class of a marked packet that had one, where it and the checksum are as if it had had none.
#[inline(never)]
fn mark_again(head: &mut [u8; HEAD], old: u8) {
    let without = head[at::CLASS];
    let class = without | old & ECN;
    head[at::CLASS] = class;
    let change = fold(class_change(without, 0) + class_change(old, class));
    if let Some(checksum) = part(head, at::CHECKSUM) {
        *checksum = updated(u16::from_ne_bytes(*checksum), change).to_ne_bytes();
    }
}

impl Redirected for Ip4 {
    type Redirect = Redirect4;
    type Restored = Restored4;

    fn redirection(link: [u8; L3], to: &Target<Ipv4Addr>) -> Redirect4 {
        Redirect4::new(link, to)
    }

    #[inline(always)]
    fn redirect(data: &mut [u8], to: &Redirect4, udp: bool) -> bool {
        // No closure, as the compiler may make a call of it.
        let Some(head) = data.first_chunk_mut() else { return false };
        to.change(head, udp).is_some()
    }

    #[inline(always)]
    fn redirect_marked(data: &mut [u8], to: &Redirect4, udp: bool) -> bool {
        let Some(head) = data.first_chunk_mut() else { return false };
        let old = head[at::CLASS];
        let changed = to.change(head, udp).is_some();
        head[at::CLASS] = to.class;
        // Nothing else reads words of those that were changed at once, or the compiler would change each
        // for itself.
        if old != 0 {
            mark_again(head, old);
        }
        changed
    }

    fn restoration(to: &Target<Ipv4Addr>, udp: bool) -> Restored4 {
        Restored4::new(to, udp)
    }

    #[inline(always)]
    fn restore(data: &mut [u8], link: &[u8; L3], to: &Restored4, _udp: bool) -> bool {
        let Some(head) = data.first_chunk_mut() else { return false };
        change(head, link, (&to.added, &to.before, &to.after)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use dataplane::wire::Header;
    use dataplane::wire::ipv4::protocol;
    use proptest::prelude::*;

    use super::super::readdress::{NewEnd, Readdress, Side};
    use super::*;

    proptest! {
        #[test]
        fn ip4_is_redirected_as_it_is_readdressed(
            mut data in prop::collection::vec(any::<u8>(), 60), tcp: bool, from: u32, to: u32,
            ports in prop::option::of((any::<u16>(), any::<u16>())), none in 0..8,
            dscp in prop::option::of(0_u8..64), unmarked: bool,
        ) {
            let [from, to] = [from, to].map(Ipv4Addr::from_bits);
            if unmarked {
                data[at::CLASS] = 0;
            }
            data[at::PROTOCOL] = if tcp { protocol::TCP } else { protocol::UDP };
            data[at::DESTINATION..][..4].copy_from_slice(&from.octets());
            (data[14], data[at::HOPS]) = (0x45, data[at::HOPS].max(2));
            if let Some((port, _)) = ports {
                data[at::PORT..][..2].copy_from_slice(&port.to_be_bytes());
            }
            if none == 0 && !tcp {
                data[at::UDP_CHECKSUM..][..2].fill(0);
            }
            Ipv4Header::at_mut(&mut data, L3).unwrap().fill_checksum();
            let mut expected = data.clone();
            let port = ports.map(|(_, to)| to);
            Ip4::readdress(&mut expected, L3, Side::Destination, &NewEnd::new(to), port);
            expected[..L3].fill(9);
            if let Some(dscp) = dscp {
                Ipv4Header::at_mut(&mut expected, L3).unwrap().set_dscp(dscp);
            }
            let to = Ip4::redirection([9; L3], &Target { address: (from, to), port: ports, dscp });
            let redirect = dscp.map_or(Ip4::redirect as fn(&mut _, &_, _) -> _, |_| Ip4::redirect_marked);
            prop_assert!(redirect(&mut data, &to, !tcp));
            prop_assert_eq!(data, expected);
        }

        #[test]
        fn ip4_is_restored_as_it_is_readdressed(
            mut data in prop::collection::vec(any::<u8>(), 60), tcp: bool, from: u32, to: u32,
            ports: (u16, u16), none in 0..8,
        ) {
            let [from, to] = [from, to].map(Ipv4Addr::from_bits);
            data[at::PROTOCOL] = if tcp { protocol::TCP } else { protocol::UDP };
            data[at::SOURCE..][..4].copy_from_slice(&from.octets());
            data[at::SOURCE_PORT..][..2].copy_from_slice(&ports.0.to_be_bytes());
            (data[14], data[at::HOPS]) = (0x45, data[at::HOPS].max(2));
            if none == 0 && !tcp {
                data[at::UDP_CHECKSUM..][..2].fill(0);
            }
            Ipv4Header::at_mut(&mut data, L3).unwrap().fill_checksum();
            let mut expected = data.clone();
            Ip4::readdress(&mut expected, L3, Side::Source, &NewEnd::new(to), Some(ports.1));
            expected[..L3].fill(9);
            let to = Target { address: (from, to), port: Some(ports), dscp: None };
            let to = Ip4::restoration(&to, !tcp);
            prop_assert!(Ip4::restore(&mut data, &[9; L3], &to, !tcp));
            prop_assert_eq!(data, expected);
        }
    }

    #[test]
    fn short_frames_stay_as_they_are() {
        let to = Ipv4Addr::new(10, 0, 0, 2);
        let mut data = [7; HEAD - 1];
        let to = Target { address: (to, to), port: None, dscp: None };
        assert!(!Ip4::redirect(&mut data, &Ip4::redirection([0; L3], &to), true));
        assert_eq!(data, [7; HEAD - 1]);
    }
}
