//! Round robin: one cursor for a VIP over all workers, moved by new flows only.

use std::net::Ipv4Addr;

use balancer::{Decision, FlowTuple, Protocol, Scheduler, TcpFlags, VipSpec, Why};

use crate::world::*;

fn world(protocol: Protocol, servers: u32, nat: bool, buckets: u64) -> World {
    let target = if nat { spec(1, protocol).target } else { balancer::TargetPort::Keep };
    let vip = VipSpec { scheduler: Scheduler::RoundRobin, nat, target, ..spec(1, protocol) };
    let servers = (0..servers).map(|n| server(n, 1, n as u8 + 1)).collect();
    World::new(vec![vip], servers, buckets)
}

/// server1, 2, 3 in order, whatever worker the connections arrive at.
#[test]
fn new_connections_take_turns() {
    for nat in [true, false] {
        let mut world = world(Protocol::Tcp, 3, nat, 64);
        for port in 0..30 {
            let worker = usize::from(port % 2);
            let id = as_id(u32::from(port) % 3);
            assert_eq!(world.send_at(worker, 1, port, SYN), Decision::New(id));
            // Nothing but a new flow takes a turn.
            assert_eq!(world.send_at(worker, 1, port, SYN), Decision::Existing(id));
            assert_eq!(world.send_at(worker, 1, port, ACK), Decision::Existing(id));
            assert_eq!(world.send_at(1 - worker, 1, port, ACK), Decision::Existing(id));
        }
    }
}

#[test]
fn udp_flows_take_turns_too() {
    let mut world = world(Protocol::Udp, 3, true, 64);
    for port in 0..9 {
        let id = as_id(u32::from(port) % 3);
        assert_eq!(world.send(1, port, TcpFlags::NONE), Decision::New(id));
        assert_eq!(world.send(1, port, TcpFlags::NONE), Decision::Existing(id));
    }
}

#[test]
fn weights_and_changes_are_followed() {
    let mut world = world(Protocol::Tcp, 3, true, 64);
    world.server_mut(0).weight = 50;
    world.server_mut(1).weight = 0;
    world.publish();
    let ids: Vec<_> = (0..6).map(|port| world.send(1, port, SYN).server().unwrap().get()).collect();
    assert_eq!(ids.iter().filter(|&&id| id == 0).count(), 2);
    assert!(ids.windows(3).all(|ids| ids.contains(&0)), "spread: {ids:?}");
    // The cursor is kept: the next of three, then, is not the first again.
    let before = world.tables.vip(vip_id(1)).unwrap().rotation.clone().unwrap();
    world.server_mut(0).weight = 100;
    world.server_mut(1).weight = 100;
    world.publish();
    assert_eq!(before.next(), Some(as_id(2)), "of the order 2, 0, 2");
    assert_eq!(world.send(1, 10, SYN), Decision::New(as_id(0)));
    assert_eq!(world.send(1, 11, SYN), Decision::New(as_id(1)));
    assert_eq!(before.next(), Some(as_id(2)), "the snapshots share the cursor");
}

/// What cannot be remembered goes where every worker would send it, packet after packet; so does
/// what may have been such a flow until now.
#[test]
fn untracked_flows_do_not_rotate() {
    let mut world = world(Protocol::Tcp, 3, true, 1);
    (0..4).for_each(|port| {
        assert_eq!(world.send(1, port, SYN).server(), Some(as_id(u32::from(port) % 3)));
        world.send(1, port, ACK);
    });
    for port in 10..40 {
        let wish = world.wish(1, port);
        assert_eq!(world.send(1, port, SYN), Decision::Untracked(wish));
        assert_eq!(world.send_at(0, 1, port, ACK), Decision::Untracked(wish));
    }
    assert_eq!(
        world.tables.vip(vip_id(1)).unwrap().rotation.as_ref().unwrap().next(),
        Some(as_id(1))
    );
    // On a worker with room, and without a SYN: it may well have been untracked so far.
    let wish = world.wish(1, 50);
    assert_eq!(world.send_at(1, 1, 50, ACK), Decision::New(wish));
}

/// The next in turn that the client can use, if its port is taken at the one whose turn it is.
#[test]
fn a_clash_passes_the_turn_on() {
    let vips =
        [1, 2].map(|n| VipSpec { scheduler: Scheduler::RoundRobin, ..spec(n, Protocol::Tcp) });
    let servers = vec![server(0, 1, 1), server(1, 1, 2), server(2, 2, 1), server(3, 2, 2)];
    let mut world = World::new(vips.into(), servers, 64);
    assert_eq!(world.send(1, 7, SYN), Decision::New(as_id(0)));
    assert_eq!(world.send(2, 7, SYN), Decision::New(as_id(3)), "2 is the same server as 0");
    assert_eq!(world.reply(1, 7, ACK), translate(1, as_id(0)));
    assert_eq!(world.reply(2, 7, ACK), translate(2, as_id(3)));
}

#[test]
fn nobody_s_turn_without_servers() {
    let mut world = world(Protocol::Tcp, 0, true, 64);
    assert_eq!(world.send(1, 1, SYN), Decision::NoServer);
    let vip = world.tables.vip(vip_id(1)).unwrap().clone();
    assert_eq!(vip.scheduler(), Scheduler::RoundRobin);
    let tuple = FlowTuple {
        src: CLIENT,
        dst: Ipv4Addr::new(20, 20, 20, 1),
        src_port: 1,
        dst_port: 2020,
        protocol: 6,
    };
    assert_eq!(world.balancer(0).peek(&vip, &tuple).why, Why::NoServer);
    world.servers.push(server(0, 1, 1));
    world.publish();
    let vip = world.tables.vip(vip_id(1)).unwrap().clone();
    let explained = world.balancer(0).peek(&vip, &tuple);
    assert_eq!((explained.server, explained.why), (Some(as_id(0)), Why::RoundRobin));
    assert_eq!(world.send(1, 1, SYN), Decision::New(as_id(0)));
}
