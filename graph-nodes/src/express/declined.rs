//! [`Declined`]: who had a packet in this frame that did not take the express way.

use std::net::{Ipv4Addr, Ipv6Addr};

use balancer::Address;
use dataplane::wire::Header;
use dataplane::wire::ethernet::{VlanHeader, ether_type};
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::ipv6::Ipv6Header;

use super::ordinary::{L3, Ordinary, OrdinaryFamily};

const WORDS: usize = 32;

/// Pairs of addresses, by a hash of 11 bits. The packets of a pair stay in order: what comes behind
/// a declined packet is declined too, until the end of the frame. Of 256 packets, each between
/// others, one in eight keeps a stranger from the express way.
#[derive(Debug, Default)]
pub(super) struct Declined {
    bits: [u64; WORDS],
    any: bool,
}

#[inline]
fn position<A: Address>(source: A, destination: A) -> (usize, u64) {
    let fold = |bits: u128| bits as u64 ^ (bits >> 64) as u64;
    let pair = fold(source.bits()) ^ fold(destination.bits()).rotate_left(32);
    let hash = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
    ((hash / 64) as usize % WORDS, 1 << (hash % 64))
}

impl Declined {
    /// Forgets all.
    #[inline]
    pub(super) fn clear(&mut self) {
        if self.any {
            *self = Self::default();
        }
    }

    /// Remembers the sender and receiver of a packet.
    pub(super) fn add<A: Address>(&mut self, source: A, destination: A) {
        let (word, bit) = position(source, destination);
        self.bits[word] |= bit;
        self.any = true;
    }

    /// The same for an ordinary packet.
    pub(super) fn add_ordinary<F: OrdinaryFamily>(&mut self, data: &[u8]) {
        if let Some(Ordinary { tuple, .. }) = F::read(data) {
            self.add(tuple.src, tuple.dst);
        }
    }

    /// The same for a packet that may be of any kind and have VLAN tags.
    pub(super) fn add_frame(&mut self, mut kind: u16, data: &[u8]) {
        let mut l3 = L3;
        while let ether_type::VLAN | ether_type::SERVICE_VLAN = kind {
            let Some(tag) = VlanHeader::at(data, l3) else { return };
            kind = tag.ether_type.get();
            l3 += VlanHeader::LEN;
        }
        match kind {
            ether_type::IPV4 => {
                if let Some(header) = Ipv4Header::at(data, l3) {
                    self.add::<Ipv4Addr>(header.source(), header.destination());
                }
            }
            ether_type::IPV6 => {
                if let Some(header) = Ipv6Header::at(data, l3) {
                    self.add::<Ipv6Addr>(IpHeader::source(header), IpHeader::destination(header));
                }
            }
            _ => {}
        }
    }

    /// Whether there is any such packet.
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Whether a packet from there to there was declined, or it looks so.
    #[inline]
    pub(super) fn has<A: Address>(&self, source: A, destination: A) -> bool {
        let (word, bit) = position(source, destination);
        self.bits[word] & bit != 0
    }
}
