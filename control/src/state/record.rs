//! What the directory says of one index, in four words.
//!
//! All that can change while an index has its owner is in the first word, with a checksum: that one
//! is written last and in one piece, so whoever is killed leaves the record of before or the new one.
//!
//! The first word, from the top: whether there is a record, removed, IPv6; of a VIP then the length
//! of its prefix (8 bits from bit 24); of an AS its encap (4 bits from 57), epoch (8 from 49), VIP
//! (16 from 33), DSCP and whether it has one (7 from 24). The low 24 bits are the checksum.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use balancer::{Ports, Prefix, Protocol, VipKey};
use config::Encap;

use super::checksum::checksum;
use crate::model::ReservedServer;

/// Words of a record.
pub(super) const RECORD_WORDS: usize = 4;

pub(super) type Words = [u64; RECORD_WORDS];

const VALID: u64 = 1 << 63;
const REMOVED: u64 = 1 << 62;
const V6: u64 = 1 << 61;
const SUM: u64 = (1 << 24) - 1;

/// A VIP in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VipRecord {
    pub(super) key: VipKey,
    /// Its flows are over.
    pub(super) removed: bool,
}

/// An AS in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerRecord {
    /// The index of its VIP.
    pub(super) vip: u32,
    /// It takes no new flows.
    pub(super) removed: bool,
    pub(super) server: ReservedServer,
}

fn seal(index: u32, mut words: Words) -> Words {
    words[0] = words[0] & !SUM | VALID;
    words[0] |= sum(index, &words);
    words
}

/// A record at another index is not valid either.
fn sum(index: u32, words: &Words) -> u64 {
    let [first, rest @ ..] = *words;
    checksum([u64::from(index), first & !SUM].into_iter().chain(rest)) & SUM
}

fn is_valid(index: u32, words: &Words) -> bool {
    words[0] & VALID != 0 && words[0] & SUM == sum(index, words)
}

fn flag(bit: u64, set: bool) -> u64 {
    if set { bit } else { 0 }
}

fn address_words(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    [bits as u64, (bits >> 64) as u64]
}

fn address(words: &Words) -> IpAddr {
    match words[0] & V6 {
        0 => Ipv4Addr::from_bits(words[1] as u32).into(),
        _ => Ipv6Addr::from_bits(u128::from(words[2]) << 64 | u128::from(words[1])).into(),
    }
}

impl VipRecord {
    pub(super) fn to_words(self, index: u32) -> Words {
        let Self { key: VipKey { prefix, ports }, removed } = self;
        let [low, high] = address_words(prefix.network);
        let first = flag(REMOVED, removed) | flag(V6, prefix.is_v6()) | u64::from(prefix.len) << 24;
        let ports = match ports {
            Ports::All => 0,
            Ports::Range { protocol, first, last } => {
                u64::from(protocol.number()) << 32 | u64::from(last) << 16 | u64::from(first)
            }
        };
        seal(index, [first, low, high, ports])
    }

    pub(super) fn from_words(index: u32, words: &Words) -> Option<Self> {
        let protocol = match words[3] >> 32 {
            0 => None,
            number => {
                let known = [Protocol::Tcp, Protocol::Udp];
                Some(known.into_iter().find(|known| u64::from(known.number()) == number)?)
            }
        };
        let ports = protocol.map_or(Ports::All, |protocol| {
            let (first, last) = (words[3] as u16, (words[3] >> 16) as u16);
            Ports::Range { protocol, first, last }
        });
        let prefix = Prefix::new(address(words), (words[0] >> 24) as u8)?;
        let removed = words[0] & REMOVED != 0;
        is_valid(index, words).then_some(Self { key: VipKey { prefix, ports }, removed })
    }
}

impl ServerRecord {
    pub(super) fn to_words(self) -> Words {
        let Self { vip, removed, server } = self;
        let ReservedServer { index, address, epoch, encap, dscp } = server;
        let [low, high] = address_words(address);
        let encap = encap.and_then(|encap| Encap::ALL.iter().position(|known| *known == encap));
        let first = flag(REMOVED, removed)
            | flag(V6, address.is_ipv6())
            | encap.map_or(0, |at| at as u64 + 1) << 57
            | u64::from(epoch) << 49
            | u64::from(vip) << 33
            | dscp.map_or(0, |dscp| 1 << 6 | u64::from(dscp)) << 24;
        seal(index, [first, low, high, 0])
    }

    pub(super) fn from_words(index: u32, words: &Words) -> Option<Self> {
        let first = words[0];
        let encap = match first >> 57 & 15 {
            0 => None,
            at => Some(*Encap::ALL.get(at as usize - 1)?),
        };
        let dscp = Some((first >> 24) as u8 & 0x3f).filter(|_| first >> 30 & 1 != 0);
        let epoch = (first >> 49) as u8;
        let server = ReservedServer { index, address: address(words), epoch, encap, dscp };
        let (vip, removed) = (u32::from((first >> 33) as u16), first & REMOVED != 0);
        is_valid(index, words).then_some(Self { vip, removed, server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> ReservedServer {
        let address = text.parse().unwrap();
        ReservedServer { index: 5, address, epoch: 255, encap: None, dscp: None }
    }

    #[test]
    fn vips_come_back_as_they_were() {
        let prefix = |text: &str, len| Prefix::new(text.parse().unwrap(), len).unwrap();
        let range = |protocol, first, last| Ports::Range { protocol, first, last };
        let keys = [
            (prefix("10.10.2.2", 32), Ports::one(Protocol::Tcp, 8080)),
            (prefix("0.0.0.0", 0), Ports::All),
            (prefix("255.255.255.0", 24), range(Protocol::Udp, 1, 65_535)),
            (prefix("2001:db8::", 32), range(Protocol::Tcp, 80, 89)),
            (prefix("ffff::ffff", 128), Ports::All),
        ];
        for (prefix, ports) in keys {
            for removed in [false, true] {
                let record = VipRecord { key: VipKey { prefix, ports }, removed };
                let words = record.to_words(7);
                assert_eq!(VipRecord::from_words(7, &words), Some(record));
                assert_eq!(VipRecord::from_words(8, &words), None, "another index");
            }
        }
        assert_eq!(VipRecord::from_words(0, &[0; 4]), None);
    }

    #[test]
    fn servers_come_back_as_they_were() {
        let plain = server("192.168.1.1");
        let mut servers = vec![plain, ReservedServer { epoch: 0, ..server("2001:db8::9") }];
        servers.extend(Encap::ALL.iter().map(|e| ReservedServer { encap: Some(*e), ..plain }));
        servers.extend([0, 63].map(|dscp| ReservedServer { dscp: Some(dscp), ..plain }));
        for server in servers {
            for (vip, removed) in [(1, false), (61_439, true)] {
                let record = ServerRecord { vip, removed, server };
                let words = record.to_words();
                assert_eq!(ServerRecord::from_words(5, &words), Some(record));
                assert_eq!(ServerRecord::from_words(6, &words), None, "another index");
            }
        }
    }

    #[test]
    fn no_bit_of_a_record_can_be_another() {
        let words = ServerRecord { vip: 3, removed: false, server: server("fe80::1") }.to_words();
        for word in 0..RECORD_WORDS {
            for bit in 0..64 {
                let mut torn = words;
                torn[word] ^= 1 << bit;
                assert_eq!(ServerRecord::from_words(5, &torn), None, "bit {bit} of word {word}");
            }
        }
    }

    /// What changes while an AS has its index is written in one piece.
    #[test]
    fn only_the_first_word_of_a_server_changes() {
        let before = ServerRecord { vip: 3, removed: false, server: server("10.0.0.1") };
        let after =
            ReservedServer { epoch: 9, encap: Some(Encap::L3dsr), dscp: Some(7), ..before.server };
        let after = ServerRecord { removed: true, server: after, ..before };
        assert_eq!(before.to_words()[1..], after.to_words()[1..]);
    }
}
