//! [`Answerer`]: what most replies need of the service that they come from.

use balancer::{Address, AsId, FlowTuple, KeyKind, TcpFlags, VipId, Visit};
use dataplane::wire::ipv4::protocol;

use super::services::Source;

/// How many sources are remembered.
pub(super) const CELLS: usize = 4096;

/// A source in a snapshot. All of an IPv4 one is in the first number: from the low end on, the address as
/// packets have it 32 bits, the port likewise 16, the protocol 8, the generation's low end 8. Of an IPv6 one
/// the address is in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name(u64, u128);

impl Name {
    /// So many low bits of a generation are in a name.
    pub(super) const GENERATION_BITS: u32 = 8;

    /// No packet's: not of UDP or TCP.
    const NOBODY: Self = Self(u64::MAX, 0);

    /// What all sources of this protocol have in the first number in a snapshot of this generation.
    pub(super) fn start(generation: u64, upper: u8) -> u64 {
        generation << (u64::BITS - Self::GENERATION_BITS) | u64::from(upper) << 48
    }

    /// Of the source of a packet, where this is what all [start](Self::start) with.
    #[inline(always)]
    pub(super) fn of_source<A: Address>(start: u64, tuple: &FlowTuple<A>) -> Self {
        let numbers = start | u64::from(tuple.src_port.swap_bytes()) << 32;
        let address = tuple.src.wire_bits();
        if A::IS_V6 { Self(numbers, address) } else { Self(numbers | address as u64, 0) }
    }

    /// Where the source is remembered.
    #[inline(always)]
    pub(super) fn position(self) -> usize {
        let folded = self.0 ^ self.1 as u64 ^ (self.1 >> 64) as u64;
        (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize % CELLS
    }

    /// Whether both are the same source, with an address of this family.
    #[inline(always)]
    pub(super) fn is<A: Address>(self, other: Self) -> bool {
        self.0 == other.0 && (!A::IS_V6 || self.1 == other.1)
    }
}

/// How far a source is a service whose packets are taken at a glance, as one number.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Manner(u8);

impl Manner {
    /// It is none, or one that takes more.
    const OTHER: Self = Self(u8::MAX);

    /// All packets of a service whose VIP has keys of this kind.
    const fn all(kind: KeyKind) -> Self {
        Self(kind as u8)
    }

    /// All but SYNs, which are changed.
    const fn but_for_syns(kind: KeyKind) -> Self {
        Self(kind as u8 | 0x80)
    }
}

/// What is known of a source, for a loop.
// A power of two, so that a shift finds it.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Answerer {
    pub(super) name: Name,
    /// What its packets do to their flows, but for flags.
    pub(super) visit: Visit,
    pub(super) vip: VipId,
    pub(super) server: AsId,
    manner: Manner,
}

impl Answerer {
    /// No source. AS and VIP are any.
    pub(super) const NONE: Self = Self::other(Name::NOBODY);

    const fn other(name: Name) -> Self {
        let (Some(vip), Some(server)) = (VipId::new(0), AsId::new(0)) else {
            panic!("there is a first one")
        };
        Self { name, visit: Visit::NONE, vip, server, manner: Manner::OTHER }
    }

    /// What is known of the source with this name, of this protocol.
    pub(super) fn new<A>(name: Name, source: &Source<A>, upper: u8) -> Self {
        let Source::One(service) = source else { return Self::other(name) };
        let changes_syns = service.mss && upper == protocol::TCP;
        let manner = if changes_syns { Manner::but_for_syns } else { Manner::all };
        Self {
            name,
            visit: service.visit,
            vip: service.vip,
            server: service.server,
            manner: manner(service.kind),
        }
    }

    /// Whether it is the service of a VIP with keys of this kind, and a packet of it of this protocol, with
    /// these flags, is taken at a glance.
    #[inline(always)]
    pub(super) fn takes(&self, kind: KeyKind, upper: u8, flags: TcpFlags) -> bool {
        let all_but_syns = upper == protocol::TCP && self.manner == Manner::but_for_syns(kind);
        self.manner == Manner::all(kind) || all_but_syns && !flags.contains(TcpFlags::SYN)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// Sources that differ in one thing have other names, and none has nobody's.
    fn check_names<A: Address + PartialEq>(base: u128) {
        let tuple = |bits: u128, src_port, protocol| FlowTuple {
            src: A::from_bits(bits),
            dst: A::from_bits(7),
            src_port,
            dst_port: 9,
            protocol,
        };
        let name = |generation, bits, port, protocol| {
            let start = Name::start(generation, protocol);
            Name::of_source(start, &tuple(bits, port, protocol))
        };
        let one = name(300, base, 80, protocol::TCP);
        assert!(one.is::<A>(name(300, base, 80, protocol::TCP)) && !one.is::<A>(Name::NOBODY));
        let all_ones = name(u64::MAX, u128::MAX, u16::MAX, protocol::UDP);
        assert!(!all_ones.is::<A>(Name::NOBODY));
        let mut others = vec![
            name(301, base, 80, protocol::TCP),
            name(300, base, 80, protocol::UDP),
            name(300, base, 0x5000, protocol::TCP),
        ];
        others.extend((0..A::BITS).map(|bit| name(300, base ^ 1 << bit, 80, protocol::TCP)));
        others.extend((0..16).map(|bit| name(300, base, 80 ^ 1 << bit, protocol::TCP)));
        assert!(others.iter().all(|other| !one.is::<A>(*other)));
        let mut places: Vec<_> = others.iter().map(|name| name.position()).collect();
        places.sort_unstable();
        places.dedup();
        assert!(places.len() * 3 > others.len(), "most are in other places");
    }

    #[test]
    fn sources_are_told_apart() {
        check_names::<Ipv4Addr>(0x0a00_0001);
        check_names::<Ipv6Addr>(0x2001_0db8_u128 << 96 | 1);
    }
}
