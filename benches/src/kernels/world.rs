//! What kernels of the balancer work on: clients, a VIP, its ASs.

use std::net::Ipv4Addr;

use balancer::{
    ApplicationServer, AsId, FlowHasher, FlowKey, FlowTuple, HashKey, InstanceKey, LbConfig,
    LbTables, NewFlowCache, Ports, Prefix, Protocol, Scheduler, ServerState, TableLength,
    TargetPort, Timeouts, VipId, VipKey, VipSpec,
};

use crate::flow::Client;
use crate::site::{SERVER_PORT, VIP, VIP_PORT, server_address};

/// Operations of one run: a full frame of packets.
pub(super) const BURST: usize = 256;

/// Flow counts of the tables that packets are looked up in. In a build without optimisation, which
/// only sees whether everything works, the large ones would take minutes to fill.
pub(super) const FLOWS: &[u64] = match cfg!(debug_assertions) {
    true => &[1_000],
    false => &[1_000, 100_000, 1_000_000, 10_000_000],
};

/// The key of sticky tables.
pub(super) fn instance() -> InstanceKey {
    InstanceKey::from_bytes([7; 32])
}

/// Buckets that so many flows fill to a half at most.
pub(super) fn buckets_for(flows: u64) -> u64 {
    (flows / 2).next_power_of_two().max(1024)
}

/// Visits `0..len` in an order that no prefetcher guesses, and begins anew at the end.
#[derive(Clone, Debug)]
pub(super) struct Visits {
    at: u64,
    mask: u64,
    len: u64,
}

impl Visits {
    pub(super) fn of(len: u64) -> Self {
        Self { at: 0, mask: len.next_power_of_two() - 1, len }
    }

    /// The next number (a linear congruential sequence of full period).
    #[inline]
    pub(super) fn step(&mut self) -> u64 {
        loop {
            let multiplier = 0x5851_f42d_4c95_7f2d;
            self.at =
                self.at.wrapping_mul(multiplier).wrapping_add(0x1405_7b7e_f767_814f) & self.mask;
            if self.at < self.len {
                return self.at;
            }
        }
    }
}

/// A flow's 5-tuple.
#[inline]
pub(super) fn tuple(flow: u64) -> FlowTuple<Ipv4Addr> {
    let Client { address: src, port: src_port } = Client::of(flow);
    let protocol = Protocol::Udp.number();
    FlowTuple { src, dst: VIP, src_port, dst_port: VIP_PORT, protocol }
}

/// A flow's key.
#[inline]
pub(super) fn key(flow: u64) -> FlowKey {
    let Client { address, port } = Client::of(flow);
    FlowKey::exact(address, port, vip_id())
}

/// The VIP's id.
pub(super) fn vip_id() -> VipId {
    VipId::new(0).expect("0 is a valid index")
}

fn vip(nat: bool) -> VipSpec {
    let prefix = Prefix::host(VIP.into());
    let ports = if nat { Ports::one(Protocol::Udp, VIP_PORT) } else { Ports::All };
    VipSpec {
        id: vip_id(),
        key: VipKey { prefix, ports },
        target: if nat { TargetPort::One(SERVER_PORT) } else { TargetPort::Keep },
        node_port: None,
        src_ip_sticky: false,
        scheduler: Scheduler::Maglev,
        length: TableLength::DEFAULT,
        nat,
        timeouts: None,
    }
}

/// The balancer's tables: a VIP of one port with NAT, or of all ports without, and its ASs.
pub(super) fn tables(servers: u16, nat: bool) -> LbTables {
    let server = |n: u16| ApplicationServer {
        id: AsId::new(n.into()).expect("a valid index"),
        vip: vip_id(),
        address: server_address(n).into(),
        weight: 100,
        state: ServerState::Active,
        epoch: 0,
    };
    let servers: Vec<_> = (0..servers).map(server).collect();
    let hasher = FlowHasher::new(&HashKey::default());
    let empty = LbTables::empty(hasher.clone(), Timeouts::default());
    let vips = [vip(nat)];
    let config = LbConfig { vips: &vips, servers: &servers, hasher, timeouts: Timeouts::default() };
    LbTables::build(&config, &empty, &mut NewFlowCache::new()).expect("a valid configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_everything_once_a_round() {
        for len in [1, 2, 3, 1000, 1024] {
            let mut visits = Visits::of(len);
            let mut seen = vec![0; len as usize];
            (0..3 * len).for_each(|_| seen[visits.step() as usize] += 1);
            assert_eq!(seen, vec![3; len as usize]);
        }
    }
}
