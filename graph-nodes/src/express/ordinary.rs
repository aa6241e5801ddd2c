//! What a packet must be to take the express way, as far as its own bytes tell.

use std::net::{Ipv4Addr, Ipv6Addr};

use balancer::{FlowTuple, TcpFlags};
use dataplane::adjacency::ETHERNET_HEADER_LEN;
use dataplane::family::{Family, Ip4, Ip6};
use dataplane::interface::MacAddress;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::{Ipv4Header, protocol};
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;
use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Where the IP header of every ordinary packet starts.
pub(super) const L3: usize = ETHERNET_HEADER_LEN;

/// An Ethernet address as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Station(u64);

impl Station {
    /// No frame can be for it: a group address.
    pub(super) const NOBODY: Self = Self(u64::MAX);

    const MASK: u64 = 0xffff_ffff_ffff;

    pub(super) fn of(mac: MacAddress) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// The address; nobody's is a group's.
    pub(super) fn octets(self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }
}

/// What the Ethernet header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) station: Station,
    pub(super) ether_type: u16,
}

impl Link {
    #[inline(always)]
    pub(super) fn of(data: &[u8]) -> Option<Self> {
        let header = data.first_chunk::<ETHERNET_HEADER_LEN>()?;
        let start = u64::from_le_bytes(*header.first_chunk()?);
        let ether_type = u16::from_be_bytes([header[12], header[13]]);
        Some(Self { station: Station(start & Station::MASK), ether_type })
    }
}

/// The fields of an ordinary packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ordinary<A> {
    pub(super) tuple: FlowTuple<A>,
    /// None of UDP.
    pub(super) flags: TcpFlags,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    /// A UDP packet without a checksum, where that is forbidden: in IPv6.
    pub(super) unsummed: bool,
}

/// An IP header without anything between it and the header of TCP or UDP, and the start of that.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Start<H> {
    pub(super) ip: H,
    pub(super) source_port: U16,
    pub(super) destination_port: U16,
    /// UDP's length and checksum, or TCP's sequence number.
    rest: [u8; 4],
}

impl Header for Start<Ipv4Header> {}
impl Header for Start<Ipv6Header> {}

/// A family in which packets can be ordinary.
pub(super) trait OrdinaryFamily: Family {
    /// The fields of the packet in a frame, if it is whole and of TCP or UDP, the rules of `ip4-input`
    /// or `ip6-input` let it through (but for those about the places of its addresses in the FIB),
    /// there is nothing special in its header, and it has a hop to spend.
    fn read(data: &[u8]) -> Option<Ordinary<Self::Address>>;

    /// The flow of an ordinary packet, without looking at anything else.
    #[inline(always)]
    fn flow(data: &[u8]) -> Option<FlowTuple<Self::Address>> {
        let ip = Self::Header::at(data, L3)?;
        let ports = data.get(L3 + Self::Header::LEN..)?.first_chunk::<4>()?;
        Some(FlowTuple {
            src: ip.source(),
            dst: ip.destination(),
            src_port: u16::from_be_bytes([ports[0], ports[1]]),
            dst_port: u16::from_be_bytes([ports[2], ports[3]]),
            protocol: Self::upper(ip),
        })
    }

    /// The protocol number in a header without options or extensions.
    fn upper(header: &Self::Header) -> u8;
}

/// Bytes that the header of this protocol has at least; `None` for all but TCP and UDP.
#[inline(always)]
fn upper_header_len(upper: u8) -> Option<usize> {
    match upper {
        protocol::UDP => Some(UdpHeader::LEN),
        protocol::TCP => Some(TcpHeader::LEN),
        _ => None,
    }
}

/// The flags of the TCP header at `l4`; none of UDP.
#[inline(always)]
fn flags(data: &[u8], l4: usize, upper: u8) -> Option<TcpFlags> {
    const FLAGS: usize = 13;
    if upper == protocol::UDP {
        return Some(TcpFlags::NONE);
    }
    data.get(l4 + FLAGS).map(|octet| TcpFlags::from_octet(*octet))
}

/// The start of an IPv4 header without options, as two numbers in the order of the wire from the low
/// end on: what is the same in every ordinary packet is compared at once.
struct Fixed4 {
    /// Version and header length, TOS, total length, identification, flags and fragment offset.
    first: u64,
    /// TTL, protocol, checksum, source.
    second: u64,
}

impl Fixed4 {
    /// Bits of `first`: version and header length; more fragments to come, and the offset.
    const MASK: u64 = 0xff | 0xff3f << 48;
    /// What they are without options, in a whole packet.
    const ORDINARY: u64 = 0x45;

    #[inline(always)]
    fn of(header: &Ipv4Header) -> Option<Self> {
        let (words, _) = header.as_bytes().as_chunks::<8>();
        let [first, second, ..] = words else { return None };
        let (first, second) = (u64::from_le_bytes(*first), u64::from_le_bytes(*second));
        Some(Self { first, second })
    }

    #[inline(always)]
    fn is_ordinary(&self) -> bool {
        let hops = self.second as u8;
        (self.first & Self::MASK == Self::ORDINARY) & (hops > 1)
    }

    #[inline(always)]
    fn len(&self) -> u16 {
        ((self.first >> 16) as u16).swap_bytes()
    }

    #[inline(always)]
    fn upper(&self) -> u8 {
        (self.second >> 8) as u8
    }

    /// True when the header's checksum is right: when the sum of its words, in any byte order
    /// (RFC 1071 §2), is a multiple of 0xffff other than 0, which no header's is.
    #[inline(always)]
    fn sums_to_all_ones(&self, destination: [u8; 4]) -> bool {
        let halves = |word: u64| (word >> 32) + (word & 0xffff_ffff);
        let last = u64::from(u32::from_le_bytes(destination));
        let sum = halves(self.first) + halves(self.second) + last;
        // Below 2^35, and below 2^20 when folded once.
        let sum = ((sum >> 16) + (sum & 0xffff)) as u32;
        sum.is_multiple_of(0xffff)
    }
}

/// Neither nobody's address, nor one of the host itself, nor a group's.
#[inline(always)]
pub(super) fn is_host(first_octet: u8) -> bool {
    (first_octet.wrapping_sub(1) < 223) & (first_octet != 127)
}

impl OrdinaryFamily for Ip4 {
    #[inline(always)]
    fn upper(header: &Ipv4Header) -> u8 {
        header.protocol
    }

    // One branch for all that is the same in every ordinary packet.
    #[inline(always)]
    fn read(data: &[u8]) -> Option<Ordinary<Ipv4Addr>> {
        let Start { ip, source_port, destination_port, .. } = Start::<Ipv4Header>::at(data, L3)?;
        let fixed = Fixed4::of(ip)?;
        let (len, protocol) = (fixed.len(), fixed.upper());
        let least = Ipv4Header::LEN + upper_header_len(protocol)?;
        let ordinary = fixed.is_ordinary()
            & (usize::from(len) >= least)
            & (L3 + usize::from(len) <= data.len())
            & is_host(ip.source[0])
            & fixed.sums_to_all_ones(ip.destination);
        if !ordinary {
            return None;
        }
        let tuple = FlowTuple {
            src: ip.source(),
            dst: ip.destination(),
            src_port: source_port.get(),
            dst_port: destination_port.get(),
            protocol,
        };
        let flags = flags(data, L3 + Ipv4Header::LEN, protocol)?;
        Some(Ordinary { tuple, flags, len, unsummed: false })
    }
}

impl OrdinaryFamily for Ip6 {
    #[inline(always)]
    fn upper(header: &Ipv6Header) -> u8 {
        header.next_header
    }

    #[inline(always)]
    fn read(data: &[u8]) -> Option<Ordinary<Ipv6Addr>> {
        let Start { ip, source_port, destination_port, rest } = Start::<Ipv6Header>::at(data, L3)?;
        // Extension headers are next headers other than TCP and UDP.
        let upper = upper_header_len(ip.next_header)?;
        let len = ip.packet_len();
        let src = IpHeader::source(ip);
        let ordinary = (ip.version() == Ipv6Header::VERSION)
            & (len >= Ipv6Header::LEN + upper)
            & (L3 + len <= data.len())
            & (ip.hop_limit > 1)
            & is_global_unicast(src);
        if !ordinary {
            return None;
        }
        let tuple = FlowTuple {
            src,
            dst: IpHeader::destination(ip),
            src_port: source_port.get(),
            dst_port: destination_port.get(),
            protocol: ip.next_header,
        };
        let flags = flags(data, L3 + Ipv6Header::LEN, ip.next_header)?;
        let unsummed = ip.next_header == protocol::UDP && rest[2..] == [0, 0];
        Some(Ordinary { tuple, flags, len: len as u16, unsummed })
    }
}

/// Neither nobody's address, nor a group's, nor one that is good on its link or host alone.
#[inline]
pub(super) fn is_global_unicast(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    (bits > 1) & (bits >> 120 != 0xff) & (bits >> 118 != 0x3fa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_header() {
        for id in 0..=u16::MAX {
            let mut header = Ipv4Header::read_from_bytes(&[0; 20]).unwrap();
            (header.version_ihl, header.ttl, header.protocol) = (0x45, 64, 17);
            (header.source, header.destination) = ([255, 255, 10, 1], [10, 255, 255, 2]);
            header.id.set(id);
            header.fill_checksum();
            let right = |header: &Ipv4Header| {
                Fixed4::of(header).unwrap().sums_to_all_ones(header.destination)
            };
            assert!(right(&header), "{id}");
            header.checksum.set(header.checksum.get().wrapping_add(1));
            assert!(!right(&header), "{id}");
        }
    }

    #[test]
    fn addresses_of_hosts() {
        for (text, global) in [
            ("2001:db8::1", true),
            ("fdff::1", true),
            ("fec0::1", true),
            ("::2", true),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("febf::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_global_unicast(text.parse().unwrap()), global, "{text}");
        }
    }
}
