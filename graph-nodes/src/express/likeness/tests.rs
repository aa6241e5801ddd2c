//! The comparison is held against reading all fields.

use balancer::{InstanceKey, StickyOwner};
use dataplane::interface::MacAddress;
use dataplane::wire::ethernet::ether_type;
use proptest::prelude::*;

use super::super::ordinary::{Link, Ordinary};
use super::*;

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

/// Does what the comparison is to do, by reading all fields.
fn field_by_field<F: Likeness>(
    common: &Common<F::Address>,
    data: &[u8],
) -> Option<Varying<F::Address>> {
    let link = Link::of(data)?;
    let Ordinary { tuple, flags, len, unsummed } = F::read(data)?;
    let FlowTuple { src, dst, src_port, dst_port, protocol } = tuple;
    let like = link.station == common.station
        && link.ether_type == F::ETHER_TYPE
        && common.dst.is_none_or(|wanted| wanted == dst)
        && common.dst_port.is_none_or(|port| port == dst_port)
        && protocol == common.protocol
        && !(common.summed && unsummed);
    like.then_some(Varying { src, dst, src_port, dst_port, flags, len })
}

fn frame(ether: u16, header: &[u8], upper: &[u8]) -> Vec<u8> {
    let mut frame = [&MAC.0[..], &[2, 0, 0, 0, 0, 1], &ether.to_be_bytes()].concat();
    frame.extend_from_slice(header);
    frame.extend_from_slice(upper);
    frame
}

fn ip4_frame(tcp: bool, source: u32, upper: &[u8]) -> Vec<u8> {
    let mut header = [0; 20];
    (header[0], header[8]) = (0x45, 64);
    header[9] = if tcp { protocol::TCP } else { protocol::UDP };
    header[2..4].copy_from_slice(&(20 + upper.len() as u16).to_be_bytes());
    header[12..16].copy_from_slice(&source.to_be_bytes());
    header[16..20].copy_from_slice(&[10, 255, 0, 1]);
    frame(ether_type::IPV4, &header, upper)
}

fn fill_checksum(frame: &mut [u8]) {
    use dataplane::wire::Header;
    if let Some(header) = Ipv4Header::at_mut(frame, L3) {
        header.fill_checksum();
    }
}

fn ip6_frame(tcp: bool, source: u128, upper: &[u8]) -> Vec<u8> {
    let mut header = [0; 40];
    (header[0], header[7]) = (0x60, 64);
    header[6] = if tcp { protocol::TCP } else { protocol::UDP };
    header[4..6].copy_from_slice(&(upper.len() as u16).to_be_bytes());
    header[8..24].copy_from_slice(&source.to_be_bytes());
    header[24..40].copy_from_slice(&(0x2001_0db8_u128 << 96 | 7).to_be_bytes());
    frame(ether_type::IPV6, &header, upper)
}

/// Sets bytes here and there, most often none.
fn changes() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..64_usize, any::<u8>()), 0..3)
}

fn apply(frame: &mut [u8], changes: &[(usize, u8)]) {
    for (at, byte) in changes {
        if let Some(slot) = frame.get_mut(*at) {
            *slot = *byte;
        }
    }
}

fn ports() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![Just(None), Just(Some(0x0050)), any::<u16>().prop_map(Some)]
}

fn upper(tcp: bool, random: &[u8]) -> Vec<u8> {
    let mut bytes = random.to_vec();
    bytes[2..4].copy_from_slice(&[0, 0x50]);
    bytes.truncate(if tcp { 60 } else { 8 + usize::from(random[59] % 30) });
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn ip4_is_compared_as_it_is_read(
        tcp: bool, wanted_tcp in prop::bool::weighted(0.1), source: u32, one: bool, port in ports(),
        random in prop::collection::vec(any::<u8>(), 60), whole in prop::bool::weighted(0.9),
        before in changes(), after in changes(),
    ) {
        let mut data = ip4_frame(tcp, source, &upper(tcp, &random));
        apply(&mut data, &before);
        if whole {
            fill_checksum(&mut data);
        }
        apply(&mut data, if whole { &[] } else { &after });
        let protocol = if tcp ^ wanted_tcp { protocol::TCP } else { protocol::UDP };
        let common = Common {
            station: Station::of(MAC),
            dst: one.then_some(Ipv4Addr::new(10, 255, 0, 1)),
            dst_port: port.filter(|_| one),
            protocol,
            summed: true,
        };
        let found = Ip4::varying(&Ip4::like(&common), (common.protocol, one), &data);
        let found = found.filter(|varying| Ip4::is_source(varying.src));
        prop_assert_eq!(found, field_by_field::<Ip4>(&common, &data));
    }

    #[test]
    fn ip6_is_compared_as_it_is_read(
        tcp: bool, wanted_tcp in prop::bool::weighted(0.1), source: u128, global: bool,
        one: bool, port in ports(), summed: bool, none: bool,
        random in prop::collection::vec(any::<u8>(), 60), changes in changes(),
    ) {
        let source = if global { source >> 16 | 0x2001 << 112 } else { source };
        let mut upper = upper(tcp, &random);
        if none {
            upper[6..8].fill(0);
        }
        let mut data = ip6_frame(tcp, source, &upper);
        apply(&mut data, &changes);
        let common = Common {
            station: Station::of(MAC),
            dst: one.then_some(Ipv6Addr::from(0x2001_0db8_u128 << 96 | 7)),
            dst_port: port.filter(|_| one),
            protocol: if tcp ^ wanted_tcp { protocol::TCP } else { protocol::UDP },
            summed,
        };
        let found = Ip6::varying(&Ip6::like(&common), (common.protocol, one), &data);
        prop_assert_eq!(found, field_by_field::<Ip6>(&common, &data));
    }
}

#[test]
fn a_place_is_told_by_the_packet_itself() {
    let owner = StickyOwner::new(64, InstanceKey::from_bytes([5; 32]), 16).unwrap();
    let (finder, vip) = (owner.finder(), VipId::new(3).unwrap());
    let mut data = ip4_frame(false, 0x0b01_0203, &upper(false, &[1; 60]));
    fill_checksum(&mut data);
    let flow = Ip4::read(&data).unwrap().tuple;
    let mut told = [KeyKind::Exact, KeyKind::Tag].map(|kind| {
        let mut place = finder.place(kind, vip, &flow);
        let expected = format!("{place:?}");
        Ip4::point(&finder, &mut place, (kind, vip), (&flow, &data));
        assert_eq!(format!("{place:?}"), expected);
        expected
    });
    told.sort();
    assert_ne!(told[0], told[1]);
}

#[test]
fn most_packets_are_alike() {
    let mut data = ip4_frame(false, 0x0b01_0203, &upper(false, &[1; 60]));
    fill_checksum(&mut data);
    data.resize(60, 0);
    let dst = Some(Ipv4Addr::new(10, 255, 0, 1));
    let (station, protocol) = (Station::of(MAC), protocol::UDP);
    let common = Common { station, dst, dst_port: Some(80), protocol, summed: true };
    let found = Ip4::varying(&Ip4::like(&common), (common.protocol, true), &data).unwrap();
    assert_eq!(found.src, Ipv4Addr::new(11, 1, 2, 3));
    assert_eq!((found.src_port, found.dst_port, found.len), (0x0101, 80, 29));
    let mut short = ip4_frame(false, 0x0b01_0203, &upper(false, &[1; 60])[..8]);
    fill_checksum(&mut short);
    let found = Ip4::varying(&Ip4::like(&common), (common.protocol, true), &short).unwrap();
    assert_eq!((short.len(), found.len), (42, 28));
    assert!(Ip4::varying(&Ip4::like(&common), (common.protocol, true), &short[..41]).is_none());
}
