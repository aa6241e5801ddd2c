//! Replies of a burst on the express way, where their flows are known, not known, or begin meanwhile.

use std::net::Ipv4Addr;

use balancer::{FlowEntry, StickyOwner, StickyTable};
use dataplane::interface::InterfaceId;
use testkit::harness::Harness;
use testkit::packet_builder::PacketBuilder;

use crate::plan::{
    CLIENT, CLIENT_LINK, FAR, HOST, SERVER_LINK, SERVERS, VIP, balanced_harness, balanced_world,
    destination, from_client, from_host, from_server,
};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;

/// A frame, and where it arrives.
type Arrival = (InterfaceId, Vec<u8>);

fn answer(server: Ipv4Addr, to: (Ipv4Addr, u16), flags: u8) -> Arrival {
    let packet = PacketBuilder::tcp((server, 80), to, flags).data(*b"HTTP/1.1 200 OK");
    (SERVER_LINK, from_server(server, packet).build())
}

fn udp_answer(server: Ipv4Addr, port: u16) -> Arrival {
    let packet = PacketBuilder::udp((server, 3307), (CLIENT, port)).data(*b"twelve bytes");
    (SERVER_LINK, from_server(server, packet).build())
}

/// From a host on the ASs' link.
fn request(port: u16, flags: u8) -> Arrival {
    let packet = PacketBuilder::tcp((HOST, port), (VIP, 8080), flags).data(*b"GET / HTTP/1.1");
    (SERVER_LINK, from_host(packet).build())
}

fn turn_with(harness: &mut Harness, frames: &[Arrival]) -> Vec<Arrival> {
    frames.iter().for_each(|(link, frame)| harness.arrive(*link, frame));
    let mut sent = harness.turn();
    sent.sort();
    sent
}

fn on_the_express_way(harness: &Harness) -> u64 {
    harness.counter("lb-express", "packets on the express way")
}

fn entries_of(table: &StickyTable) -> Vec<FlowEntry> {
    (0..table.capacity()).filter_map(|at| table.entry(at)).collect()
}

fn entries(harness: &Harness) -> Vec<FlowEntry> {
    entries_of(harness.worker.state.sticky.table())
}

/// Ports of the host from which flows go to the one AS and to the other.
fn ports_by_server() -> [u16; 2] {
    let mut harness = balanced_harness();
    let mut server_of =
        |port: u16| destination(&harness.forward(SERVER_LINK, &request(port, SYN).1).1);
    let ports: Vec<(u16, Ipv4Addr)> = (5000..5050).map(|port| (port, server_of(port))).collect();
    SERVERS.map(|server| ports.iter().find(|(_, of)| *of == server).expect("one of fifty").0)
}

/// What the other nodes make of them is what is to come of them here, for replies of one AS that has flows
/// and of one that has none, more of them than fit into a group.
#[test]
fn replies_of_a_burst_without_flows_are_sent_as_the_other_nodes_do() {
    let to_host = |at: u16| answer(SERVERS[usize::from(at) % 2], (HOST, 7000 + at), ACK);
    let bursts: [Vec<Arrival>; 2] =
        [(0..80).map(to_host).collect(), (0..80).map(|at| udp_answer(SERVERS[1], at)).collect()];
    for known in [false, true] {
        let (mut here, mut plain) = (balanced_harness(), Harness::plain(balanced_world()));
        for harness in [&mut here, &mut plain] {
            if known {
                turn_with(harness, &[request(ports_by_server()[0], SYN)]);
            }
        }
        let (before, flows) = (on_the_express_way(&here), entries(&here));
        for burst in &bursts {
            for _ in 0..2 {
                assert_eq!(turn_with(&mut here, burst), turn_with(&mut plain, burst));
            }
        }
        assert_eq!(on_the_express_way(&here) - before, 4 * 80);
        assert_eq!(entries(&here), flows, "replies begin no flows and change none of others");
        let counts = here.shared().servers.iter().map(|of| of.reply_packets.get());
        assert_eq!(counts.sum::<u64>(), 4 * 80);
    }
}

/// An AS gets its first flow, and answers, in one frame: in the same group and in the next one.
#[test]
fn a_reply_is_seen_by_a_flow_that_began_in_the_same_frame() {
    let [other, port] = ports_by_server();
    for between in [0, 70] {
        let prepared = || {
            let mut harness = balanced_harness();
            turn_with(&mut harness, &[request(other, SYN)]);
            // Both services are remembered; nobody knows the client that the second one speaks to.
            for (server, to) in [(SERVERS[0], other), (SERVERS[0], other), (SERVERS[1], 9)] {
                turn_with(&mut harness, &[answer(server, (HOST, to), ACK)]);
            }
            harness
        };
        let mut frames = vec![request(port, ACK)];
        frames.extend((0..between).map(|_| request(other, ACK)));
        frames.push(answer(SERVERS[1], (HOST, port), FIN_ACK));
        let [mut at_once, mut one_by_one] = [prepared(), prepared()];
        let before = on_the_express_way(&at_once);
        turn_with(&mut at_once, &frames);
        assert_eq!(on_the_express_way(&at_once) - before, frames.len() as u64);
        let (reply, requests) = frames.split_last().expect("there are some");
        turn_with(&mut one_by_one, requests);
        let begun = entries(&one_by_one);
        turn_with(&mut one_by_one, std::slice::from_ref(reply));
        assert_ne!(entries(&one_by_one), begun, "the reply ends the flow");
        assert_eq!(entries(&at_once), entries(&one_by_one));
    }
}

/// As long as flows are to follow from the table before, what is not in this one may be there.
#[test]
fn a_reply_is_seen_by_a_flow_in_the_table_before() {
    let [port, _] = ports_by_server();
    let mut harness = balanced_harness();
    turn_with(&mut harness, &[request(port, SYN)]);
    let reply = |flags| answer(SERVERS[0], (HOST, port), flags);
    turn_with(&mut harness, &[reply(ACK)]);
    let sticky = &mut harness.worker.state.sticky;
    let before = std::sync::Arc::clone(sticky.table());
    let larger = StickyOwner::resized(&before, 2 * before.buckets() as u64).expect("a table");
    assert!(sticky.replace(Box::new(larger)).is_none());
    let open = entries_of(&before);
    turn_with(&mut harness, &vec![reply(ACK); 40]);
    turn_with(&mut harness, &vec![reply(FIN_ACK); 40]);
    assert_eq!((open.len(), entries(&harness).len()), (1, 0));
    assert_ne!(entries_of(&before), open);
}

/// Where a client speaks to an AS past its VIP, its replies keep the AS's name; those behind them between
/// the same two stay behind.
#[test]
fn replies_to_who_came_directly_are_left_to_the_other_nodes() {
    let direct = PacketBuilder::udp((CLIENT, 7000), (SERVERS[0], 3307)).data(*b"twelve bytes");
    let direct = (CLIENT_LINK, from_client(direct).build());
    let ask = PacketBuilder::udp((CLIENT, 5000), (VIP, 20000)).data(*b"twelve bytes");
    let ask = (CLIENT_LINK, from_client(ask).build());
    let (mut here, mut plain) = (balanced_harness(), Harness::plain(balanced_world()));
    let steps = [
        vec![udp_answer(SERVERS[0], 1)],
        vec![ask],
        vec![direct],
        (0..80).map(|at| udp_answer(SERVERS[at / 2 % 2], 5000 + 2000 * (at % 2) as u16)).collect(),
        (0..80).map(|at| udp_answer(SERVERS[at % 2], 5000)).collect(),
    ];
    for step in &steps {
        assert_eq!(turn_with(&mut here, step), turn_with(&mut plain, step));
    }
    assert_eq!(entries(&here), entries(&plain));
}

/// Clients on both links, and behind a route: whichever way the others of a group take, each reply takes its own.
#[test]
fn replies_of_a_group_take_several_ways() {
    let clients = [CLIENT, HOST, FAR];
    let reply = |at: usize, client: Ipv4Addr| {
        let server = SERVERS[at % 2];
        let packet =
            PacketBuilder::udp((server, 3307), (client, 4000 + at as u16)).data(*b"twelve bytes");
        (SERVER_LINK, from_server(server, packet).build())
    };
    let odd_one = |odd: usize| move |at: usize| usize::from(at == odd);
    let in_turns = |at: usize| at % 3;
    let patterns: [Box<dyn Fn(usize) -> usize>; 6] = [
        Box::new(odd_one(0)),
        Box::new(odd_one(7)),
        Box::new(odd_one(63)),
        Box::new(odd_one(64)),
        Box::new(in_turns),
        Box::new(odd_one(149)),
    ];
    let (mut here, mut plain) = (balanced_harness(), Harness::plain(balanced_world()));
    for pattern in &patterns {
        let burst: Vec<Arrival> = (0..150).map(|at| reply(at, clients[pattern(at)])).collect();
        assert_eq!(turn_with(&mut here, &burst), turn_with(&mut plain, &burst));
        let before = on_the_express_way(&here);
        assert_eq!(turn_with(&mut here, &burst), turn_with(&mut plain, &burst));
        assert_eq!(on_the_express_way(&here) - before, 150);
    }
}

/// One that is longer than the way to the client allows goes to the other nodes, and nothing of the same two
/// overtakes it, be it in its group or in the next.
#[test]
fn replies_behind_one_that_is_too_long_stay_behind() {
    let reply = |len: u8| {
        let data: Vec<u8> = (0..len).collect();
        let packet = PacketBuilder::udp((SERVERS[0], 3307), (CLIENT, 4000)).data(data);
        (SERVER_LINK, from_server(SERVERS[0], packet).build())
    };
    let narrow = || {
        let mut world = balanced_world();
        world.interface(CLIENT_LINK).mtu = 100;
        world
    };
    for at in [0, 5, 70, 140] {
        let (mut here, mut plain) = (Harness::new(narrow()), Harness::plain(narrow()));
        for _ in 0..2 {
            assert_eq!(turn_with(&mut here, &[reply(1)]), turn_with(&mut plain, &[reply(1)]));
        }
        let before = on_the_express_way(&here);
        for number in 0..150 {
            let (link, frame) = reply(if number == at { 120 } else { number % 60 });
            here.arrive(link, &frame);
            plain.arrive(link, &frame);
        }
        assert_eq!(here.turn(), plain.turn(), "the one in place {at}");
        let taken = on_the_express_way(&here) - before;
        assert_eq!(taken, u64::from(at / 64 * 64), "only groups before it");
    }
}

/// Most replies of a burst are the first of their flows in a second: what they leave is what the other nodes leave,
/// whether the flow is the AS's or another's.
#[test]
fn flows_of_a_burst_of_replies_live_on_from_its_second() {
    let ask = |port: u16| {
        let packet = PacketBuilder::udp((CLIENT, port), (VIP, 20000)).data(*b"twelve bytes");
        (CLIENT_LINK, from_client(packet).build())
    };
    let ports: Vec<u16> = (6000..6020).collect();
    let prepared = |mut harness: Harness| {
        for port in &ports {
            turn_with(&mut harness, &[ask(*port)]);
        }
        // What replies of either AS are like.
        for server in SERVERS.into_iter().cycle().take(4) {
            turn_with(&mut harness, &[udp_answer(server, 9)]);
        }
        harness.wait(1);
        harness
    };
    let [mut express, mut plain] =
        [balanced_harness(), Harness::plain(balanced_world())].map(prepared);
    let begun = entries(&express);
    let replies: Vec<Arrival> =
        ports.iter().map(|port| udp_answer(SERVERS[usize::from(port % 3 / 2)], *port)).collect();
    let before = on_the_express_way(&express);
    let [by_express, by_plain] =
        [&mut express, &mut plain].map(|harness| turn_with(harness, &replies));
    assert_eq!(by_express, by_plain);
    assert_eq!(on_the_express_way(&express) - before, replies.len() as u64);
    assert_eq!(entries(&express), entries(&plain));
    let renewed = entries(&express).iter().zip(&begun).filter(|(one, other)| one != other).count();
    assert!((5..20).contains(&renewed), "{renewed} of 20");
}

/// Among requests from the same link that are like its own packet.
#[test]
fn a_server_that_speaks_to_a_vip_from_its_service_is_no_client() {
    let prepared = |mut harness: Harness| {
        (5000..5004).for_each(|port| _ = turn_with(&mut harness, &[request(port, SYN)]));
        harness
    };
    let [mut express, mut plain] =
        [balanced_harness(), Harness::plain(balanced_world())].map(prepared);
    let frames = [
        request(5000, ACK),
        answer(SERVERS[0], (VIP, 8080), ACK),
        request(5001, ACK),
        answer(SERVERS[1], (VIP, 8080), SYN),
        request(5002, ACK),
    ];
    let before = on_the_express_way(&express);
    let [by_express, by_plain] =
        [&mut express, &mut plain].map(|harness| turn_with(harness, &frames));
    assert_eq!(by_express, by_plain);
    assert!(on_the_express_way(&express) - before >= 3);
    assert_eq!(entries(&express), entries(&plain));
}
