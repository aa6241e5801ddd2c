//! From an AS's service back to the VIPs behind which it stands.
//!
//! A reply shows the AS's address and port. If one VIP only leads there, that names the VIP
//! without any state; if several do, only a flow entry can tell which one the client used.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::address::Address;
use crate::application_server::AsId;
use crate::exact_table::ExactTable;
use crate::vip::VipId;

/// Where a service's replies may belong: a VIP and its AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// The VIP.
    pub vip: VipId,
    /// The VIP's AS with the service's address, possibly a tombstone.
    pub as_id: AsId,
}

/// Neighbouring ports of an AS that stand behind the same VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    protocol: u8,
    first: u16,
    last: u16,
    /// At least one.
    candidates: Box<[Candidate]>,
}

impl Endpoint {
    /// All VIPs it belongs to, with its AS in each, in the order of their ids; at least one.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The VIP and AS, if there is one VIP only.
    #[must_use]
    pub fn only_candidate(&self) -> Option<Candidate> {
        match *self.candidates {
            [candidate] => Some(candidate),
            _ => None,
        }
    }
}

/// Parts of a [`ReverseMap`]; a change to an AS costs one of them.
const SHARDS: usize = 256;

/// Words of a shard's part of [`ReverseMap::filter`].
const FILTER_WORDS: usize = 4;

/// The services of all ASs behind VIPs with NAT, tombstones included; immutable. Maps share the
/// parts that are the same in them.
#[derive(Clone, Debug)]
pub struct ReverseMap {
    /// By [`shard_of`] an AS's address.
    shards: Box<[Arc<Shard>]>,
    /// A bit for each [place](place_of) that an AS's address has. 8 KiB stay in the first-level cache.
    filter: Box<[u64; SHARDS * FILTER_WORDS]>,
}

/// The services of some ASs.
#[derive(Debug, Default)]
struct Shard {
    v4: ExactTable<u64>,
    v6: ExactTable<u128>,
    /// By index in the tables above: an address's part of `endpoints`.
    hosts: Box<[Range<u32>]>,
    /// By address, protocol and port.
    endpoints: Box<[Endpoint]>,
    /// What it was built from.
    entries: Box<[ReverseEntry]>,
}

/// The bit of an address in the filter, whose number begins with that of the shard; by bits that [`ExactTable`]
/// does not use.
#[inline(always)]
fn place_of(bits: u128) -> usize {
    const PLACES: usize = SHARDS * FILTER_WORDS * u64::BITS as usize;
    let folded = (bits as u64) ^ (bits >> 64) as u64;
    (folded.wrapping_mul(0x2545_f491_4f6c_dd1d) >> (u64::BITS - PLACES.ilog2())) as usize
}

/// The shard of an address.
fn shard_of(bits: u128) -> usize {
    place_of(bits) / (FILTER_WORDS * u64::BITS as usize) % SHARDS
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The ports of one AS that a VIP leads to, from which a [`ReverseMap`] is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReverseEntry {
    /// The AS's address.
    pub(crate) address: IpAddr,
    /// The VIP's protocol.
    pub(crate) protocol: u8,
    /// The first of the target ports, host byte order.
    pub(crate) first: u16,
    /// The last of the target ports, inclusive.
    pub(crate) last: u16,
    /// The VIP and the AS.
    pub(crate) candidate: Candidate,
}

impl ReverseMap {
    /// The map of these ASs.
    pub(crate) fn build(entries: Vec<ReverseEntry>) -> Self {
        let empty = Arc::new(Shard::default());
        let shards = (0..SHARDS).map(|_| Arc::clone(&empty)).collect();
        Self { shards, filter: Box::new([0; SHARDS * FILTER_WORDS]) }.changed(&[], entries)
    }

    /// This map without the ASs of some of its entries, and with others.
    pub(crate) fn changed(&self, old: &[ReverseEntry], new: Vec<ReverseEntry>) -> Self {
        let mut map = self.clone();
        if old == new {
            return map;
        }
        let mut by_shard: BTreeMap<usize, Vec<ReverseEntry>> = BTreeMap::new();
        for entry in old {
            by_shard.entry(shard_of(bits_of(entry.address))).or_default();
        }
        for entry in new {
            by_shard.entry(shard_of(bits_of(entry.address))).or_default().push(entry);
        }
        let gone: HashSet<AsId> = old.iter().map(|entry| entry.candidate.as_id).collect();
        for (index, new) in by_shard {
            let shard = &mut map.shards[index];
            let stay = shard.entries.iter().filter(|entry| !gone.contains(&entry.candidate.as_id));
            *shard = Arc::new(Shard::build(stay.copied().chain(new).collect()));
            map.filter[index * FILTER_WORDS..][..FILTER_WORDS].copy_from_slice(&shard.filter());
        }
        map
    }

    /// False when surely no AS behind NAT has this address: cheaper to ask than [`get`](Self::get).
    #[inline(always)]
    #[must_use]
    pub fn may_have<A: Address>(&self, address: A) -> bool {
        let place = place_of(address.bits());
        self.filter[place / 64 % (SHARDS * FILTER_WORDS)] >> (place % 64) & 1 != 0
    }

    /// The service with this address, port (host byte order) and IP protocol number, if an AS
    /// provides it.
    #[must_use]
    pub fn get<A: Address>(&self, address: A, port: u16, protocol: u8) -> Option<&Endpoint> {
        self.shards[shard_of(address.bits())].get(address, port, protocol)
    }

    /// All services.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.shards.iter().flat_map(|shard| &shard.endpoints)
    }
}

impl Shard {
    fn build(mut entries: Vec<ReverseEntry>) -> Self {
        entries.sort_unstable_by_key(|e| (e.address, e.protocol, e.first, e.last, e.candidate));
        let mut hosts = Vec::new();
        let mut endpoints = Vec::new();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for host in entries.chunk_by(|a, b| a.address == b.address) {
            let index = hosts.len() as u32;
            match host[0].address {
                IpAddr::V4(address) => v4.push((u64::from(address.to_bits()), index)),
                IpAddr::V6(address) => v6.push((address.to_bits(), index)),
            }
            let start = endpoints.len() as u32;
            for services in host.chunk_by(|a, b| a.protocol == b.protocol) {
                split(services, &mut endpoints);
            }
            hosts.push(start..endpoints.len() as u32);
        }
        Self {
            v4: ExactTable::new(v4.into_iter()),
            v6: ExactTable::new(v6.into_iter()),
            hosts: hosts.into(),
            endpoints: endpoints.into(),
            entries: entries.into(),
        }
    }

    /// Its part of the map's filter.
    fn filter(&self) -> [u64; FILTER_WORDS] {
        let mut words = [0; FILTER_WORDS];
        for entry in &self.entries {
            let place = place_of(bits_of(entry.address));
            words[place / 64 % FILTER_WORDS] |= 1 << (place % 64);
        }
        words
    }

    #[inline]
    fn get<A: Address>(&self, address: A, port: u16, protocol: u8) -> Option<&Endpoint> {
        let host = if A::IS_V6 {
            self.v6.get(address.bits())?
        } else {
            self.v4.get(address.bits() as u64)?
        };
        let range = self.hosts.get(host as usize)?;
        let endpoints = self.endpoints.get(range.start as usize..range.end as usize)?;
        let after = endpoints.partition_point(|e| (e.protocol, e.first) <= (protocol, port));
        let endpoint = endpoints.get(after.checked_sub(1)?)?;
        (endpoint.protocol == protocol && port <= endpoint.last).then_some(endpoint)
    }
}

/// Cuts the overlapping port ranges of one address and protocol into endpoints.
fn split(entries: &[ReverseEntry], endpoints: &mut Vec<Endpoint>) {
    if let [ReverseEntry { protocol, first, last, candidate, .. }] = *entries {
        let candidates = [candidate].into();
        endpoints.push(Endpoint { protocol, first, last, candidates });
        return;
    }
    // At which port a candidate comes (true) or is gone; ports beyond the last one count too.
    let mut steps: BTreeMap<u32, Vec<(Candidate, bool)>> = BTreeMap::new();
    for entry in entries {
        let (first, end) = (u32::from(entry.first), u32::from(entry.last) + 1);
        steps.entry(first).or_default().push((entry.candidate, true));
        steps.entry(end).or_default().push((entry.candidate, false));
    }
    let mut present: BTreeMap<Candidate, u32> = BTreeMap::new();
    let mut ports = steps.keys().copied().skip(1).collect::<Vec<_>>().into_iter();
    for (first, changes) in &steps {
        for &(candidate, comes) in changes {
            let count = present.entry(candidate).or_default();
            *count = if comes { *count + 1 } else { *count - 1 };
        }
        present.retain(|_, count| *count > 0);
        if let Some(end) = ports.next()
            && !present.is_empty()
        {
            endpoints.push(Endpoint {
                protocol: entries[0].protocol,
                first: *first as u16,
                last: (end - 1) as u16,
                candidates: present.keys().copied().collect(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn entry(last: u8, ports: (u16, u16), vip: u32, as_id: u32) -> ReverseEntry {
        ReverseEntry {
            address: Ipv4Addr::new(192, 168, 1, last).into(),
            protocol: 6,
            first: ports.0,
            last: ports.1,
            candidate: Candidate {
                vip: VipId::new(vip).unwrap(),
                as_id: AsId::new(as_id).unwrap(),
            },
        }
    }

    fn get(map: &ReverseMap, last: u8, port: u16) -> Option<&Endpoint> {
        map.get(Ipv4Addr::new(192, 168, 1, last), port, 6)
    }

    #[test]
    fn the_filter_has_all_servers_and_few_others() {
        let address = |n: u32| match n % 2 {
            0 => IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n)),
            _ => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)).into(),
        };
        let entries = |numbers: Range<u32>| -> Vec<ReverseEntry> {
            let of = |n| ReverseEntry { address: address(n), ..entry(0, (80, 80), 0, n) };
            numbers.map(of).collect()
        };
        let may_have = |map: &ReverseMap, n: u32| match address(n) {
            IpAddr::V4(address) => map.may_have(address),
            IpAddr::V6(address) => map.may_have(address),
        };
        let map = ReverseMap::build(entries(0..500));
        let map = map.changed(&entries(0..250), entries(500..700));
        assert!((250..700).all(|n| may_have(&map, n)));
        let others = (0..250).chain(1000..11_000).filter(|n| may_have(&map, *n)).count();
        assert!(others < 300, "{others} of 10 250, and 450 of 65 536 bits are set");
        let map = map.changed(&entries(250..700), Vec::new());
        assert!(!(0..11_000).any(|n| may_have(&map, n)));
    }

    #[test]
    fn one_vip_is_unique_and_two_are_shared() {
        let entries =
            [entry(1, (80, 80), 0, 0), entry(3, (80, 80), 0, 1), entry(1, (80, 80), 1, 2)];
        let map = ReverseMap::build(entries.into());
        let shared = get(&map, 1, 80).unwrap();
        assert_eq!(shared.candidates(), [entries[0].candidate, entries[2].candidate]);
        assert_eq!(shared.only_candidate(), None);
        assert_eq!(get(&map, 3, 80).unwrap().only_candidate(), Some(entries[1].candidate));
        assert!(get(&map, 1, 81).is_none());
        assert!(get(&map, 2, 80).is_none());
        assert!(map.get(Ipv4Addr::new(192, 168, 1, 1), 80, 17).is_none());
    }

    #[test]
    fn ranges_are_cut_where_they_overlap() {
        let entries = [
            entry(1, (10, 65_535), 0, 0),
            entry(1, (20, 29), 1, 1),
            entry(1, (25, 25), 2, 2),
            entry(1, (0, 3), 3, 3),
        ];
        let map = ReverseMap::build(entries.into());
        assert_eq!(map.endpoints().count(), 6);
        for port in 0..=u16::MAX {
            let expected: Vec<_> = entries
                .iter()
                .filter(|e| e.first <= port && port <= e.last)
                .map(|e| e.candidate)
                .collect();
            let candidates = get(&map, 1, port).map_or(&[][..], Endpoint::candidates);
            assert_eq!(candidates, expected, "port {port}");
        }
    }
}
