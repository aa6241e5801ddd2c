//! Fragments that the data plane makes, put together by the testkit.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::fragmentation::{Piece, ip4_pieces, ip6_pieces, write_ip4, write_ip6};
use dataplane::packet::Packet;
use dataplane::wire::Header;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::ipv6::Ipv6Header;
use testkit::fake_mbuf::{FakePool, free};
use testkit::packet_builder::{L2, PacketBuilder, fragments, reassembled, validated_packet};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const ID: u32 = 0x0102_0304;

fn data() -> Vec<u8> {
    (0..1901_u32).map(|n| (n * 7 / 8) as u8).collect()
}

/// The IP packets that `write` makes of the frame, which is cut into two buffers.
fn split(
    frame: &[u8],
    pieces: impl Iterator<Item = Piece>,
    write: impl Fn(&Packet, Piece, &mut Packet) -> bool,
) -> Vec<Vec<u8>> {
    let pool = FakePool::new(9);
    let from = pool.segmented(frame, &[frame.len() / 2]);
    let made = pieces.map(|piece| {
        let mut to = pool.alloc().expect("enough for a handful of fragments");
        assert!(write(&from, piece, &mut to), "{piece:?}");
        let made = free(to);
        assert_eq!(made[..L2], frame[..L2], "the link header");
        made[L2..].to_vec()
    });
    let made = made.collect();
    free(from);
    made
}

fn split_ip4(frame: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    let header = Ipv4Header::at(frame, L2).unwrap();
    split(frame, ip4_pieces(header, mtu), |from, piece, to| write_ip4(from, L2, piece, to))
}

#[test]
fn ip4_fragments_are_those_of_the_testkit() {
    let builder = PacketBuilder::udp((A, 1), (B, 2)).data(data()).tos(0xb9);
    for mtu in [576, 1280, 1499, 1500, 2000] {
        let made = split_ip4(&builder.build(), mtu);
        assert!(made.iter().all(|packet| packet.len() <= usize::from(mtu)));
        for packet in &made {
            validated_packet(packet);
        }
        assert_eq!(made, fragments(&builder.packet(), usize::from(mtu), 0));
        assert_eq!(reassembled(&made), builder.packet());
    }
}

#[test]
fn a_fragment_may_be_split_again() {
    let builder = PacketBuilder::udp((A, 1), (B, 2)).data(data());
    let twice: Vec<_> =
        builder.fragments(1280, 0).iter().flat_map(|frame| split_ip4(frame, 600)).collect();
    assert_eq!(twice.len(), 5);
    assert_eq!(reassembled(&twice), builder.packet());
}

#[test]
fn ip6_fragments_are_those_of_the_testkit() {
    let builder = PacketBuilder::udp((A6, 1), (B6, 2)).data(data()).flow_label(0x54321);
    let frame = builder.build();
    for mtu in [1280, 1499, 1500, 2000] {
        let header = Ipv6Header::at(&frame, L2).unwrap();
        let made = split(&frame, ip6_pieces(header, mtu), |from, piece, to| {
            write_ip6(from, L2, piece, ID, to)
        });
        assert!(made.iter().all(|packet| packet.len() <= usize::from(mtu)));
        assert_eq!(made, fragments(&builder.packet(), usize::from(mtu), ID));
        assert_eq!(reassembled(&made), builder.packet());
    }
}

#[test]
fn what_is_not_there_is_not_copied() {
    let pool = FakePool::new(2);
    let frame = PacketBuilder::udp((A, 1), (B, 2)).data(data()).build();
    let from = pool.packet(&frame);
    for piece in [
        // Ends behind the packet; does not fit into a buffer.
        Piece { offset: 1896, len: 16, more: false },
        Piece { offset: 0, len: 4000, more: false },
    ] {
        let mut to = pool.alloc().unwrap();
        assert!(!write_ip4(&from, L2, piece, &mut to));
        free(to);
        let mut to = pool.alloc().unwrap();
        assert!(!write_ip6(&from, L2, piece, ID, &mut to));
        free(to);
    }
    free(from);
    // The offset would not fit into the field: a datagram longer than 65535 bytes.
    let last = PacketBuilder::udp((A, 1), (B, 2)).fragment(0x1fff).data(data()).build();
    let (from, mut to) = (pool.packet(&last), pool.alloc().unwrap());
    assert!(!write_ip4(&from, L2, Piece { offset: 8, len: 8, more: false }, &mut to));
    free(to);
    free(from);
}
