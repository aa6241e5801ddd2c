//! From an AS's service back to the VIPs behind which it stands.
//!
//! A reply shows the AS's address and port. If one VIP only leads there, that names the VIP
//! without any state; if several do, only a flow entry can tell which one the client used.

use std::net::Ipv4Addr;

use crate::application_server::AsId;
use crate::exact_table::ExactTable;
use crate::protocol::Protocol;
use crate::vip::{VipId, endpoint_word};

/// An AS's service: (address, port, protocol). Stays the same from one [`ReverseMap`] to the next
/// while the service exists, and is not given to another one soon after.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u32);

impl EndpointId {
    /// The service with this id.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Where a service's replies may belong: a VIP and its AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// The VIP.
    pub vip: VipId,
    /// The VIP's AS with the service's address, possibly a tombstone.
    pub as_id: AsId,
}

/// To which VIPs a service belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution<'a> {
    /// To one.
    Unique(Candidate),
    /// To several, in the order of their ids.
    Shared(&'a [Candidate]),
}

/// One service of the map.
#[derive(Clone, Debug)]
pub struct Endpoint {
    id: EndpointId,
    word: u64,
    /// At least one.
    candidates: Box<[Candidate]>,
}

impl Endpoint {
    /// The service's id.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// All VIPs it belongs to, with its AS in each; at least one.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Whether replies can be told apart by flow entries only.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.candidates.len() > 1
    }

    /// One VIP, or several.
    #[must_use]
    pub fn attribution(&self) -> Attribution<'_> {
        match *self.candidates {
            [candidate] => Attribution::Unique(candidate),
            _ => Attribution::Shared(&self.candidates),
        }
    }
}

/// The services of all ASs, tombstones included; immutable.
#[derive(Clone, Debug)]
pub struct ReverseMap {
    index: ExactTable,
    endpoints: Box<[Endpoint]>,
    /// Ids count up through 32 bits, so one is free for ages before it is used again.
    next_id: u32,
}

/// One AS's service, from which a [`ReverseMap`] is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReverseEntry {
    /// The AS's address.
    pub address: Ipv4Addr,
    /// The VIP's target port, host byte order.
    pub port: u16,
    /// The VIP's protocol.
    pub protocol: Protocol,
    /// The VIP and the AS.
    pub candidate: Candidate,
}

impl ReverseMap {
    /// An empty map.
    #[must_use]
    pub fn empty() -> Self {
        Self { index: ExactTable::new([].into_iter()), endpoints: Box::default(), next_id: 0 }
    }

    /// The map of these ASs. Services that `previous` knows keep their ids.
    #[must_use]
    pub fn build(entries: &[ReverseEntry], previous: &Self) -> Self {
        let mut sorted: Vec<(u64, Candidate)> = entries
            .iter()
            .map(|e| (endpoint_word(e.address, e.port, e.protocol), e.candidate))
            .collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut next_id = previous.next_id;
        let endpoints: Box<[Endpoint]> = sorted
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| {
                let word = group[0].0;
                let kept = previous.index.get(word).map(|i| previous.endpoints[i as usize].id);
                let id = kept.unwrap_or_else(|| {
                    let fresh = EndpointId(next_id);
                    next_id = next_id.wrapping_add(1);
                    fresh
                });
                let candidates = group.iter().map(|&(_, candidate)| candidate).collect();
                Endpoint { id, word, candidates }
            })
            .collect();
        let index = ExactTable::new(endpoints.iter().enumerate().map(|(i, e)| (e.word, i as u32)));
        Self { index, endpoints, next_id }
    }

    /// The service with this address and port (host byte order), if an AS provides it.
    #[must_use]
    pub fn get(&self, address: Ipv4Addr, port: u16, protocol: Protocol) -> Option<&Endpoint> {
        let index = self.index.get(endpoint_word(address, port, protocol))?;
        self.endpoints.get(index as usize)
    }

    /// All services.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(last: u8, port: u16, vip: u32, as_id: u32) -> ReverseEntry {
        ReverseEntry {
            address: Ipv4Addr::new(192, 168, 1, last),
            port,
            protocol: Protocol::Tcp,
            candidate: Candidate {
                vip: VipId::new(vip).unwrap(),
                as_id: AsId::new(as_id).unwrap(),
            },
        }
    }

    fn get(map: &ReverseMap, last: u8, port: u16) -> Option<&Endpoint> {
        map.get(Ipv4Addr::new(192, 168, 1, last), port, Protocol::Tcp)
    }

    #[test]
    fn one_vip_is_unique_and_two_are_shared() {
        let entries = [entry(1, 80, 0, 0), entry(3, 80, 0, 1), entry(1, 80, 1, 2)];
        let map = ReverseMap::build(&entries, &ReverseMap::empty());
        let shared = get(&map, 1, 80).unwrap();
        let candidates = [entries[0].candidate, entries[2].candidate];
        assert_eq!(shared.attribution(), Attribution::Shared(&candidates));
        let unique = get(&map, 3, 80).unwrap();
        assert_eq!(unique.attribution(), Attribution::Unique(entries[1].candidate));
        assert!(get(&map, 1, 81).is_none());
        assert!(get(&map, 2, 80).is_none());
        assert!(map.get(Ipv4Addr::new(192, 168, 1, 1), 80, Protocol::Udp).is_none());
    }

    #[test]
    fn ids_stay_and_are_not_reused() {
        let first =
            ReverseMap::build(&[entry(1, 80, 0, 0), entry(2, 80, 0, 1)], &ReverseMap::empty());
        let kept = get(&first, 2, 80).unwrap().id();
        let gone = get(&first, 1, 80).unwrap().id();
        let second = ReverseMap::build(&[entry(2, 80, 0, 1), entry(0, 80, 0, 2)], &first);
        assert_eq!(get(&second, 2, 80).unwrap().id(), kept);
        let new = get(&second, 0, 80).unwrap().id();
        assert!(new != gone && new != kept);
    }
}
