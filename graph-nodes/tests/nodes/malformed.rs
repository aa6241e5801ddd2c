//! Any bytes: no panic, no leak, and every packet is sent, dropped with a reason, or given away.

use proptest::prelude::*;
use testkit::packet_builder::PacketBuilder;

use crate::plan::{
    CLIENT, CLIENT_LINK, HOST, OUR_CLIENT_SIDE, SERVERS, VIP, balanced_harness, from_client,
    transit,
};

fn seeds() -> Vec<Vec<u8>> {
    vec![
        transit().build(),
        from_client(PacketBuilder::tcp((CLIENT, 1), (HOST, 80), 2).tcp_options(&[1; 4])).build(),
        from_client(PacketBuilder::icmp(CLIENT, OUR_CLIENT_SIDE, (8, 0), [0; 4])).build(),
        transit().vlan(0x8100, 0).ip_options(&[1; 40]).build(),
        from_client(PacketBuilder::tcp((CLIENT, 1), (VIP, 8080), 2).tcp_options(&[1; 4])).build(),
        from_client(PacketBuilder::udp((CLIENT, 1), (VIP, 20000)).ip_options(&[1; 8])).build(),
        from_client(PacketBuilder::udp((CLIENT, 1), (SERVERS[0], 3307)).data([0; 9])).build(),
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
                0..8_usize,
                prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
                any::<prop::sample::Index>(),
                prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            ),
            1..40,
        ),
    ) {
        let mut harness = balanced_harness();
        let count = frames.len() as u64;
        for (seed, changes, len, cuts) in frames {
            let mut bytes = seeds().swap_remove(seed);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(1 + len.index(2 * bytes.len()));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            let packet = harness.worker.io.pool.segmented(&bytes, &cuts);
            harness.arrive_packet(CLIENT_LINK, packet);
        }
        harness.turn();
        let stats = &harness.shared().interfaces[CLIENT_LINK.index()];
        prop_assert_eq!(stats.rx_packets.get(), count);
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
