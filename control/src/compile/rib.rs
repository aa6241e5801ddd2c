//! [`Rib`]: every prefix with what each source says of it, from which FIBs are built and changed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::fib::{Fib4, FibDrop, FibEntry, FibRoute};
use dataplane::fib6::{Fib6, FibRoute6};
use dataplane::forwarding::TunnelPolicy;

use super::fib::{FibRow, Source};
use crate::model::Network;

/// Sources there are.
const SOURCES: usize = Source::Lb as usize + 1;

/// Changes to a FIB after which it is built anew rather than changed, as changes leave memory behind.
const WORN: usize = 4096;

/// Shorter prefixes and lower addresses first, IPv4 before IPv6.
type Key = (bool, u8, IpAddr);

fn key(network: Network) -> Key {
    (network.address.is_ipv6(), network.prefix_len, network.address)
}

/// All prefixes, and the FIBs that follow from them.
#[derive(Debug)]
pub(super) struct Rib {
    /// What the FIBs care for beside prefixes.
    policy: TunnelPolicy,
    prefixes: BTreeMap<Key, [Option<FibEntry>; SOURCES]>,
    /// Prefixes whose entry in force may have changed since the FIBs were made.
    changed: Vec<Network>,
    /// Addresses changed in the FIBs since they were built.
    worn: usize,
    fib4: Arc<Fib4>,
    fib6: Arc<Fib6>,
}

/// The entry in force: that of the preferred source.
fn in_force(said: &[Option<FibEntry>; SOURCES]) -> Option<FibEntry> {
    said.iter().rev().find_map(|entry| *entry)
}

impl Rib {
    /// One without prefixes.
    pub(super) fn new(policy: TunnelPolicy) -> Self {
        let mut rib = Self {
            policy,
            prefixes: BTreeMap::new(),
            changed: Vec::new(),
            worn: 0,
            fib4: Arc::default(),
            fib6: Arc::default(),
        };
        rib.build();
        rib
    }

    /// What a source says of a prefix from now on.
    pub(super) fn set(&mut self, network: Network, source: Source, entry: Option<FibEntry>) {
        let key = key(network);
        let said = match (self.prefixes.get_mut(&key), entry) {
            (Some(said), _) => said,
            (None, Some(_)) => self.prefixes.entry(key).or_default(),
            (None, None) => return,
        };
        let before = in_force(said);
        said[source as usize] = entry;
        let after = in_force(said);
        if after.is_none() {
            self.prefixes.remove(&key);
        }
        if before != after {
            self.changed.push(network);
        }
    }

    /// The entries in force, shorter prefixes and lower addresses first, IPv4 before IPv6.
    pub(super) fn rows(&self) -> impl Iterator<Item = FibRow> {
        self.prefixes.iter().filter_map(|((_, prefix_len, address), said)| {
            let source = said.iter().rposition(Option::is_some)?;
            let network = Network { address: *address, prefix_len: *prefix_len };
            Some(FibRow { network, source: Source::ALL[source], entry: in_force(said)? })
        })
    }

    /// The entry of the longest prefix that holds an address.
    fn lookup(&self, address: IpAddr) -> FibEntry {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let mut candidates = (0..=longest).rev().map(|len| key(Network::new(address, len)));
        let found = candidates.find_map(|key| self.prefixes.get(&key).and_then(in_force));
        found.unwrap_or(FibEntry::Drop(FibDrop::NoRoute))
    }

    /// The FIBs of the present entries; those that were handed out last, if nothing has changed.
    pub(super) fn fibs(&mut self) -> (Arc<Fib4>, Arc<Fib6>) {
        let changed = std::mem::take(&mut self.changed);
        self.worn += changed.len();
        if self.worn > WORN || changed.iter().any(|network| !network.is_host()) {
            self.build();
        } else if !changed.is_empty() {
            let (mut hosts4, mut hosts6) = (Vec::new(), Vec::new());
            for network in changed {
                match network.address {
                    IpAddr::V4(address) => hosts4.push((address, self.lookup(network.address))),
                    IpAddr::V6(address) => {
                        let said = self.prefixes.get(&key(network));
                        hosts6.push((address, said.and_then(in_force)));
                    }
                }
            }
            if !hosts4.is_empty() {
                self.fib4 = Arc::new(self.fib4.with_hosts(&hosts4));
            }
            if !hosts6.is_empty() {
                self.fib6 = Arc::new(self.fib6.with_hosts(&hosts6));
            }
        }
        (Arc::clone(&self.fib4), Arc::clone(&self.fib6))
    }

    fn build(&mut self) {
        let (mut routes4, mut routes6) = (Vec::new(), Vec::new());
        for FibRow { network: Network { address, prefix_len }, entry, .. } in self.rows() {
            match address {
                IpAddr::V4(network) => routes4.push(FibRoute { network, prefix_len, entry }),
                IpAddr::V6(network) => routes6.push(FibRoute6 { network, prefix_len, entry }),
            }
        }
        self.fib4 = Arc::new(Fib4::build(&routes4).caring_for(self.policy.sources4()));
        self.fib6 = Arc::new(Fib6::build(&routes6).caring_for(self.policy.sources6()));
        self.worn = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use dataplane::forwarding::Entropy;

    use super::*;

    /// Sources of outer headers are marked from the beginning, and stay so when FIBs change or are built anew.
    #[test]
    fn sources_of_outer_headers_stay_marked() {
        let (network, other) = (Ipv4Addr::new(10, 7, 0, 0), Ipv4Addr::new(10, 8, 0, 1));
        let source6: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let policy = TunnelPolicy {
            source4: Some(Ipv4Addr::new(10, 6, 0, 1)),
            source6: Some(source6),
            entropy4: Some(Entropy { network, prefix_len: 16 }),
            ..TunnelPolicy::default()
        };
        let mut rib = Rib::new(policy);
        let check = |rib: &mut Rib| {
            let (fib4, fib6) = rib.fibs();
            for address in [Ipv4Addr::new(10, 6, 0, 1), Ipv4Addr::new(10, 7, 255, 255)] {
                assert!(fib4.marks().may_hold(address), "{address}");
            }
            assert!(!fib4.marks().may_hold(other) && fib6.marks().may_hold(source6));
            assert!(!fib6.marks().may_hold("2001:db8::8".parse::<Ipv6Addr>().unwrap()));
        };
        check(&mut rib);
        let host = Network::host(Ipv4Addr::new(10, 9, 0, 1).into());
        rib.set(host, Source::Lb, Some(FibEntry::Local));
        check(&mut rib);
        let wide = Network::new(Ipv4Addr::new(20, 0, 0, 0).into(), 8);
        rib.set(wide, Source::Lb, Some(FibEntry::Local));
        check(&mut rib);
        assert!(rib.fibs().0.marks().may_hold(Ipv4Addr::new(20, 1, 2, 3)));
    }
}
