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
