//! Which VIP a packet is for, against a scan of all of them (VPP refuses the mix; its defect 2).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use balancer::{
    FlowHasher, HashKey, LbConfig, LbTables, LbTablesError, NewFlowCache, Ports, Prefix, Protocol,
    Scheduler, TableLength, TargetPort, Timeouts, VipId, VipKey, VipSpec,
};
use proptest::prelude::*;

fn spec(n: usize, key: VipKey) -> VipSpec {
    VipSpec {
        id: VipId::new(n as u32).unwrap(),
        key,
        target: TargetPort::Keep,
        node_port: None,
        src_ip_sticky: false,
        scheduler: Scheduler::Maglev,
        length: TableLength::new(1).unwrap(),
        nat: false,
        timeouts: None,
    }
}

fn build(vips: &[VipSpec]) -> Result<LbTables, LbTablesError> {
    let hasher = FlowHasher::new(&HashKey::default());
    let empty = LbTables::empty(hasher.clone(), Timeouts::default());
    let config = LbConfig { vips, servers: &[], hasher, timeouts: Timeouts::default() };
    LbTables::build(&config, &empty, &mut NewFlowCache::new())
}

/// Few addresses and ports, so that much is on top of each other.
fn address(v6: bool, low: u8) -> IpAddr {
    match v6 {
        false => Ipv4Addr::new(10, 0, 0, low).into(),
        true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, low.into()).into(),
    }
}

fn any_key() -> impl Strategy<Value = VipKey> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    let ports = prop_oneof![
        Just(Ports::All),
        (protocol.clone(), 0..12u16).prop_map(|(protocol, port)| Ports::one(protocol, port)),
        (protocol, 0..12u16, 1..6u16).prop_map(|(protocol, first, more)| Ports::Range {
            protocol,
            first,
            last: first + more
        }),
    ];
    let shorter = prop::sample::select(vec![0u8, 1, 2, 4, 20, 32]);
    (any::<bool>(), 0..16u8, shorter, ports).prop_map(|(v6, low, shorter, ports)| {
        let len = if v6 { 128 - shorter } else { 32 - shorter };
        VipKey { prefix: Prefix::new(address(v6, low), len).unwrap(), ports }
    })
}

/// How exactly a VIP's ports are given; higher goes first.
fn exactness(ports: Ports) -> u8 {
    match ports {
        Ports::All => 0,
        _ => 1 + u8::from(ports.single().is_some()),
    }
}

fn overlap(a: &VipKey, b: &VipKey) -> bool {
    let several = |key: &VipKey| key.ports.single().is_none();
    match (a.ports.range(), b.ports.range()) {
        (Some((a_first, a_last)), Some((b_first, b_last))) if several(a) && several(b) => {
            a.prefix == b.prefix
                && a.ports.protocol() == b.ports.protocol()
                && a_first <= b_last
                && b_first <= a_last
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_most_exact_vip_takes_a_packet(keys in prop::collection::btree_set(any_key(), 0..24)) {
        let mut kept: Vec<VipKey> = Vec::new();
        for key in keys {
            if !kept.iter().any(|other| overlap(other, &key)) {
                kept.push(key);
            }
        }
        let vips: Vec<VipSpec> = kept
            .iter()
            .enumerate()
            .map(|(n, &key)| VipSpec { nat: key.ports != Ports::All && n % 3 > 0, ..spec(n, key) })
            .collect();
        let tables = build(&vips).unwrap();
        for (v6, low) in (0..32).map(|n| (n % 2 == 1, n / 2)) {
            let dst = address(v6, low);
            // The FIB finds the longest prefix; the groups must find the rest.
            let longest = kept
                .iter()
                .map(|key| key.prefix)
                .filter(|prefix| prefix.contains(dst))
                .max_by_key(|prefix| prefix.len);
            let group = longest.map(|prefix| tables.group_of(prefix).unwrap());
            prop_assert_eq!(tables.groups.of_address(dst), group);
            for protocol in [6, 17, 47] {
                for port in 0..20 {
                    let expected = vips
                        .iter()
                        .filter(|vip| vip.key.prefix.contains(dst))
                        .filter(|vip| vip.key.ports.contains(protocol, port))
                        .max_by_key(|vip| (vip.key.prefix.len, exactness(vip.key.ports)))
                        .map(|vip| vip.id);
                    let found = group.and_then(|group| tables.find_vip(group, protocol, port));
                    prop_assert_eq!(found, expected, "{} {} {}", dst, protocol, port);
                }
            }
        }
        for prefix in tables.groups.prefixes() {
            let directly = vips.iter().any(|vip| !vip.nat && vip.key.prefix.len <= prefix.len && vip.key.prefix.contains(prefix.network));
            let group = tables.group_of(prefix).unwrap();
            prop_assert_eq!(tables.groups.returns_directly(group), directly, "{}", prefix);
        }
        let prefixes: BTreeSet<Prefix> = kept.iter().map(|key| key.prefix).collect();
        prop_assert!(tables.groups.prefixes().eq(prefixes.into_iter()));
    }

    #[test]
    fn overlapping_ranges_are_refused(keys in prop::collection::vec(any_key(), 2)) {
        let vips = [spec(0, keys[0]), spec(1, keys[1])];
        match build(&vips) {
            Err(LbTablesError::DuplicateKey(_)) => prop_assert_eq!(keys[0], keys[1]),
            Err(LbTablesError::OverlappingPorts(..)) => {
                prop_assert!(overlap(&keys[0], &keys[1]));
            }
            other => prop_assert!(other.is_ok() && !overlap(&keys[0], &keys[1])),
        }
    }
}

#[test]
fn vips_that_make_no_sense_are_refused() {
    let host = Prefix::host(address(false, 1));
    let tcp = |first, last| Ports::Range { protocol: Protocol::Tcp, first, last };
    let base = spec(0, VipKey { prefix: host, ports: tcp(80, 89) });
    let all = VipKey { prefix: host, ports: Ports::All };
    let crooked = VipKey { prefix: Prefix { len: 24, ..host }, ..base.key };
    let backwards = VipKey { ports: tcp(9, 8), ..base.key };
    let one = VipSpec { key: VipKey { ports: tcp(80, 80), ..base.key }, nat: true, ..base };
    for (vip, expected) in [
        (VipSpec { key: crooked, ..base }, LbTablesError::Key(crooked)),
        (VipSpec { key: backwards, ..base }, LbTablesError::Key(backwards)),
        (VipSpec { key: all, nat: true, ..base }, LbTablesError::NatNeedsPorts(all)),
        (VipSpec { target: TargetPort::One(8080), ..base }, LbTablesError::PortsNeedNat(base.key)),
        (VipSpec { node_port: Some(1), ..base }, LbTablesError::PortsNeedNat(base.key)),
        (
            VipSpec { target: TargetPort::From(65_530), nat: true, ..base },
            LbTablesError::TargetPorts(base.key),
        ),
        (VipSpec { node_port: Some(1), nat: true, ..base }, LbTablesError::NodePortRange(base.key)),
    ] {
        assert_eq!(build(&[vip]).unwrap_err(), expected);
    }
    let with_node_port = VipSpec { node_port: Some(30_000), ..one };
    let other = VipSpec {
        id: VipId::new(1).unwrap(),
        key: VipKey { ports: tcp(81, 81), ..base.key },
        ..with_node_port
    };
    let error = LbTablesError::DuplicateNodePort(other.key);
    assert_eq!(build(&[with_node_port, other]).unwrap_err(), error);
    let prefix = Prefix::host(address(true, 1));
    let v6 = VipSpec { key: VipKey { prefix, ..other.key }, ..other };
    assert!(build(&[with_node_port, v6]).is_ok(), "each family has its own node ports");
}
