//! No packet comes out of nothing and none gets lost: of all that arrives, however damaged, each is
//! sent, dropped with a reason, dealt with, given to control, or held for a while.

use std::net::IpAddr;

use dataplane::event::Event;
use dataplane::interface::InterfaceId;
use dataplane::node::Severity;
use dataplane::packet::Packet;
use proptest::prelude::*;
use testkit::harness::Harness;
use testkit::packet_builder::{
    PacketBuilder, arp, fragments, neighbor_advertisement, neighbor_solicitation,
};
use testkit::world::World;

use crate::malformed::{full_seeds, full_world};
use crate::plan::{
    CLIENT, CLIENT_LINK, CLIENT_MAC, HOST, HOST_MAC, OUR_CLIENT_SIDE, OUR_SERVER_SIDE, SERVER_LINK,
    from_client, from_host,
};
use crate::services::{
    CLIENT6, OUR_CLIENT_SIDE6, OUR_SERVER_SIDE6, SERVER6, answering, arriving, client, server, vip,
};

/// Frames, and where they arrive.
type Seeds = Vec<(InterfaceId, Vec<u8>)>;

/// A host on the far side of the tunnel over IPv4 or IPv6.
const fn behind(v6: bool) -> [u8; 4] {
    [10, 67, if v6 { 6 } else { 4 }, 9]
}

/// The world of all methods, with VLANs on the client link and a tunnel of each family.
fn world() -> World {
    let mut world = full_world();
    world.add_neighbor(SERVER_LINK, HOST, HOST_MAC);
    let mut v6 = OUR_CLIENT_SIDE6.segments();
    for (vlan, inner) in [(100, None), (200, Some(7))] {
        v6[3] = vlan;
        let kind = if inner.is_some() { 0x88a8 } else { 0x8100 };
        let own = [([10, vlan as u8, 0, 254].into(), 24), (v6.into(), 64)];
        world.add_sub_interface(CLIENT_LINK, (kind, vlan), inner, &own);
    }
    for (over6, [a, b, c, _]) in [(false, behind(false)), (true, behind(true))] {
        let own = [([a, b, c, 254].into(), 24)];
        match over6 {
            false => world.add_tunnel(OUR_SERVER_SIDE, HOST, &own),
            true => world.add_tunnel(OUR_SERVER_SIDE6, SERVER6, &own),
        };
    }
    world
}

/// Each kind of IPv6 extension header, in front of TCP to a VIP, a host, and us.
fn extensions() -> Seeds {
    let mut seeds = Vec::new();
    for to in [vip(true), server(true), OUR_CLIENT_SIDE6.into()] {
        let tcp = || PacketBuilder::tcp((CLIENT6, 7), (to, 1), 2);
        seeds.extend([
            tcp().padded_extension(0, 0).padded_extension(60, 1),
            tcp().padded_extension(43, 0),
            tcp().extension(43, &[0, 4, 1, 0, 0, 0, 0]),
            tcp().extension(51, &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
            tcp().fragment_header(0, false, 5),
            tcp().padded_extension(60, 0).fragment_header(0, true, 6).data([9; 8]),
            tcp().fragment_header(64, false, 7).data([9; 8]),
            (0..9).fold(tcp(), |packet, _| packet.padded_extension(60, 0)),
        ]);
    }
    seeds.into_iter().map(|builder| (CLIENT_LINK, arriving(builder))).collect()
}

/// Datagrams in fragments: to every VIP, from the NAT AS, and through.
fn in_fragments(v6: bool) -> Seeds {
    let data = vec![7; 80];
    let (client, server) = (client(v6), server(v6));
    let to_vips = (1..=9).map(|port| (CLIENT_LINK, (client, 7), (vip(v6), port)));
    let reply = (SERVER_LINK, (server, 8080), (client, 7));
    let mut seeds = Vec::new();
    for (link, from, to) in to_vips.chain([reply, (CLIENT_LINK, (client, 7), (server, 53))]) {
        let whole = PacketBuilder::tcp(from, to, 0x18).data(data.clone()).packet();
        let header_len = if v6 { 48 } else { 20 };
        for fragment in fragments(&whole, header_len + 64, 77) {
            seeds.push((link, framed(link, &fragment)));
        }
    }
    seeds
}

/// An IP packet in a frame to us.
fn framed(link: InterfaceId, packet: &[u8]) -> Vec<u8> {
    let source = if link == CLIENT_LINK { CLIENT_MAC } else { crate::services::SERVER_MAC };
    let kind: [u8; 2] = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
    [&World::mac(link).0[..], &source.0, &kind, packet].concat()
}

/// Packets in packets: out of our tunnels, into them, and to us by other methods.
fn tunnelled() -> Seeds {
    let mut seeds = Vec::new();
    for v6 in [false, true] {
        let inner = [
            PacketBuilder::udp((server(v6), 7), (client(v6), 8)).data([1; 4]).packet(),
            PacketBuilder::tcp((client(v6), 7), (vip(v6), 9), 2).tcp_options(&[1; 4]).packet(),
            PacketBuilder::icmp(behind(v6), OUR_CLIENT_SIDE, (8, 0), [0, 1, 0, 2]).packet(),
        ];
        for inner in &inner {
            let over4 = PacketBuilder::ipip(HOST, OUR_SERVER_SIDE, inner);
            seeds.push((SERVER_LINK, from_host(over4).build()));
            let over6 = PacketBuilder::ipip(SERVER6, OUR_SERVER_SIDE6, inner);
            seeds.push((SERVER_LINK, answering(over6.padded_extension(60, 0))));
        }
        let into = PacketBuilder::udp((CLIENT, 7), (behind(v6), 8)).data([2; 9]);
        seeds.push((CLIENT_LINK, from_client(into).build()));
        let gre = PacketBuilder::gre(client(v6), vip(v6), &inner[0]);
        let gue = PacketBuilder::gue((client(v6), 50_000), vip(v6), &inner[0]);
        seeds.extend([(CLIENT_LINK, arriving(gre)), (CLIENT_LINK, arriving(gue))]);
    }
    seeds
}

/// What hosts on a link say to each other.
fn link_messages() -> Seeds {
    let (we, they) = (World::mac(CLIENT_LINK), CLIENT_MAC);
    vec![
        (CLIENT_LINK, arp(true, (they, CLIENT), (Default::default(), OUR_CLIENT_SIDE))),
        (CLIENT_LINK, neighbor_solicitation((they, CLIENT6), OUR_CLIENT_SIDE6)),
        (CLIENT_LINK, neighbor_advertisement((they, CLIENT6), (we, OUR_CLIENT_SIDE6), true)),
        (CLIENT_LINK, arriving(PacketBuilder::icmp(CLIENT6, OUR_CLIENT_SIDE6, (128, 0), [0; 4]))),
        (CLIENT_LINK, arriving(PacketBuilder::icmp(CLIENT6, OUR_CLIENT_SIDE6, (129, 0), [0; 4]))),
        (CLIENT_LINK, arriving(PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, (0, 0), [0; 4]))),
    ]
}

/// Past the VIPs: to the AS itself, with the last hop, to nowhere, and to hosts nobody knows.
fn routed() -> Seeds {
    let unknown: [IpAddr; 2] = [[192, 168, 1, 77].into(), {
        let mut address = OUR_SERVER_SIDE6.segments();
        address[7] = 0x77;
        address.into()
    }];
    let nowhere: [IpAddr; 2] = [[8, 8, 8, 8].into(), [0x2001, 0x4860, 0, 0, 0, 0, 0, 8].into()];
    let mut seeds = Vec::new();
    for v6 in [false, true] {
        let to = |address| PacketBuilder::udp((client(v6), 7), (address, 8080)).data([3; 5]);
        let [unknown, nowhere] = [unknown, nowhere].map(|pair| pair[usize::from(v6)]);
        seeds.extend([to(server(v6)), to(server(v6)).ttl(1), to(unknown), to(nowhere)]);
    }
    let near = [0xfe80, 0, 0, 0, 0, 0, 0, 5];
    seeds.push(PacketBuilder::icmp(near, OUR_CLIENT_SIDE6, (128, 0), [0; 4]));
    seeds.into_iter().map(|builder| (CLIENT_LINK, arriving(builder))).collect()
}

/// The frame as it comes from a VLAN.
fn tagged(frame: &[u8], tags: &[u8]) -> Vec<u8> {
    [&frame[..12], tags, &frame[12..]].concat()
}

/// One of everything.
fn seeds() -> Seeds {
    let mut seeds = [full_seeds(false), full_seeds(true)].concat();
    seeds.extend(extensions());
    seeds.extend([in_fragments(false), in_fragments(true)].concat());
    seeds.extend(tunnelled());
    seeds.extend([link_messages(), routed()].concat());
    let tags: [&[u8]; 2] = [&[0x81, 0, 0, 100], &[0x88, 0xa8, 0, 200, 0x81, 0, 0, 7]];
    let from_client = seeds.iter().filter(|(link, _)| *link == CLIENT_LINK);
    let some: Vec<_> = from_client.map(|(_, frame)| frame.clone()).collect();
    for (at, frame) in some.iter().enumerate() {
        seeds.push((CLIENT_LINK, tagged(frame, tags[at % 2])));
    }
    seeds
}

/// The frame with the IPv4 header's checksum right, so that what else is wrong gets further.
fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    let mut l3 = 14;
    while l3 + 4 <= frame.len() && matches!(frame[l3 - 2..l3], [0x81, 0] | [0x88, 0xa8]) {
        l3 += 4;
    }
    if frame.len() >= l3 + 20 && frame[l3 - 2..l3] == [8, 0] {
        let header_len = usize::from(frame[l3] & 15) * 4;
        if (20..=frame.len() - l3).contains(&header_len) {
            smoltcp::wire::Ipv4Packet::new_unchecked(&mut frame[l3..]).fill_checksum();
        }
    }
    frame
}

/// A worker, and an account of the packets that it was given.
struct Account {
    harness: Harness,
    errors: Vec<usize>,
    arrived: u64,
    sent: u64,
    punted: u64,
}

impl Account {
    fn new() -> Self {
        let info = graph_nodes::builder().info().expect("the graph is complete");
        let counters = info.counters.iter().enumerate();
        let errors = counters.filter(|(_, counter)| counter.severity == Severity::Error);
        let errors = errors.map(|(at, _)| at).collect();
        Self { harness: Harness::new(world()), errors, arrived: 0, sent: 0, punted: 0 }
    }

    fn arrive(&mut self, link: InterfaceId, packet: Packet) {
        self.harness.arrive_packet(link, packet);
        self.arrived += 1;
    }

    /// Runs a turn and checks that all packets are accounted for.
    fn settle(&mut self) -> Result<(), String> {
        self.sent += self.harness.turn().len() as u64;
        while let Some(event) = self.harness.event() {
            if let Event::Punt { packet, .. } = event {
                testkit::fake_mbuf::free(packet);
                self.punted += 1;
            }
        }
        let shared = self.harness.shared();
        let links = [CLIENT_LINK, SERVER_LINK].map(|link| &shared.interfaces[link.index()]);
        let received: u64 = links.iter().map(|link| link.rx_packets.get()).sum();
        let transmitted: u64 = links.iter().map(|link| link.tx_packets.get()).sum();
        let dropped: u64 = shared.interfaces.iter().map(|link| link.drops.get()).sum();
        let reasons: u64 = self.errors.iter().map(|at| shared.counters[*at].get()).sum();
        let ended = [
            ("arp-input", "ARP replies received"),
            ("arp-input", "ARP message for another station"),
            ("ip6-local", "neighbor advertisements received"),
            ("ip6-local", "neighbor solicitation for another station"),
        ];
        let ended: u64 = ended.iter().map(|(node, text)| self.harness.counter(node, text)).sum();
        // Buffers, of which a packet has one or two.
        let held = self.harness.outstanding() as u64;
        let gone = self.sent + dropped + ended + self.punted;
        let right = received == self.arrived
            && transmitted == self.sent
            && (held.div_ceil(2)..=held).contains(&received.wrapping_sub(gone))
            && self.harness.balance().missing() == 0
            && reasons >= dropped;
        if right {
            return Ok(());
        }
        let Self { arrived, sent, punted, .. } = self;
        Err(format!(
            "{arrived} arrived, {received} received, {sent} sent, {transmitted} transmitted, \
             {dropped} dropped for {reasons} reasons, {ended} ended, {punted} punted, {held} buffers held: \
             {:?}, {:?}",
            self.harness.balance(),
            self.harness.counters()
        ))
    }

    /// Whatever is held goes when nobody answers for it.
    fn close(mut self) -> Result<(), String> {
        for _ in 0..4 {
            self.harness.wait(3);
            self.settle()?;
        }
        match self.harness.outstanding() {
            0 => Ok(()),
            held => Err(format!("{held} held for ever")),
        }
    }
}

/// Undamaged, they go everywhere; else the tests below would test little.
#[test]
fn packets_reach_every_node() {
    let mut account = Account::new();
    for _ in 0..2 {
        for (link, frame) in seeds() {
            let packet = account.harness.worker.io.pool.packet(&frame);
            account.arrive(link, packet);
            account.settle().unwrap();
        }
        account.harness.wait(1);
    }
    let info = graph_nodes::builder().info().expect("the graph is complete");
    let stats = &account.harness.shared().nodes;
    let named = info.nodes.iter().zip(stats);
    let idle: Vec<_> = named.filter(|(_, s)| s.vectors.get() == 0).map(|(name, _)| *name).collect();
    // What control sends, and what goes to the kernel.
    assert_eq!(idle, ["control-input", "lb-punt"]);
    account.close().unwrap();
}

/// Every packet cut off at every byte, in two buffers at every byte, and with each byte wrong.
#[test]
fn every_byte_may_be_the_last_or_wrong() {
    for (number, (link, frame)) in seeds().into_iter().enumerate() {
        let mut account = Account::new();
        for at in 0..frame.len() {
            let mut wrong = frame.clone();
            wrong[at] ^= 0xff;
            let mut slightly = frame.clone();
            slightly[at] ^= 1;
            let frames = [
                (frame[..at.max(1)].to_vec(), None),
                (frame.clone(), Some(at)),
                (wrong.clone(), None),
                (repaired(wrong), None),
                (repaired(slightly), None),
            ];
            for (kind, (bytes, cut)) in frames.into_iter().enumerate() {
                let cuts: Vec<usize> = cut.into_iter().collect();
                let packet = account.harness.worker.io.pool.segmented(&bytes, &cuts);
                account.arrive(link, packet);
                if let Err(problem) = account.settle() {
                    panic!("seed {number}, byte {at}, kind {kind}: {problem}; {frame:02x?}");
                }
            }
            account.harness.wait(1);
        }
        if let Err(problem) = account.close() {
            panic!("seed {number}: {problem}");
        }
    }
}

/// What is done to one packet: the seed, bytes that change, the length in 1/256, where it is cut,
/// whether the checksum is mended.
type Damage = (prop::sample::Index, Vec<(prop::sample::Index, u8)>, u8, Option<u8>, bool);

fn damage() -> impl Strategy<Value = Damage> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5);
    let len = prop_oneof![4 => Just(255_u8), 1 => any::<u8>()];
    let cut = prop::option::weighted(0.2, any::<u8>());
    (any::<prop::sample::Index>(), changes, len, cut, prop::bool::weighted(0.8))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Many at once, so that they meet in frames, tables and queues.
    #[test]
    fn damaged_packets_together(turns in prop::collection::vec(
        prop::collection::vec(damage(), 1..40),
        1..5,
    )) {
        let seeds = seeds();
        let mut account = Account::new();
        for turn in turns {
            for (seed, changes, len, cut, mend) in turn {
                let (link, mut frame) = seeds[seed.index(seeds.len())].clone();
                for (at, value) in changes {
                    let at = at.index(frame.len());
                    frame[at] = value;
                }
                if mend {
                    frame = repaired(frame);
                }
                let part = |of: u8, len: usize| (len * usize::from(of)).div_ceil(255);
                frame.truncate(part(len, frame.len()).max(1));
                let cuts: Vec<usize> = cut.map(|cut| part(cut, frame.len())).into_iter().collect();
                let packet = account.harness.worker.io.pool.segmented(&frame, &cuts);
                account.arrive(link, packet);
            }
            account.settle().map_err(TestCaseError::fail)?;
            account.harness.wait(1);
        }
        account.close().map_err(TestCaseError::fail)?;
    }
}
