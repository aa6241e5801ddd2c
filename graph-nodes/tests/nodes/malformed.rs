//! Any bytes: no panic, no leak, and every packet is sent, dropped with a reason, or given away.

use proptest::prelude::*;
use testkit::packet_builder::{L2, PacketBuilder};

use crate::plan::{
    CLIENT, CLIENT_LINK, HOST, OUR_CLIENT_SIDE, SERVER_LINK, SERVERS, VIP, balanced_harness,
    from_client, from_server, transit,
};

/// Makes the header checksum right, so that what is wrong elsewhere gets past `ip4-input`.
fn repair_header_checksum(bytes: &mut [u8]) {
    let header_len = usize::from(bytes[L2] & 0x0f) * 4;
    if bytes[12..14] == [8, 0] && header_len >= 20 && L2 + header_len <= bytes.len() {
        smoltcp::wire::Ipv4Packet::new_unchecked(&mut bytes[L2..]).fill_checksum();
    }
}

fn to_us(builder: PacketBuilder) -> PacketBuilder {
    from_server(SERVERS[0], builder)
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        transit().build(),
        from_client(PacketBuilder::tcp((CLIENT, 1), (HOST, 80), 2).tcp_options(&[1; 4])).build(),
        from_client(PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, (8, 0), [0; 4])).build(),
        transit().vlan(0x8100, 0).ip_options(&[1; 40]).build(),
        from_client(PacketBuilder::tcp((CLIENT, 1), (VIP, 8080), 2).tcp_options(&[1; 4])).build(),
        from_client(PacketBuilder::udp((CLIENT, 1), (VIP, 20000)).ip_options(&[1; 8])).build(),
        from_client(PacketBuilder::udp((CLIENT, 1), (SERVERS[0], 3307)).data([0; 9])).build(),
        to_us(PacketBuilder::tcp((SERVERS[0], 80), (CLIENT, 1), 0x12).ip_options(&[1; 4])).build(),
        to_us(PacketBuilder::udp((SERVERS[1], 3307), (CLIENT, 1)).data([0; 9])).build(),
        to_us(PacketBuilder::udp((SERVERS[1], 3307), (CLIENT, 1)).fragment(0x2000)).build(),
        testkit::packet_builder::arp(
            true,
            (crate::plan::CLIENT_MAC, CLIENT),
            (Default::default(), OUR_CLIENT_SIDE),
        ),
    ]
}

proptest! {
    #[test]
    fn survives_mutated_frames(
        frames in prop::collection::vec(
            (
                0..11_usize,
                prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
                any::<prop::sample::Index>(),
                prop::collection::vec(any::<prop::sample::Index>(), 0..3),
                any::<bool>(),
            ),
            1..40,
        ),
    ) {
        let mut harness = balanced_harness();
        let count = frames.len() as u64;
        for (seed, changes, len, cuts, repair) in frames {
            let mut bytes = seeds().swap_remove(seed);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if repair {
                repair_header_checksum(&mut bytes);
            }
            bytes.truncate(1 + len.index(2 * bytes.len()));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            let packet = harness.worker.io.pool.segmented(&bytes, &cuts);
            // On the link it is addressed to, when the address survived.
            let link = if bytes.get(5) == Some(&2) { SERVER_LINK } else { CLIENT_LINK };
            harness.arrive_packet(link, packet);
        }
        harness.turn();
        let stats = [CLIENT_LINK, SERVER_LINK].map(|link| &harness.shared().interfaces[link.index()]);
        let received: u64 = stats.iter().map(|stats| stats.rx_packets.get()).sum();
        prop_assert_eq!(received, count);
        harness.wait(3);
        harness.turn();
        while let Some(event) = harness.event() {
            if let dataplane::event::Event::Punt { packet, .. } = event {
                testkit::fake_mbuf::free(packet);
            }
        }
        prop_assert_eq!(harness.outstanding(), 0);
    }
}

/// A world where every node has something to do: one VIP per method and combination of families,
/// NAT with node ports, and the policy that makes resets.
pub(crate) fn full_world() -> testkit::world::World {
    use crate::services::{dual_world, server, vip};
    use balancer::{Ports, Protocol};
    use dataplane::forwarding::{Method, MssClamp, NoMatch, TooBig};
    let mut world = dual_world();
    world.interface(SERVER_LINK).nat4_in = true;
    world.interface(SERVER_LINK).nat6_in = true;
    world.balanced.no_match = NoMatch::Reset;
    world.tunnel_policy.too_big = TooBig::Fragment;
    for v6 in [false, true] {
        let methods = [Method::Gre, Method::Ipip, Method::Gue]
            .into_iter()
            .flat_map(|method| [(method, false), (method, true)])
            .chain([(Method::L3dsr { dscp: 9 }, v6), (Method::DirectRouting, v6)]);
        for (port, (method, outer6)) in (1..).zip(methods) {
            let ports = Ports::one(Protocol::Tcp, port);
            let prefix = balancer::Prefix::host(vip(v6));
            let id = world.balanced.add_vip_without_nat(prefix, ports);
            world.balanced.policy(id).mss = MssClamp::Auto;
            world.balanced.add_server_by(id, server(outer6), method);
        }
        let nat = world.balanced.add_vip(vip(v6), Protocol::Tcp, 9, 8080);
        world.balanced.vip(nat).node_port = Some(30000);
        world.balanced.policy(nat).mss = MssClamp::At(500);
        world.balanced.add_server(nat, server(v6));
    }
    world
}

/// Packets that together reach every lb node, whole.
pub(crate) fn full_seeds(v6: bool) -> Vec<(dataplane::interface::InterfaceId, Vec<u8>)> {
    use crate::services::{OUR_CLIENT_SIDE6, answering, arriving, client, server, vip};
    let mss = [2, 4, 35, 0];
    let to = |port| {
        let builder = PacketBuilder::tcp((client(v6), 7), (vip(v6), port), 2).tcp_options(&mss);
        if v6 { builder.padded_extension(60, 0) } else { builder.ip_options(&[1; 4]) }
    };
    let mut seeds: Vec<_> = (1..=10).map(|port| (CLIENT_LINK, arriving(to(port)))).collect();
    let error = |port| {
        let quoted = PacketBuilder::tcp((vip(v6), port), (client(v6), 7), 0x10).packet();
        PacketBuilder::too_big(client(v6), vip(v6), 1300, &quoted)
    };
    seeds.extend((1..=10).map(|port| (CLIENT_LINK, arriving(error(port)))));
    let reply = PacketBuilder::tcp((server(v6), 8080), (client(v6), 7), 0x12).tcp_options(&mss);
    let quoted = PacketBuilder::tcp((client(v6), 7), (server(v6), 8080), 0x10).packet();
    let unreachable = PacketBuilder::too_big(server(v6), client(v6), 1300, &quoted);
    seeds.push((SERVER_LINK, answering(reply)));
    seeds.push((SERVER_LINK, answering(unreachable)));
    let ours = if v6 { OUR_CLIENT_SIDE6.into() } else { std::net::IpAddr::from(OUR_CLIENT_SIDE) };
    let node_port = PacketBuilder::tcp((client(v6), 7), (ours, 30000), 2).tcp_options(&mss);
    seeds.push((CLIENT_LINK, arriving(node_port)));
    seeds
}

/// Shortens the packet in a frame to `len` bytes, with lengths and checksum that say so.
fn shortened(frame: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = frame[..L2 + len].to_vec();
    if frame[12..14] == [0x86, 0xdd] {
        if let Some(payload) = len.checked_sub(40) {
            bytes[L2 + 4..L2 + 6].copy_from_slice(&(payload as u16).to_be_bytes());
        }
    } else if len >= 20 {
        bytes[L2 + 2..L2 + 4].copy_from_slice(&(len as u16).to_be_bytes());
        repair_header_checksum(&mut bytes);
    }
    bytes
}

/// G-06: packets that end at every byte, first as the wire might cut them, then with headers that
/// agree, then in two segments: every one is sent, or ends with a reason.
#[test]
fn g_06_packets_end_at_every_byte() {
    for v6 in [false, true] {
        for (link, frame) in full_seeds(v6) {
            let mut harness = testkit::harness::Harness::new(full_world());
            let count = |harness: &testkit::harness::Harness| {
                harness.shared().interfaces[link.index()].drops.get()
            };
            for len in 0..=frame.len() - L2 {
                for kind in 0..3 {
                    let packet = match kind {
                        0 => harness.worker.io.pool.packet(&frame[..L2 + len]),
                        1 => harness.worker.io.pool.packet(&shortened(&frame, len)),
                        _ => harness.worker.io.pool.segmented(&frame, &[L2 + len]),
                    };
                    let before = count(&harness);
                    harness.arrive_packet(link, packet);
                    let sent = harness.turn().len() as u64;
                    let ended = count(&harness) - before;
                    assert_eq!(
                        (sent + ended, harness.outstanding()),
                        (1, 0),
                        "{len} bytes, kind {kind}: {:?}",
                        harness.counters()
                    );
                    harness.wait(1);
                }
            }
        }
    }
}
