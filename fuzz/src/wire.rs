//! Every parser of headers: between guard pages, at either of them.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::interface::MacAddress;
use dataplane::wire::arp::ArpHeader;
use dataplane::wire::checksum::{is_transport_valid, sum, transport_checksum};
use dataplane::wire::ethernet::{EthernetHeader, VlanHeader, vlan_id};
use dataplane::wire::extension::{UpperLayer, UpperLayerError, ip4_upper_layer, ip6_upper_layer};
use dataplane::wire::fragment::FragmentHeader;
use dataplane::wire::gre::GreHeader;
use dataplane::wire::icmpv4::Icmpv4Header;
use dataplane::wire::icmpv6::Icmpv6Header;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::wire::neighbor_discovery::{Envelope, MAX_LEN, NeighborMessage};
use dataplane::wire::tcp_options::clamp_mss;
use dataplane::wire::{Header, protocol, quoted};
use testkit::guard_pages::GuardPages;

/// Longer inputs are cut: the parsers look at less.
const LONGEST: usize = 2048;

thread_local! {
    static PAGES: RefCell<GuardPages> = RefCell::new(GuardPages::new(LONGEST));
}

/// Whole frames, and what is in them.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let frames = crate::packets::frames();
    let packets = frames.iter().map(|frame| frame[14..].to_vec());
    let segments = frames.iter().map(|frame| frame[34..].to_vec());
    let all = frames.iter().cloned().chain(packets).chain(segments);
    all.collect()
}

pub(crate) fn run(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    PAGES.with_borrow_mut(|pages| {
        all(pages.at_end(bytes));
        all(pages.at_start(bytes));
    });
}

fn all(bytes: &mut [u8]) {
    ethernet(bytes);
    for offset in [0, 14, 18] {
        upper(bytes, offset, ip4_upper_layer(bytes, offset));
        upper(bytes, offset, ip6_upper_layer(bytes, offset));
    }
    small_headers(bytes);
    neighbor(bytes);
    options(bytes);
    quote::<Ipv4Header>(bytes, Ipv4Addr::new(1, 2, 3, 4));
    quote::<Ipv6Header>(bytes, Ipv6Addr::LOCALHOST);
}

/// What is found is there.
fn upper(bytes: &[u8], start: usize, found: Result<UpperLayer, UpperLayerError>) {
    let Ok(upper) = found else { return };
    assert!((start..=bytes.len()).contains(&upper.offset), "{upper:?} in {} bytes", bytes.len());
}

fn ethernet(bytes: &mut [u8]) {
    if let Some(header) = EthernetHeader::at(bytes, 0) {
        let _ = (header.source(), header.destination());
    }
    if let Some(tag) = VlanHeader::at(bytes, 14) {
        assert!(vlan_id(tag.tci.get()) < 4096);
    }
    if let Some(arp) = ArpHeader::at(bytes, 14)
        && arp.is_ip4_over_ethernet()
    {
        let _ = (arp.sender(), arp.target());
        let mut answer = *arp;
        answer.answer(MacAddress([2, 0, 0, 0, 0, 1]));
        assert_eq!(answer.sender(), arp.target());
    }
}

fn small_headers(bytes: &[u8]) {
    if let Some(header) = Ipv4Header::at(bytes, 0) {
        let _ = (header.header_len(), header.is_fragment(), header.dont_fragment());
        let _ = header.is_checksum_right();
        let mut changed = *header;
        changed.fill_checksum();
        if header.header_len() == Ipv4Header::LEN {
            assert!(changed.is_checksum_right());
        }
    }
    if let Some(header) = Ipv6Header::at(bytes, 0) {
        let _ = (header.version(), header.traffic_class(), header.flow_label());
    }
    FragmentHeader::at(bytes, 0).map(FragmentHeader::fragment);
    GreHeader::at(bytes, 0).map(GreHeader::is_plain);
    Icmpv4Header::at(bytes, 0).map(Icmpv4Header::is_error);
    Icmpv6Header::at(bytes, 0).map(Icmpv6Header::is_error);
    let halves = bytes.split_at(bytes.len() / 4 * 2);
    assert_eq!(sum(bytes).fold(), sum(halves.0).plus(sum(halves.1)).fold());
}

/// As it is, and with the checksum right.
fn neighbor(bytes: &mut [u8]) {
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0xfe);
    let source = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    for (source, destination) in [(source, group), (Ipv6Addr::UNSPECIFIED, group)] {
        let envelope = Envelope { source, destination, hop_limit: 255 };
        let _ = NeighborMessage::parse(bytes, &envelope);
        if bytes.len() < 4 {
            return;
        }
        let kept = [bytes[2], bytes[3]];
        bytes[2..4].fill(0);
        let right = transport_checksum(source, destination, protocol::ICMPV6, bytes);
        bytes[2..4].copy_from_slice(&right.0.to_be_bytes());
        if let Ok(message) = NeighborMessage::parse(bytes, &envelope) {
            let mut out = [0; MAX_LEN];
            let len = message.write(&mut out, source, destination);
            assert_eq!(NeighborMessage::parse(&out[..len], &envelope), Ok(message));
        }
        bytes[2..4].copy_from_slice(&kept);
    }
}

/// A clamp keeps a checksum right, and clamps once.
fn options(bytes: &mut [u8]) {
    let [here, there] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    let before = bytes.to_vec();
    let valid = |bytes: &[u8]| is_transport_valid(here, there, protocol::TCP, bytes);
    let was_valid = valid(bytes);
    if clamp_mss(bytes, 500) {
        assert!(!was_valid || valid(bytes), "{before:02x?}");
        assert!(!clamp_mss(bytes, 500), "{before:02x?}");
        bytes.copy_from_slice(&before);
    }
    assert_eq!(bytes, before);
}

/// What a quote tells can be replaced, and is then what it tells.
fn quote<H: IpHeader>(bytes: &mut [u8], address: H::Address)
where
    H::Address: PartialEq + std::fmt::Debug + Copy,
{
    let before = bytes.to_vec();
    if let Ok(found) = quoted::parse::<H>(bytes) {
        found.set_source::<H>(bytes, address, 4321);
        let found = quoted::parse::<H>(bytes).expect("it was one before");
        assert_eq!(found.source, address);
        found.set_destination::<H>(bytes, address, 4321);
        let found = quoted::parse::<H>(bytes).expect("it was one before");
        assert_eq!(found.destination, address);
        bytes.copy_from_slice(&before);
    }
    assert_eq!(bytes, before);
}
