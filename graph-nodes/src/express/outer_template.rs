//! [`OuterTemplate`]: everything in front of a tunnelled packet that is the same for all packets to
//! an AS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
use super::readdress::fold;
use crate::encapsulation::{Outer, OuterFamily, Shim};

/// The longest template: two VLAN tags, IPv6 and UDP.
const LEN_MAX: usize = L2_HEADER_MAX + Ipv6Header::LEN + UdpHeader::LEN;

/// What of a packet its outer header shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner {
    pub(super) class: u8,
    pub(super) dont_fragment: bool,
    /// Bytes of the IP packet.
    pub(super) len: u16,
    /// Hash of the flow; any number unless [`OuterTemplate::shows_flow`].
    pub(super) hash: u64,
}

/// The bytes from the Ethernet header to the packet, and what is still to be filled in.
#[derive(Clone, Debug)]
pub(super) struct OuterTemplate {
    bytes: [u8; LEN_MAX],
    len: u8,
    /// Bytes of the Ethernet header.
    l2: u8,
    v6: bool,
    gue: bool,
    /// The source comes from the flow.
    entropy: bool,
    /// Nothing of the following three, and no longer than what [`copy_in_two`] takes.
    plain: bool,
    /// Bytes that it adds in front, the plain Ethernet header not counted.
    front: u16,
    /// Bits of the inner class that the outer one keeps, and those it always has.
    class: [u8; 2],
    /// What becomes of the inner DF: kept, and always set.
    dont_fragment: [bool; 2],
    /// Sum of the IPv4 header, not folded, with zeros where something is to be filled in.
    sum: u32,
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
        let l2 = link.len();
        let ip = l2 + O::Header::LEN;
        let len = ip + shim.len();
        let mut bytes = [0; LEN_MAX];
        bytes.get_mut(..l2)?.copy_from_slice(link.as_bytes());
        O::write(bytes.get_mut(l2..)?, &outer, shim.protocol(F::V6), 0);
        shim.write(&mut bytes, ip, F::ETHER_TYPE, 0);
        let mut header_sum = 0;
        if !O::V6 {
            let header = Ipv4Header::at_mut(&mut bytes, l2)?;
            header.checksum.set(0);
            header.total_len.set(0);
            if entropy.is_some() {
                header.source = [0; 4];
            }
            header_sum = u32::from(sum(bytes.get(l2..ip)?).fold());
        }
        // All bits of the one, and none of the other, come from the inner class.
        let [set, all] =
            [0, u8::MAX].map(|inner| outer_traffic_class(inner, policy.dscp, policy.ecn));
        Some(Self {
            bytes,
            len: len as u8,
            front: u16::try_from(len.checked_sub(L3)?).ok()?,
            class: [all ^ set, set],
            dont_fragment: [policy.df == TunnelDf::Copy, policy.df == TunnelDf::Set],
            l2: l2 as u8,
            plain: !O::V6
                && path.method != Method::Gue
                && entropy.is_none()
                && (HALF..=2 * HALF).contains(&len),
            v6: O::V6,
            gue: path.method == Method::Gue,
            entropy: entropy.is_some(),
            sum: header_sum,
        })
    }

    /// Whether it is IPv4's, does not depend on the flow, and is copied by two moves.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// [`wrap`](Self::wrap) for a [plain](Self::is_plain) one.
    #[inline(always)]
    pub(super) fn wrap_plain(
        &self,
        packet: &mut Packet,
        inner: Inner,
        next_id: impl FnOnce() -> u16,
    ) -> bool {
        packet.truncate(L3 + usize::from(inner.len));
        if !packet.prepend(self.front) {
            return false;
        }
        let (len, ip) = (usize::from(self.len), usize::from(self.l2));
        let data = packet.data_mut();
        let (Some(from), Some(to)) = (self.bytes.get(..len), data.get_mut(..len)) else {
            return false;
        };
        copy_in_two(from, to);
        let Some(header) = Ipv4Header::at_mut(to, ip) else { return false };
        let dont_fragment = inner.dont_fragment & self.dont_fragment[0] | self.dont_fragment[1];
        let field = u16::from(dont_fragment) << Ipv4Header::DONT_FRAGMENT.trailing_zeros();
        let id = if dont_fragment { 0 } else { next_id() };
        let class = inner.class & self.class[0] | self.class[1];
        let total = self.front + L3 as u16 - u16::from(self.l2) + inner.len;
        let words = u32::from(class) + u32::from(total) + u32::from(field) + u32::from(id);
        header.tos = class;
        header.total_len.set(total);
        header.id.set(id);
        header.fragment.set(field);
        header.checksum.set(!fold(self.sum + words));
        true
    }

    /// Whether the outer header depends on the flow.
    pub(super) fn shows_flow(&self) -> bool {
        self.v6 || self.gue || self.entropy
    }

    /// Puts itself in front of the IP packet that stands behind a plain Ethernet header, and cuts
    /// off what stands behind it. `next_id` gives the identification of an IPv4 packet that may be
    /// fragmented. False when there is no room in front.
    #[inline(always)]
    pub(super) fn wrap(
        &self,
        packet: &mut Packet,
        policy: &TunnelPolicy,
        inner: Inner,
        next_id: impl FnOnce() -> u16,
    ) -> bool {
        packet.truncate(L3 + usize::from(inner.len));
        let len = usize::from(self.len);
        if !packet.prepend(self.front) {
            return false;
        }
        let data = packet.data_mut();
        if !self.copy_to(data) {
            return false;
        }
        let payload = (len - usize::from(self.l2)) as u16 + inner.len;
        let [kept, set] = self.class;
        let class = inner.class & kept | set;
        if self.v6 {
            self.fill_v6(data, policy, class, payload, inner.hash);
        } else {
            let [kept, set] = self.dont_fragment;
            let dont_fragment = inner.dont_fragment & kept | set;
            let id = if dont_fragment { 0 } else { next_id() };
            self.fill_v4(data, policy, (class, payload, dont_fragment, id), inner.hash);
        }
        if self.gue
            && let Some(udp) = UdpHeader::at_mut(data, len - UdpHeader::LEN)
        {
            udp.source_port.set(Shim::gue_source_port(inner.hash));
            udp.len.set(UdpHeader::LEN as u16 + inner.len);
        }
        true
    }

    /// Nearly all lengths are copied by two moves of 32 bytes that overlap, instead of by a call.
    #[inline(always)]
    fn copy_to(&self, data: &mut [u8]) -> bool {
        let len = usize::from(self.len);
        let (Some(from), Some(to)) = (self.bytes.get(..len), data.get_mut(..len)) else {
            return false;
        };
        if (HALF..=2 * HALF).contains(&len) {
            copy_in_two(from, to);
        } else {
            copy_long(from, to);
        }
        true
    }

    #[inline]
    fn fill_v4(
        &self,
        data: &mut [u8],
        policy: &TunnelPolicy,
        (class, len, dont_fragment, id): (u8, u16, bool, u16),
        hash: u64,
    ) {
        let Some(header) = Ipv4Header::at_mut(data, usize::from(self.l2)) else { return };
        let field = if dont_fragment { Ipv4Header::DONT_FRAGMENT } else { 0 };
        let mut sum =
            self.sum + u32::from(class) + u32::from(len) + u32::from(field) + u32::from(id);
        if self.entropy
            && let Some(source) = Ip4::entropy(policy, hash)
        {
            let bits = Ipv4Addr::to_bits(source);
            sum += (bits >> 16) + (bits & 0xffff);
            header.source = source.octets();
        }
        header.tos = class;
        header.total_len.set(len);
        header.id.set(id);
        header.fragment.set(field);
        header.checksum.set(!fold(sum));
    }

    #[inline]
    fn fill_v6(&self, data: &mut [u8], policy: &TunnelPolicy, class: u8, len: u16, hash: u64) {
        let Some(header) = Ipv6Header::at_mut(data, usize::from(self.l2)) else { return };
        header.version_class_flow.set(Ipv6Header::first_word(class, hash as u32));
        header.payload_len.set(len - Ipv6Header::LEN as u16);
        if self.entropy
            && let Some(source) = Ip6::entropy(policy, hash)
        {
            header.source = Ipv6Addr::octets(&source);
        }
    }
}

/// A move of this many bytes is one instruction.
const HALF: usize = 32;

/// Copies from 32 to 64 bytes by two moves that overlap.
#[inline(always)]
fn copy_in_two(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.last_chunk::<HALF>(), to.last_chunk_mut::<HALF>()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.first_chunk::<HALF>(), to.first_chunk_mut::<HALF>()) {
        *to = *from;
    }
}

/// Out of the way, or the compiler makes one call of this copy and the two moves.
#[cold]
#[inline(never)]
fn copy_long(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
}
