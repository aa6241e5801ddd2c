//! Tables that are changed step by step equal those that are built at once from where it ended.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use balancer::{
    ApplicationServer, AsId, FlowHasher, HashKey, LbConfig, LbTables, LbTablesError, NewFlowCache,
    Ports, Prefix, Protocol, Scheduler, ServerState, TableLength, TargetPort, Timeouts, VipChange,
    VipId, VipKey, VipSpec,
};
use proptest::prelude::*;

const VIPS: u32 = 5;
const SERVERS: u32 = 4;

/// A VIP of a fixed key: whether NAT, and its ASs with their weights and epochs.
type Described = (bool, Vec<(u8, u8, bool, u8)>);

fn spec(id: u32, nat: bool) -> VipSpec {
    let ports = Ports::Range {
        protocol: Protocol::Tcp,
        first: 80 + 10 * (id % 2) as u16,
        last: 80 + 10 * (id % 2) as u16 + (id % 3) as u16,
    };
    // Prefixes in one another.
    let len = [32, 24, 32, 16, 32][id as usize];
    let address = Ipv4Addr::new(10, 0, (id == 4).into(), if len == 32 { id as u8 } else { 0 });
    VipSpec {
        id: VipId::new(id * 3).unwrap(),
        key: VipKey { prefix: Prefix::new(address.into(), len).unwrap(), ports },
        target: if nat { TargetPort::From(1000) } else { TargetPort::Keep },
        node_port: (nat && ports.single().is_some()).then_some(30_000 + id as u16),
        src_ip_sticky: false,
        scheduler: if id == 2 { Scheduler::RoundRobin } else { Scheduler::Maglev },
        length: TableLength::new(101).unwrap(),
        nat,
        timeouts: None,
    }
}

/// Few addresses for many VIPs, so that services are shared.
fn servers(id: u32, own: &[(u8, u8, bool, u8)]) -> Vec<ApplicationServer> {
    let mut by_address = BTreeMap::new();
    for (n, (address, weight, removed, epoch)) in own.iter().enumerate().take(SERVERS as usize) {
        by_address.entry(address).or_insert(ApplicationServer {
            id: AsId::new(id * SERVERS + n as u32 + 1).unwrap(),
            vip: spec(id, false).id,
            address: IpAddr::V4(Ipv4Addr::new(192, 168, 0, *address)),
            weight: *weight,
            state: if *removed { ServerState::Removed } else { ServerState::Active },
            epoch: *epoch,
        });
    }
    by_address.into_values().collect()
}

fn built(vips: &BTreeMap<u32, Described>, previous: &LbTables) -> LbTables {
    let specs: Vec<_> = vips.iter().map(|(id, (nat, _))| spec(*id, *nat)).collect();
    let servers: Vec<_> = vips.iter().flat_map(|(id, (_, own))| servers(*id, own)).collect();
    let config = LbConfig {
        vips: &specs,
        servers: &servers,
        hasher: FlowHasher::new(&HashKey::default()),
        timeouts: Timeouts::default(),
    };
    LbTables::build(&config, previous, &mut NewFlowCache::new()).unwrap()
}

fn empty() -> LbTables {
    LbTables::empty(FlowHasher::new(&HashKey::default()), Timeouts::default())
}

/// Everything that workers can ask for.
fn answers(tables: &LbTables) -> Vec<String> {
    let mut answers = Vec::new();
    for vip in tables.vips.iter().flatten() {
        let servers: Vec<_> = (0..101).map(|slot| vip.server_in_slot(slot)).collect();
        let turns = vip.rotation.as_ref().map(|rotation| rotation.len());
        answers.push(format!("{} {} {} {servers:?} {turns:?}", vip.id, vip.key, vip.nat));
    }
    answers.extend(tables.servers.iter().flatten().map(|server| format!("{server:?}")));
    for (low, third) in (0..6).flat_map(|low| [(low, 0), (low, 1), (low, 9)]) {
        let group = tables.groups.of_address(Ipv4Addr::new(10, 0, third, low).into());
        for port in 79..95 {
            let found = group.and_then(|group| tables.find_vip(group, 6, port));
            answers.push(format!("{low} {third} {port} {found:?}"));
        }
        let direct = group.map(|group| tables.groups.returns_directly(group));
        answers.push(format!("{low} {third} {direct:?}"));
    }
    for port in 30_000..30_006 {
        answers.push(format!("{:?}", tables.find_node_port(false, 6, port)));
    }
    for (low, port) in (0..9).flat_map(|low| (998..1005).map(move |port| (low, port))) {
        let service = tables.reverse.get(Ipv4Addr::new(192, 168, 0, low), port, 6);
        answers.push(format!("{low} {port} {:?}", service.map(|found| found.candidates())));
    }
    answers
}

fn any_vip() -> impl Strategy<Value = Option<Described>> {
    let server = (0..8u8, prop::sample::select(vec![0u8, 50, 100]), any::<bool>(), 0..3u8);
    prop::option::weighted(0.8, (any::<bool>(), prop::collection::vec(server, 0..5)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn steps_end_where_a_build_at_once_does(
        steps in prop::collection::vec(prop::collection::btree_map(0..VIPS, any_vip(), 1..4), 1..8),
    ) {
        let (mut tables, mut vips) = (empty(), BTreeMap::new());
        let mut cache = NewFlowCache::new();
        for step in steps {
            let own: Vec<_> = step
                .iter()
                .map(|(id, now)| now.as_ref().map_or(Vec::new(), |(_, own)| servers(*id, own)))
                .collect();
            let changes: Vec<_> = step
                .iter()
                .zip(&own)
                .map(|((id, now), servers)| VipChange {
                    id: spec(*id, false).id,
                    now: now.as_ref().map(|(nat, _)| (spec(*id, *nat), &servers[..])),
                })
                .collect();
            tables = tables.changed(&changes, &mut cache).unwrap();
            for (id, now) in step {
                match now {
                    Some(now) => vips.insert(id, now),
                    None => vips.remove(&id),
                };
            }
            prop_assert_eq!(answers(&tables), answers(&built(&vips, &empty())));
        }
    }
}

#[test]
fn what_did_not_change_is_shared() {
    let vips: BTreeMap<u32, Described> =
        (0..4).map(|id| (id, (true, vec![(id as u8, 100, false, 0)]))).collect();
    let before = built(&vips, &empty());
    let lighter = servers(1, &[(1, 50, false, 0), (7, 1, false, 0)]);
    let change = VipChange { id: spec(1, true).id, now: Some((spec(1, true), &lighter)) };
    let after = before.changed(&[change], &mut NewFlowCache::new()).unwrap();
    assert!(Arc::ptr_eq(&before.groups, &after.groups));
    for id in [0, 2, 3] {
        let [old, new] = [&before, &after].map(|tables| tables.vip(spec(id, true).id).unwrap());
        assert!(Arc::ptr_eq(&old.table, &new.table) && Arc::ptr_eq(&old.members, &new.members));
    }
    assert_ne!(answers(&before), answers(&after));
}

#[test]
fn a_change_that_is_impossible_is_refused() {
    let tables = built(&BTreeMap::from([(0, (true, vec![(1, 100, false, 0)]))]), &empty());
    let refused = |id: u32, servers: &[ApplicationServer]| {
        let change = VipChange { id: spec(id, true).id, now: Some((spec(id, true), servers)) };
        tables.changed(&[change], &mut NewFlowCache::new()).unwrap_err()
    };
    let mut own = servers(1, &[(1, 100, false, 0), (2, 100, false, 0)]);
    own[1].address = own[0].address;
    assert_eq!(refused(1, &own), LbTablesError::DuplicateServer(own[1].id));
    own.truncate(1);
    own[0].weight = 101;
    assert_eq!(refused(1, &own), LbTablesError::Weight(own[0].id));
    own[0] = ApplicationServer { weight: 1, id: AsId::new(1).unwrap(), ..own[0] };
    assert_eq!(refused(1, &own), LbTablesError::DuplicateServer(own[0].id));
    own[0].address = "2001:db8::1".parse().unwrap();
    assert_eq!(refused(2, &own), LbTablesError::Family(own[0].id));
}
