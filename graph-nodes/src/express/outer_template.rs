//! [`OuterTemplate`]: everything in front of a tunnelled packet that is the same for all packets to
//! an AS.

use std::net::{IpAddr, Ipv6Addr};

use dataplane::adjacency::{L2_HEADER_MAX, L2Header};
use dataplane::family::{Family, Ip4, Ip6};
use dataplane::forwarding::{Method, ServerPath, TunnelDf, TunnelPolicy};
use dataplane::packet::Packet;
use dataplane::wire::Header;
use dataplane::wire::checksum::sum;
use dataplane::wire::ecn::outer_traffic_class;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::wire::udp::UdpHeader;

use super::ordinary::L3;
use crate::encapsulation::{Outer, OuterFamily, Shim};

/// The line in front of a packet, which begins one where ports leave the usual headroom. Whatever is
/// put in front fits into it.
const FRONT: usize = 64;

/// What is written: the line in front, and the old Ethernet header.
const TEMPLATE: usize = FRONT + L3;

/// With what is [shown](Wrapped::shown) of the packet behind.
const ROOM: usize = TEMPLATE + 8;

/// Where in the line what is [plain](OuterTemplate::is_plain) starts at the earliest.
const PLAIN: usize = FRONT / 2;

const _: () = assert!(L2_HEADER_MAX + Ipv6Header::LEN + UdpHeader::LEN <= TEMPLATE);

/// Bits of the first 8 bytes of an IPv4 header as a number: class, length, DF.
mod at4 {
    pub(super) const CLASS: u32 = 48;
    pub(super) const LEN: u32 = 32;
    pub(super) const ID: u32 = 16;
    pub(super) const DONT_FRAGMENT: u64 = 1 << 14;
}

/// The same of an IPv6 header.
mod at6 {
    pub(super) const CLASS: u32 = 52;
    /// With the version above.
    pub(super) const LABEL: u32 = 32;
    pub(super) const LEN: u32 = 16;
}

/// A family whose packets are put into others.
pub(super) trait Wrapped: Family {
    /// What an outer header shows of an ordinary packet in a plain Ethernet frame: class, length of
    /// the IP packet, and DF, where an IPv4 header's first 8 bytes have them. The other bits are any.
    fn shown(data: &[u8]) -> Option<u64>;
}

/// The first 8 bytes of an IP header as a number.
#[inline(always)]
fn first_word(data: &[u8]) -> Option<u64> {
    let [.., a, b, c, d, e, f, g, h] = *data.first_chunk::<{ L3 + 8 }>()?;
    Some(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

impl Wrapped for Ip4 {
    #[inline(always)]
    fn shown(data: &[u8]) -> Option<u64> {
        first_word(data)
    }
}

impl Wrapped for Ip6 {
    /// Routers fragment no IPv6 packet.
    #[inline(always)]
    fn shown(data: &[u8]) -> Option<u64> {
        let word = first_word(data)?;
        let len = Ipv6Header::LEN as u64 + (word >> at6::LEN & 0xffff);
        Some(word >> at6::CLASS << at4::CLASS | len << at4::LEN | at4::DONT_FRAGMENT)
    }
}

/// The bytes from the Ethernet header to the packet, and what is still to be filled in.
///
/// In this order no move crosses the end of a line where a [`ServerWay`](super::server_way::ServerWay) has it.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct OuterTemplate {
    /// Bits of what is [shown](Wrapped::shown) that the outer header keeps. Its length is for IPv4 alone.
    kept: u64,
    /// Ends where the packet starts, so that all templates are copied alike; what is left in front is 0.
    bytes: [u8; TEMPLATE],
    /// Sum of the other words of an IPv4 header but for the checksum, and the source if it comes from
    /// the flow.
    sum: u16,
    /// What is added to what is kept, in the outer header's first 8 bytes as a number.
    added: u64,
    /// Bytes that it adds in front, the plain Ethernet header not counted.
    front: u16,
    /// Where the IP header is.
    ip: u8,
    v6: bool,
    gue: bool,
    /// The source comes from the flow.
    entropy: bool,
    /// It is IPv4's, does not depend on the flow, and starts in the second half of the line.
    plain: bool,
}

impl OuterTemplate {
    /// The template of packets of a family to an AS behind this link; `None` when their outer
    /// header has no source or they need none.
    pub(super) fn new<F: Family>(
        policy: &TunnelPolicy,
        path: &ServerPath,
        link: &L2Header,
    ) -> Option<Self> {
        match path.address {
            IpAddr::V4(address) => Self::over::<F, Ip4>(policy, path, address, link),
            IpAddr::V6(address) => Self::over::<F, Ip6>(policy, path, address, link),
        }
    }

    fn over<F: Family, O: OuterFamily>(
        policy: &TunnelPolicy,
        path: &ServerPath,
        destination: O::Address,
        link: &L2Header,
    ) -> Option<Self> {
        let shim = match path.method {
            Method::Gre => Shim::Gre,
            Method::Gue => Shim::gue(policy, 0),
            Method::Ipip => Shim::Plain,
            Method::L3dsr { .. } | Method::DirectRouting | Method::Nat => return None,
        };
        let entropy = O::entropy(policy, 0);
        let source = entropy.or_else(|| O::address(path.tunnel_source?))?;
        let outer = Outer::blank((source, destination), policy.ttl, shim);
        let l3 = link.len() + O::Header::LEN;
        let len = l3 + shim.len();
        let start = TEMPLATE.checked_sub(len)?;
        let ip = start + link.len();
        let mut bytes = [0; TEMPLATE];
        bytes.get_mut(start..ip)?.copy_from_slice(link.as_bytes());
        O::write(bytes.get_mut(ip..)?, &outer, shim.protocol(F::V6), 0);
        shim.write(&mut bytes, start + l3, F::ETHER_TYPE, 0);
        let gue = path.method == Method::Gue;
        let mut template = Self {
            bytes,
            ip: ip as u8,
            front: u16::try_from(len.checked_sub(L3)?).ok()?,
            v6: O::V6,
            gue,
            entropy: entropy.is_some(),
            plain: !O::V6 && !gue && entropy.is_none() && start >= PLAIN,
            kept: 0,
            added: 0,
            sum: 0,
        };
        template.settle(policy)?;
        Some(template)
    }

    /// Works out what is filled in, from the bytes.
    fn settle(&mut self, policy: &TunnelPolicy) -> Option<()> {
        let ip = usize::from(self.ip);
        // All bits of the one, and none of the other, come from the inner class.
        let [set, all] = [0, u8::MAX]
            .map(|inner| u64::from(outer_traffic_class(inner, policy.dscp, policy.ecn)));
        let first = |bytes: &[u8]| bytes.get(ip..)?.first_chunk().copied().map(u64::from_be_bytes);
        self.kept = (all ^ set) << at4::CLASS;
        if self.v6 {
            let more = (TEMPLATE - ip - Ipv6Header::LEN) as u64;
            // The version comes with the label.
            let rest = first(&self.bytes)? & u64::from(u32::MAX);
            self.added = rest + (set << at6::CLASS) + (more << at6::LEN);
            return Some(());
        }
        let header = Ipv4Header::at_mut(&mut self.bytes, ip)?;
        header.checksum.set(0);
        header.total_len.set(0);
        if self.entropy {
            header.source = [0; 4];
        }
        let (kept, always) = match policy.df {
            TunnelDf::Copy => (at4::DONT_FRAGMENT, 0),
            TunnelDf::Set => (0, at4::DONT_FRAGMENT),
            TunnelDf::Clear => (0, 0),
        };
        let more = (TEMPLATE - ip) as u64;
        self.kept |= kept | 0xffff << at4::LEN;
        self.added = first(&self.bytes)? + (set << at4::CLASS) + (more << at4::LEN) + always;
        self.sum = sum(self.bytes.get(ip + 8..ip + Ipv4Header::LEN)?).fold();
        Some(())
    }

    /// Whether it is IPv4's, does not depend on the flow, and is short: GRE and IPIP over IPv4.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// [`wrap`](Self::wrap) for a [plain](Self::is_plain) one.
    #[inline(always)]
    pub(super) fn wrap_plain<F: Wrapped>(
        &self,
        packet: &mut Packet,
        len: u16,
        next_id: impl FnOnce() -> u16,
    ) -> bool {
        let Some((room, shown)) = self.copy::<F, PLAIN>(packet, len) else { return false };
        self.fill_v4(room, shown, 0, next_id);
        true
    }

    /// Puts itself in front of the IP packet of `len` bytes that stands behind a plain Ethernet header,
    /// and cuts off what stands behind it. `hash` is the flow's, or any number for a
    /// [plain](Self::is_plain) one. `next_id` gives the identification of an IPv4 packet that may be
    /// fragmented. False, and the packet is as it was, when there is not a whole line of room in front.
    #[inline(always)]
    pub(super) fn wrap<F: Wrapped>(
        &self,
        packet: &mut Packet,
        policy: &TunnelPolicy,
        (len, hash): (u16, u64),
        next_id: impl FnOnce() -> u16,
    ) -> bool {
        let Some((room, shown)) = self.copy::<F, 0>(packet, len) else { return false };
        if self.v6 {
            self.fill_v6(room, policy, (shown, len, hash));
        } else {
            let source = if self.entropy { self.fill_source(room, policy, hash) } else { 0 };
            self.fill_v4(room, shown, source, next_id);
        }
        if self.gue
            && let Some(udp) = UdpHeader::at_mut(room, TEMPLATE - UdpHeader::LEN)
        {
            udp.source_port.set(Shim::gue_source_port(hash));
            udp.len.set(UdpHeader::LEN as u16 + len);
        }
        true
    }

    /// Copies itself, from byte `FROM` on, in front of an IP packet of `len` bytes, and tells what that
    /// shows. No move crosses the end of a line.
    #[inline(always)]
    fn copy<'p, F: Wrapped, const FROM: usize>(
        &self,
        packet: &'p mut Packet,
        len: u16,
    ) -> Option<(&'p mut [u8; ROOM], u64)> {
        let room = packet.reframe::<FRONT, ROOM>(L3 as u16 + len, self.front)?;
        let shown = F::shown(&room[FRONT..])?;
        room[FROM..FRONT].copy_from_slice(&self.bytes[FROM..FRONT]);
        room[FRONT..TEMPLATE].copy_from_slice(&self.bytes[FRONT..]);
        Some((room, shown))
    }

    /// Where the IP header is; the remainder is for the compiler.
    #[inline(always)]
    fn ip(&self) -> usize {
        usize::from(self.ip) % FRONT
    }

    /// All of an IPv4 header but for the source, of which the sum is told.
    #[inline(always)]
    fn fill_v4(
        &self,
        room: &mut [u8; ROOM],
        shown: u64,
        source: u64,
        next_id: impl FnOnce() -> u16,
    ) {
        const CHECKSUM: usize = 10;
        let Some(header) = room.get_mut(self.ip()..self.ip() + Ipv4Header::LEN) else { return };
        let mut first = (shown & self.kept) + self.added;
        if first & at4::DONT_FRAGMENT == 0 {
            first += u64::from(next_id()) << at4::ID;
        }
        header[..8].copy_from_slice(&first.to_be_bytes());
        // No carry is lost, as it begins with the version.
        let checksum = !fold(first + u64::from(self.sum) + source);
        header[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    /// The source that the flow gives an IPv4 header; returns its sum.
    #[inline]
    fn fill_source(&self, room: &mut [u8; ROOM], policy: &TunnelPolicy, hash: u64) -> u64 {
        let Some(header) = Ipv4Header::at_mut(room, self.ip()) else { return 0 };
        let Some(source) = Ip4::entropy(policy, hash) else { return 0 };
        header.source = source.octets();
        u64::from(source.to_bits())
    }

    #[inline(always)]
    fn fill_v6(
        &self,
        room: &mut [u8; ROOM],
        policy: &TunnelPolicy,
        (shown, len, hash): (u64, u16, u64),
    ) {
        let ip = self.ip();
        let Some(header) = room.get_mut(ip..ip + Ipv6Header::LEN) else { return };
        let class = (shown & self.kept) >> at4::CLASS << at6::CLASS;
        let label = u64::from(Ipv6Header::first_word(0, hash as u32)) << at6::LABEL;
        let first = self.added + class + label + (u64::from(len) << at6::LEN);
        header[..8].copy_from_slice(&first.to_be_bytes());
        if self.entropy
            && let Some(source) = Ip6::entropy(policy, hash)
        {
            header[8..24].copy_from_slice(&Ipv6Addr::octets(&source));
        }
    }
}

/// The one's complement sum of the words of 16 bits. Half a number and the other half, added to each
/// other in either order, carry into the upper half just what is carried out of it.
#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum.wrapping_add(sum.rotate_right(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_right(16)) >> 16) as u16
}
