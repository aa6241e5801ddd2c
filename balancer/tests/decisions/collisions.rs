//! Two clients whose flows have the same hash (D-15): NAT never gives one the packets of the other.

use std::net::Ipv4Addr;

use balancer::{
    Decision, FlowKey, FlowTuple, InstanceKey, Prefix, Protocol, ReplyVerdict, StickyOwner,
};

use crate::world::*;

/// Pairs of clients and ports whose 48 bits of hash are equal under the instance key of [`World`],
/// out of 2^26 that were tried.
const PAIRS: [[([u8; 4], u16); 2]; 4] = [
    [([10, 0, 5, 213], 6961), ([10, 0, 10, 136], 8191)],
    [([10, 0, 7, 130], 9876), ([10, 0, 13, 118], 2307)],
    [([10, 0, 0, 177], 2578), ([10, 0, 12, 12], 10743)],
    [([10, 0, 4, 230], 3713), ([10, 0, 11, 57], 5323)],
];

/// A NAT VIP of 256 addresses with one AS, so that entries alone tell flows apart.
fn world() -> World {
    let mut vip = spec(1, Protocol::Tcp);
    vip.key.prefix = Prefix::new(Ipv4Addr::new(20, 20, 20, 0).into(), 24).unwrap();
    World::new(vec![vip], vec![server(0, 1, 1)], 1024)
}

fn tuple((client, port): ([u8; 4], u16), last: u8) -> FlowTuple<Ipv4Addr> {
    FlowTuple {
        src: client.into(),
        dst: vip_address(last.into()),
        src_port: port,
        dst_port: 2020,
        protocol: 6,
    }
}

/// Whom the AS's answer to a flow seems to come from.
fn answer(world: &mut World, worker: usize, flow: &FlowTuple<Ipv4Addr>) -> ReplyVerdict<Ipv4Addr> {
    let vip = world.vip_of(flow).unwrap();
    let reply = world.reply_tuple(&vip, flow, as_id(0));
    world.balancer(worker).attribute_reply(&reply, ACK)
}

#[test]
fn nat_keeps_flows_of_one_hash_apart() {
    for pair in PAIRS {
        let [one, other] = [tuple(pair[0], 7), tuple(pair[1], 8)];
        let key = InstanceKey::from_bytes([9; 32]);
        let many = StickyOwner::new(1 << 16, key, 1).unwrap();
        let buckets = |flow| many.table().bucket_of(&FlowKey::full(&key, flow, vip_id(1)));
        assert_eq!(buckets(&one), buckets(&other), "a collision");

        let mut world = world();
        assert_eq!(world.forward(0, &one, SYN), Decision::New(as_id(0)));
        for worker in [0, 1] {
            assert_eq!(answer(&mut world, worker, &other), ReplyVerdict::NoFlow);
            assert_eq!(answer(&mut world, worker, &one), to_vip(7));
        }
        // The other one is new, though there is an entry with its hash.
        assert_eq!(world.forward(0, &other, SYN), Decision::New(as_id(0)));
        for worker in [0, 1] {
            assert_eq!(answer(&mut world, worker, &one), to_vip(7));
            assert_eq!(answer(&mut world, worker, &other), to_vip(8));
        }
        assert_eq!(world.live(0), 2);
        // What ends one leaves the other as it is.
        world.forward(0, &one, RST);
        assert_eq!(world.forward(0, &other, ACK), Decision::Existing(as_id(0)));
        assert_eq!(answer(&mut world, 0, &other), to_vip(8));
    }
}

fn to_vip(last: u32) -> ReplyVerdict<Ipv4Addr> {
    let (vip, as_id, address) = (vip_id(1), as_id(0), vip_address(last));
    ReplyVerdict::Translate { vip, as_id, address, port: 2020 }
}
