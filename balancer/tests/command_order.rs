//! Two daemons given the same configuration in different orders agree: the digests of their
//! new-flow tables are equal, and every flow goes to the same address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use balancer::{
    Address, ApplicationServer, AsId, FlowHasher, FlowTuple, HashKey, LbConfig, LbTables,
    NewFlowCache, Ports, Prefix, Protocol, Scheduler, ServerState, TableLength, TargetPort,
    Timeouts, VipId, VipKey, VipSpec,
};
use proptest::prelude::*;

/// Two VIPs of each family, with ASs of several weights.
fn services() -> Vec<(VipKey, Vec<(IpAddr, u8)>)> {
    let v4 = |n| IpAddr::from(Ipv4Addr::new(10, 0, 0, n));
    let v6 = |n: u8| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()));
    let key = |address, ports| VipKey { prefix: Prefix::host(address), ports };
    let web = Ports::one(Protocol::Tcp, 80);
    vec![
        (key(v4(1), web), (10..20).map(|n| (v4(n), 100 - n)).collect()),
        (key(v4(1), Ports::All), (10..13).map(|n| (v4(n), 100)).collect()),
        (key(v6(1), web), (10..20).map(|n| (v6(n), n)).collect()),
        (key(v6(2), Ports::All), (10..15).map(|n| (v6(n), 100)).collect()),
    ]
}

/// What a daemon gets to know in this order of VIPs; ids are handed out as they come.
fn daemon(order: &[usize], reverse: bool) -> LbTables {
    let (mut vips, mut servers) = (Vec::new(), Vec::new());
    for &at in order {
        let (key, mut own) = services()[at].clone();
        let vip = VipId::new(vips.len() as u32 * 7).unwrap();
        vips.push(VipSpec {
            id: vip,
            key,
            target: TargetPort::Keep,
            node_port: None,
            src_ip_sticky: false,
            scheduler: Scheduler::Maglev,
            length: TableLength::new(1021).unwrap(),
            nat: false,
            timeouts: None,
        });
        if reverse {
            own.reverse();
        }
        for (address, weight) in own {
            let id = AsId::new(servers.len() as u32 * 3).unwrap();
            let state = ServerState::Active;
            servers.push(ApplicationServer { id, vip, address, weight, state, epoch: 0 });
        }
    }
    if reverse {
        servers.reverse();
        vips.reverse();
    }
    let hasher = FlowHasher::new(&HashKey::default());
    let empty = LbTables::empty(hasher.clone(), Timeouts::default());
    let config = LbConfig { vips: &vips, servers: &servers, hasher, timeouts: Timeouts::default() };
    LbTables::build(&config, &empty, &mut NewFlowCache::new()).unwrap()
}

fn digests(tables: &LbTables) -> BTreeMap<VipKey, u64> {
    tables.vips.iter().flatten().map(|vip| (vip.key, vip.table.digest())).collect()
}

fn server_of<A: Address>(tables: &LbTables, dst: IpAddr, n: u16) -> Option<IpAddr> {
    let dst = A::from_ip(dst)?;
    let tuple = FlowTuple { src: dst, dst, src_port: n, dst_port: 80 + n % 2, protocol: 6 };
    let group = tables.groups.of_address(dst.into())?;
    let vip = tables.vip(tables.find_vip(group, 6, tuple.dst_port)?)?;
    let id = vip.server_for(tables.hasher.hash(&tuple, vip.src_ip_sticky))?;
    Some(tables.server(id)?.address)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_commands_does_not_matter(
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        reverse in any::<bool>(),
    ) {
        let (one, other) = (daemon(&[0, 1, 2, 3], false), daemon(&order, reverse));
        prop_assert_eq!(digests(&one), digests(&other));
        prop_assert_eq!(digests(&one).values().collect::<std::collections::HashSet<_>>().len(), 4);
        for (key, _) in services() {
            let dst = key.prefix.network;
            for n in 0..200 {
                let server = server_of::<Ipv4Addr>(&one, dst, n)
                    .or_else(|| server_of::<Ipv6Addr>(&one, dst, n));
                prop_assert_eq!(
                    server,
                    server_of::<Ipv4Addr>(&other, dst, n)
                        .or_else(|| server_of::<Ipv6Addr>(&other, dst, n))
                );
                // The prefix of one VIP has no service on port 81.
                prop_assert_eq!(server.is_none(), n % 2 == 1 && key == services()[2].0);
            }
        }
    }
}
