//! Replies, services behind two VIPs, direct flows, and full tables.

use balancer::{Decision, DirectDecision, Protocol, ReplyVerdict, VipCounter};

use crate::world::*;

/// D-03: the flow follows the new-flow table and is counted; nothing alive is evicted.
#[test]
fn a_full_table_forwards_untracked() {
    let servers = (0..4).map(|n| server(n, 1, n as u8 + 1)).collect();
    let mut world = World::new(vec![spec(1, Protocol::Tcp)], servers, 1);
    let tracked: Vec<_> = (0..4).map(|port| world.send(1, port, ACK)).collect();
    let late = world.send(1, 9, SYN);
    let id = late.server().unwrap();
    assert_eq!((late, late.counter()), (Decision::Untracked(id), Some(VipCounter::Untracked)));
    assert_eq!(world.send(1, 9, ACK), Decision::Untracked(id));
    assert_eq!(world.reply(world.last_octet(id), 9, ACK), translate(1, id));
    for (port, decision) in (0..4).zip(tracked) {
        let id = decision.server().unwrap();
        assert_eq!(world.send(1, port, ACK), Decision::Existing(id));
    }
}

/// The one exception: replies of a service behind two VIPs need the entry.
#[test]
fn a_full_table_drops_what_could_not_be_answered() {
    let mut world = World::two_vips(1);
    (0..4).for_each(|port| assert!(world.send(1, port, ACK).server().is_some()));
    let late = world.send(2, 9, SYN);
    assert_eq!((late, late.counter()), (Decision::TableFullDrop, None));
    assert_eq!(world.direct(1, 9, SYN), DirectDecision::TableFullDrop);
}

/// B-21; VPP overwrites one mapping with the other and crashes later (defect 22).
#[test]
fn two_vips_share_a_service() {
    let mut world = World::two_vips(1024);
    for port in 0..200 {
        let vip = 1 + u32::from(port % 2);
        let id = world.send(vip, port, SYN).server().unwrap();
        let last = world.last_octet(id);
        assert_eq!(world.reply(last, port, SYN.with(ACK)), translate(vip, id));
        assert_eq!(world.reply(3 - last, port, ACK), ReplyVerdict::NoFlow);
        // The reply may land on another worker.
        assert_eq!(world.reply_at(1, last, port, ACK), translate(vip, id));
    }
}

/// The server sees one connection only of a client's address and port.
#[test]
fn one_port_on_both_vips_goes_to_two_servers() {
    for worker in [0, 1] {
        let mut world = World::two_vips(1024);
        let mut clashes = 0;
        for port in 0..200 {
            let one = world.send(1, port, SYN).server().unwrap();
            let two = world.send_at(worker, 2, port, SYN).server().unwrap();
            assert_ne!(world.last_octet(one), world.last_octet(two));
            assert_eq!(world.reply(world.last_octet(one), port, ACK), translate(1, one));
            assert_eq!(world.reply(world.last_octet(two), port, ACK), translate(2, two));
            // Where the table would have sent the flow but for the clash?
            let wish = world.wish(2, port);
            clashes += u32::from(wish != two);
        }
        assert!((60..140).contains(&clashes), "half of the ports: {clashes}");
    }
}

/// The server is still in TIME_WAIT for the connection that came through the other VIP, and would
/// answer the SYN of the new one with an ACK of the old one.
#[test]
fn a_new_connection_keeps_clear_of_a_closing_one() {
    let mut world = World::two_vips(1024);
    for port in 0..200 {
        let one = world.send(1, port, SYN).server().unwrap();
        world.send(1, port, FIN);
        let two = world.send(2, port, SYN).server().unwrap();
        assert_ne!(world.last_octet(one), world.last_octet(two));
        // On the same VIP it stays: the client's own clock makes the new SYN acceptable there.
        assert_eq!(world.send(1, port, SYN), Decision::New(one));
        // What is no SYN belongs to an older connection, which knows no closing one.
        let wish = world.wish(2, port + 1000);
        world.send(1, port + 1000, SYN);
        world.send(1, port + 1000, FIN);
        assert_eq!(world.send(2, port + 1000, ACK), Decision::New(wish));
    }
}

#[test]
fn without_a_free_server_a_clash_is_refused() {
    let vips = vec![spec(1, Protocol::Tcp), spec(2, Protocol::Tcp)];
    let mut world = World::new(vips, vec![server(0, 1, 1), server(1, 2, 1)], 64);
    assert_eq!(world.send(1, 5, SYN), Decision::New(as_id(0)));
    assert_eq!(world.send(2, 5, SYN), Decision::TupleInUse);
    assert_eq!(world.send_at(1, 2, 5, SYN), Decision::TupleInUse, "at a peer as well");
    // A closing flow is in nobody's way, except a peer's, which only the peer can end.
    world.send(1, 5, FIN);
    assert_eq!(world.send_at(1, 2, 5, SYN), Decision::TupleInUse);
    assert_eq!(world.send(2, 5, SYN), Decision::New(as_id(1)));
    assert_eq!((world.live(0), world.live(1)), (0, 1));
    assert_eq!(world.reply(1, 5, SYN.with(ACK)), translate(2, as_id(1)));
    // Nor is an expired one.
    world.now_s += 40;
    assert_eq!(world.send(1, 5, SYN), Decision::New(as_id(0)));
}

/// A client may use a service through the VIP and past it.
#[test]
fn direct_flows_pass_untouched() {
    let mut world = World::one_vip(1);
    assert_eq!(world.direct(1, 1, SYN), DirectDecision::New);
    assert_eq!(world.direct(1, 1, ACK), DirectDecision::Existing);
    assert_eq!(world.reply(1, 1, SYN.with(ACK)), ReplyVerdict::Direct);
    assert_eq!(world.reply_at(1, 1, 1, ACK), ReplyVerdict::Direct, "on another worker");
    assert_eq!(world.reply(1, 2, ACK), translate(1, as_id(0)));
    assert_eq!(world.direct(2, 1, SYN), DirectDecision::NotMapped);
    assert_eq!(world.reply(2, 1, ACK), ReplyVerdict::NotMapped);
    assert_eq!(world.live(0), 0, "no flow of the AS's VIP");

    // Both ways at once are not to be told apart.
    assert_eq!(world.send(1, 1, SYN), Decision::TupleInUse);
    assert_eq!(world.send(1, 2, SYN), Decision::New(as_id(0)));
    assert_eq!(world.direct(1, 2, SYN), DirectDecision::TupleInUse);
    assert_eq!(world.direct_at(1, 1, 2, SYN), DirectDecision::TupleInUse);

    // Each can follow the other once that is closing.
    assert_eq!(world.reply(1, 1, FIN), ReplyVerdict::Direct);
    assert_eq!(world.send(1, 1, SYN), Decision::New(as_id(0)));
    assert_eq!(world.reply(1, 1, ACK), translate(1, as_id(0)));
    world.send(1, 2, ACK);
    world.send(1, 2, RST);
    assert_eq!(world.direct(1, 2, SYN), DirectDecision::New);
    assert_eq!(world.reply(1, 2, ACK), ReplyVerdict::Direct);
    // A port used again, and ids of services that survive a new snapshot.
    world.direct(1, 2, FIN);
    assert_eq!(world.direct(1, 2, SYN), DirectDecision::New);
    world.servers.push(server(1, 1, 0));
    world.publish();
    assert_eq!(world.direct(1, 2, ACK), DirectDecision::Existing);
}
