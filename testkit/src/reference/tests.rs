//! The reference itself, held against hand-made packets and worked examples.

use std::net::{IpAddr, Ipv4Addr};

use super::config::{Config, Interface, Kind, Timeouts};
use super::flaw::Flaw;
use super::frame::tcp_flag::{ACK, FIN, SYN};
use super::frame::{Body, Description, arp};
use super::ip::{TCP, UDP, address4 as address, word};
use super::scenario::Change;
use super::service::{Method, Server, Vip, VipKey};
use super::upper::{Tuple, Upper};
use super::{NewFlowOrder, Outcome, Reference, checksum, reason};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 2, 2);
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 3);
const SERVER_SIDE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_SIDE: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const FIRST_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
const SECOND_MAC: [u8; 6] = [2, 0, 0, 0, 2, 3];

/// Always the ASs in address order.
struct InOrder(Vec<Ipv4Addr>);

impl NewFlowOrder for InOrder {
    fn order(&self, _vip: &VipKey, _tuple: &Tuple) -> Vec<IpAddr> {
        self.0.iter().map(|address| IpAddr::V4(*address)).collect()
    }

    fn entropy(&self, _tuple: &Tuple) -> u64 {
        0
    }
}

/// How far the transport checksum of a frame is from right.
fn transport_error(frame: &[u8]) -> u64 {
    let upper = Upper::of(&frame[14..]).expect("IPv4");
    checksum::transport_error(&frame[14..], &upper)
}

fn vip(protocol: u8, port: u16) -> Vip {
    let mut vip = Vip::nat(VIP.into(), protocol, port, 80);
    vip.add(FIRST.into(), 100);
    vip.add(SECOND.into(), 100);
    vip
}

/// The walk-through of the VPP lb documentation.
fn walk_through() -> (Reference, InOrder) {
    let interface = |own: Ipv4Addr, mac, nat4_in| Interface {
        addresses: vec![(own.into(), 24)],
        mac,
        mtu: 1500,
        up: true,
        nat4_in,
        nat6_in: false,
        kind: Kind::Port,
    };
    let mut config = Config::new(Timeouts::new(40, 900, 120));
    config.interfaces = vec![
        interface(Ipv4Addr::new(192, 168, 1, 254), SERVER_SIDE, true),
        interface(Ipv4Addr::new(10, 10, 10, 254), CLIENT_SIDE, false),
    ];
    config.neighbors.extend([
        ((1, FIRST.into()), FIRST_MAC),
        ((1, SECOND.into()), SECOND_MAC),
        ((2, CLIENT.into()), CLIENT_MAC),
    ]);
    config.vips = vec![vip(TCP, 8080), vip(UDP, 8080)];
    (Reference::new(config), InOrder(vec![FIRST, SECOND]))
}

fn tcp(flags: u8, source: u16, destination: u16) -> Body {
    Body::Tcp { source, destination, flags, data: b"GET /".to_vec() }
}

fn from_client(body: Body) -> Vec<u8> {
    let macs = (CLIENT_SIDE, CLIENT_MAC);
    Description {
        macs,
        source: CLIENT.into(),
        destination: VIP.into(),
        ttl: 64,
        dont_fragment: true,
        body,
    }
    .bytes()
}

fn from_server(source: Ipv4Addr, body: Body) -> Vec<u8> {
    let macs = (SERVER_SIDE, FIRST_MAC);
    let (source, destination) = (source.into(), CLIENT.into());
    Description { macs, source, destination, ttl: 64, dont_fragment: true, body }.bytes()
}

/// The only frame sent.
fn one(outcome: &Outcome) -> &(u16, Vec<u8>) {
    assert_eq!((outcome.sent.len(), outcome.drops), (1, 0), "{outcome:?}");
    &outcome.sent[0]
}

#[test]
fn tcp_goes_to_the_server_and_comes_back_as_the_vip() {
    let (mut lb, table) = walk_through();
    let outcome = lb.receive(2, &from_client(tcp(SYN, 40_000, 8080)), &table);
    let (interface, frame) = one(&outcome);
    assert_eq!((*interface, &frame[..6], &frame[6..12]), (1, &FIRST_MAC[..], &SERVER_SIDE[..]));
    assert_eq!((address(frame, 26), address(frame, 30)), (CLIENT, FIRST));
    assert_eq!((word(frame, 34), word(frame, 36), frame[22]), (40_000, 80, 63));
    assert!(checksum::holds(&frame[14..34]));
    assert_eq!(transport_error(frame), 0);
    assert_eq!(frame[38..50], from_client(tcp(SYN, 40_000, 8080))[38..50]);
    assert_eq!(outcome.vips[&0].first, 1);

    let outcome = lb.receive(1, &from_server(FIRST, tcp(SYN | ACK, 80, 40_000)), &table);
    let (interface, frame) = one(&outcome);
    assert_eq!((*interface, &frame[..6]), (2, &CLIENT_MAC[..]));
    assert_eq!((address(frame, 26), word(frame, 34)), (VIP, 8080));
    assert_eq!(transport_error(frame), 0);

    let outcome = lb.receive(2, &from_client(tcp(ACK, 40_000, 8080)), &table);
    assert_eq!(outcome.vips[&0].existing, 1);
    assert_eq!(lb.live_flows().into_values().sum::<u64>(), 1);
}

#[test]
fn udp_keeps_no_checksum_and_sends_ffff_for_a_computed_zero() {
    let (mut lb, table) = walk_through();
    let udp = Body::Udp { source: 40_000, destination: 8080, data: b"query".to_vec() };
    let mut none = from_client(udp.clone());
    Flaw::NoChecksum.apply(&mut none);
    assert_eq!(one(&lb.receive(2, &none, &table)).1[40..42], [0, 0]);

    let mut zero = from_client(udp);
    Flaw::ComputesToZeroAt(false, FIRST.into(), 80).apply(&mut zero);
    assert_eq!(transport_error(&zero), 0);
    assert_eq!(one(&lb.receive(2, &zero, &table)).1[40..42], [0xff, 0xff]);
}

#[test]
fn a_wrong_checksum_stays_wrong_by_the_same_difference() {
    let (mut lb, table) = walk_through();
    let mut frame = from_client(tcp(SYN, 40_000, 8080));
    Flaw::TransportChecksum(0x1234).apply(&mut frame);
    let error = transport_error(&frame);
    assert_ne!(error, 0);
    let outcome = lb.receive(2, &frame, &table);
    assert_eq!(transport_error(&one(&outcome).1), error);
}

#[test]
fn checksums_agree_with_the_examples_of_the_rfcs() {
    // RFC 1071 §3: words 0001 f203 f4f5 f6f7 sum to ddf2.
    assert_eq!(checksum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    // An IPv4 header out of a text book, checksum b861.
    let header = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];
    assert!(checksum::holds(&header));
}

#[test]
fn a_new_connection_after_the_last_one_closed_begins_anew() {
    let (mut lb, table) = walk_through();
    lb.receive(2, &from_client(tcp(SYN, 40_000, 8080)), &table);
    lb.receive(1, &from_server(FIRST, tcp(FIN | ACK, 80, 40_000)), &table);
    let outcome = lb.receive(2, &from_client(tcp(SYN, 40_000, 8080)), &table);
    assert_eq!((outcome.vips[&0].first, outcome.vips[&0].existing), (1, 0));
}

#[test]
fn flows_die_of_age_and_of_flushing_but_not_of_removal() {
    let (mut lb, table) = walk_through();
    let goes_to = |lb: &mut Reference, table: &InOrder| {
        let outcome = lb.receive(2, &from_client(tcp(ACK, 40_000, 8080)), table);
        address(&one(&outcome).1, 30)
    };
    assert_eq!(goes_to(&mut lb, &table), FIRST);
    let later = InOrder(vec![SECOND]);
    lb.change(&Change::RemoveServer { vip: 0, server: FIRST.into(), flush: false });
    assert_eq!(goes_to(&mut lb, &later), FIRST);
    lb.wait(899);
    assert_eq!(goes_to(&mut lb, &later), FIRST);
    lb.wait(900);
    assert_eq!(goes_to(&mut lb, &later), SECOND);
    lb.change(&Change::AddServer {
        vip: 0,
        server: FIRST.into(),
        with: Server::new(100, Method::Nat),
    });
    lb.change(&Change::RemoveServer { vip: 0, server: SECOND.into(), flush: true });
    let table = InOrder(vec![FIRST]);
    assert_eq!(goes_to(&mut lb, &table), FIRST);
}

#[test]
fn two_vips_on_one_server_and_port_do_not_share_a_client_port() {
    let (mut lb, table) = walk_through();
    lb.config.vips.push(vip(TCP, 8081));
    let first = lb.receive(2, &from_client(tcp(SYN, 40_000, 8080)), &table);
    let second = lb.receive(2, &from_client(tcp(SYN, 40_000, 8081)), &table);
    assert_eq!(address(&one(&first).1, 30), FIRST);
    assert_eq!(address(&one(&second).1, 30), SECOND);
    let reply = |lb: &mut Reference, server| {
        let outcome = lb.receive(1, &from_server(server, tcp(ACK, 80, 40_000)), &table);
        word(&one(&outcome).1, 34)
    };
    assert_eq!((reply(&mut lb, FIRST), reply(&mut lb, SECOND)), (8080, 8081));
    let stranger = lb.receive(1, &from_server(FIRST, tcp(ACK, 80, 41_000)), &table);
    assert_eq!(stranger.counts[&reason::of(false).no_flow], 1);
}

#[test]
fn packets_wait_for_their_neighbour() {
    let (mut lb, table) = walk_through();
    lb.config.neighbors.remove(&(1, FIRST.into()));
    let outcome = lb.receive(2, &from_client(tcp(SYN, 40_000, 8080)), &table);
    assert_eq!((outcome.needed, outcome.held, outcome.sent), (vec![(1, FIRST.into())], 1, vec![]));
    lb.change(&Change::Learn { interface: 1, address: FIRST.into(), mac: FIRST_MAC });
    let outcome = lb.turn(&table);
    let (interface, frame) = one(&outcome);
    assert_eq!((*interface, &frame[..6], frame[22], outcome.held), (1, &FIRST_MAC[..], 63, 0));
}

#[test]
fn arp_is_answered_for_own_addresses_and_vips() {
    let (mut lb, table) = walk_through();
    let ask = |target| arp(([0xff; 6], CLIENT_MAC), 1, (CLIENT_MAC, CLIENT), ([0; 6], target));
    for target in [Ipv4Addr::new(10, 10, 10, 254), VIP] {
        let outcome = lb.receive(2, &ask(target), &table);
        let mut reply =
            arp((CLIENT_MAC, CLIENT_SIDE), 2, (CLIENT_SIDE, target), (CLIENT_MAC, CLIENT));
        reply.truncate(42);
        assert_eq!(one(&outcome), &(2, reply));
    }
    let other = lb.receive(2, &ask(Ipv4Addr::new(192, 168, 1, 254)), &table);
    assert_eq!((other.sent.len(), other.counts[&reason::ARP_NOT_FOR_US]), (0, 1));
}

#[test]
fn time_exceeded_quotes_the_packet() {
    let (mut lb, table) = walk_through();
    let body = Body::Udp { source: 1, destination: 2, data: vec![7; 9] };
    let macs = (CLIENT_SIDE, CLIENT_MAC);
    let packet = Description {
        macs,
        source: CLIENT.into(),
        destination: FIRST.into(),
        ttl: 1,
        dont_fragment: false,
        body,
    };
    let outcome = lb.receive(2, &packet.bytes(), &table);
    let (interface, frame) = one(&outcome);
    assert_eq!(
        (*interface, address(frame, 26), address(frame, 30)),
        (2, Ipv4Addr::new(10, 10, 10, 254), CLIENT)
    );
    assert_eq!(frame[34..36], [11, 0]);
    assert!(checksum::holds(&frame[34..]));
    assert_eq!(frame[42..], packet.bytes()[14..]);
}
