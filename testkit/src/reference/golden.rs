//! The reference against packets made by another program that knows the formats, as hexadecimal
//! bytes: VPP's test cases (`test_lb.py`) with what they do not look at, and the RFCs' messages.

use std::net::{IpAddr, Ipv4Addr};

use super::config::{Config, Interface, Kind, NoMatch, Timeouts};
use super::ip::{TCP, UDP};
use super::service::{Method, Ports, Target, Vip, VipKey};
use super::upper::Tuple;
use super::{NewFlowOrder, Outcome, Reference, reason};

const SERVER_SIDE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_SIDE: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];

const IN4: &str = "45030021abcd000040114cfa280000015a00000127104e20000dc4cf68656c6c6f";
const IN6: &str = "60300000000d1140fd000000000000000000000000000001200100000000000000000000\
    0000000127104e20000d29ce68656c6c6f";
const GRE4_4: &str = "4503003900010000402f20402728292a0a0000010000080045030021abcd000040114cfa\
    280000015a00000127104e20000dc4cf68656c6c6f";
const GRE6_4: &str = "6031234500252f4020040000000000000000000000000001200200000000000000000000\
    000000010000080045030021abcd000040114cfa280000015a00000127104e20000dc4cf\
    68656c6c6f";
const GRE4_6: &str = "4503004d00004000402fe02c2728292a0a000001000086dd60300000000d1140fd000000\
    0000000000000000000000012001000000000000000000000000000127104e20000d29ce\
    68656c6c6f";
const GRE6_6: &str = "6031234500392f4020040000000000000000000000000001200200000000000000000000\
    00000001000086dd60300000000d1140fd00000000000000000000000000000120010000\
    00000000000000000000000127104e20000d29ce68656c6c6f";
const IPIP_44: &str = "45030035000100004004206f2728292a0a00000145030021abcd000040114cfa28000001\
    5a00000127104e20000dc4cf68656c6c6f";
const IPIP_66: &str = "603123450035294020040000000000000000000000000001200200000000000000000000\
    0000000160300000000d1140fd0000000000000000000000000000012001000000000000\
    000000000000000127104e20000d29ce68656c6c6f";
const GUE_44: &str = "4503003d000100004011205a2728292a0a000001e34517c00029000045030021abcd0000\
    40114cfa280000015a00000127104e20000dc4cf68656c6c6f";
const GUE_64: &str = "603123450029114020040000000000000000000000000001200200000000000000000000\
    00000001e34517c00029000045030021abcd000040114cfa280000015a00000127104e20\
    000dc4cf68656c6c6f";
const L3DSR_4: &str = "451f0021abcd00003f119dde280000010a00000127104e20000d14d068656c6c6f";
const L3DSR_6: &str = "61f00000000d113ffd000000000000000000000000000001200200000000000000000000\
    0000000127104e20000d29cd68656c6c6f";
const NAT_4: &str = "45030021abcd00003f119dfa280000010a00000127100ceb000d560568656c6c6f";
const NAT_6: &str = "60300000000d113ffd000000000000000000000000000001200200000000000000000000\
    0000000127100ceb000d6b0268656c6c6f";
const REPLY_IN_4: &str = "4500002100070000401148c40a000001280000010ceb2710000d560568656c6c6f";
const REPLY_4: &str = "45000021000700003f11f9c35a000001280000014e202710000dc4cf68656c6c6f";
const REPLY_IN_6: &str = "60000000000d114020020000000000000000000000000001fd0000000000000000000000\
    000000010ceb2710000d6b0268656c6c6f";
const REPLY_6: &str = "60000000000d113f20010000000000000000000000000001fd0000000000000000000000\
    000000014e202710000d29ce68656c6c6f";
const ERROR_IN_4: &str = "4500003d000900004001f8ad280000095a000001030479a4000005784500002100070000\
    3c11fcc35a000001280000014e202710000dc4cf68656c6c6f";
const ERROR_4: &str = "4500003d000900003f0149ae280000090a000001030429a4000005784500002100070000\
    3c114cc40a000001280000010ceb2710000d560568656c6c6f";
const ERROR_IN_6: &str = "60000000003d3a40fd000000000000000000000000000009200100000000000000000000\
    00000001020069d90000057860000000000d113c20010000000000000000000000000001\
    fd0000000000000000000000000000014e202710000d29ce68656c6c6f";
const ERROR_6: &str = "60000000003d3a3ffd000000000000000000000000000009200200000000000000000000\
    00000001020069d80000057860000000000d113c20020000000000000000000000000001\
    fd0000000000000000000000000000010ceb2710000d6b0268656c6c6f";
const BIG_ERROR_HEAD: &str = "45c00240000100004001f5fa5a000001280000010304ac34000005c4450005d0abcd4000\
    4011074e280000015a00000127104e2005bc75bc";
const SYN: &str = "45000028abcd000040064d01280000015a00000113880051010203040000000050022000\
    f6010000";
const RST: &str = "45000028000040004006b8ce5a0000012800000100511388000000000102030550140000\
    15ef0000";
const NS: &str = "6000000000203afffd000000000000000000000000000001ff0200000000000000000001\
    ff0000fe8700799f00000000fd0000000000000000000000000000fe0101020000000201";
const NA: &str = "6000000000203afffd0000000000000000000000000000fefd0000000000000000000000\
    0000000188009aa1e0000000fd0000000000000000000000000000fe0201020000000002";
const DAD: &str = "6000000000183aff00000000000000000000000000000000ff0200000000000000000001\
    ff0000fe87007bab00000000fd0000000000000000000000000000fe";
const NA_DAD: &str = "6000000000203afffd0000000000000000000000000000feff0200000000000000000000\
    000000018800d89fa0000000fd0000000000000000000000000000fe0201020000000002";

/// Always the first AS.
struct First(IpAddr);

impl NewFlowOrder for First {
    fn order(&self, _vip: &VipKey, _tuple: &Tuple) -> Vec<IpAddr> {
        vec![self.0]
    }

    fn entropy(&self, _tuple: &Tuple) -> u64 {
        0x12345
    }
}

fn at(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// VPP's topology: clients 40.0.0.0/24 and fd00::/64, ASs 10.0.0.0/24 and 2002::/64.
fn config() -> Config {
    let link = |v4: &str, v6: &str, mac, nat| Interface {
        addresses: vec![(at(v4), 24), (at(v6), 64)],
        mac,
        mtu: 1500,
        up: true,
        nat4_in: nat,
        nat6_in: nat,
        kind: Kind::Port,
    };
    let mut config = Config::new(Timeouts::new(40, 900, 120));
    config.interfaces = vec![
        link("10.0.0.254", "2002::fe", SERVER_SIDE, true),
        link("40.0.0.254", "fd00::fe", CLIENT_SIDE, false),
    ];
    for server in ["10.0.0.1", "2002::1"] {
        config.neighbors.insert((1, at(server)), SERVER_MAC);
    }
    for client in ["40.0.0.1", "fd00::1"] {
        config.neighbors.insert((2, at(client)), CLIENT_MAC);
    }
    config.tunnels.source4 = Some(Ipv4Addr::new(39, 40, 41, 42));
    config.tunnels.source6 = Some("2004::1".parse().expect("an address"));
    config
}

/// A box with VPP's VIP prefix of this family on one port, or on all, and one AS.
fn lb(method: Method, v6: bool, ports: Ports, server: &str) -> (Reference, First) {
    let mut config = config();
    let (network, prefix_len) = if v6 { (at("2001::"), 16) } else { (at("90.0.0.0"), 8) };
    let mut vip = Vip::nat(network, UDP, 20_000, 3307);
    vip.key = VipKey { network, prefix_len, ports };
    vip.method = method;
    if method != Method::Nat {
        vip.target = Target::Keep;
    }
    vip.add(at(server), 100);
    config.vips.push(vip);
    (Reference::new(config), First(at(server)))
}

const ONE: Ports = Ports::Range { protocol: UDP, first: 20_000, last: 20_000 };

fn frame(macs: ([u8; 6], [u8; 6]), hex: &str) -> Vec<u8> {
    let packet = bytes(hex);
    let kind: [u8; 2] = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&macs.0[..], &macs.1, &kind, &packet].concat()
}

fn from_client(lb: &mut Reference, table: &First, hex: &str) -> Outcome {
    lb.receive(2, &frame((CLIENT_SIDE, CLIENT_MAC), hex), table)
}

fn from_server(lb: &mut Reference, table: &First, hex: &str) -> Outcome {
    lb.receive(1, &frame((SERVER_SIDE, SERVER_MAC), hex), table)
}

/// Exactly one frame leaves, on this link, with this packet.
fn expect(outcome: &Outcome, interface: u16, hex: &str) {
    let macs = match interface {
        1 => (SERVER_MAC, SERVER_SIDE),
        _ => (CLIENT_MAC, CLIENT_SIDE),
    };
    assert_eq!(outcome.sent, [(interface, frame(macs, hex))], "{outcome:02x?}");
}

#[test]
fn tunnels_leave_the_packet_alone_and_copy_its_marks() {
    let cases = [
        (Method::Gre4, IN4, GRE4_4, "10.0.0.1"),
        (Method::Gre6, IN4, GRE6_4, "2002::1"),
        (Method::Gre4, IN6, GRE4_6, "10.0.0.1"),
        (Method::Gre6, IN6, GRE6_6, "2002::1"),
        (Method::Ipip, IN4, IPIP_44, "10.0.0.1"),
        (Method::Ipip, IN6, IPIP_66, "2002::1"),
        (Method::Gue, IN4, GUE_44, "10.0.0.1"),
        (Method::Gue, IN4, GUE_64, "2002::1"),
    ];
    for (method, packet, outer, server) in cases {
        for ports in [Ports::All, ONE] {
            let v6 = packet == IN6;
            let (mut lb, table) = lb(method, v6, ports, server);
            expect(&from_client(&mut lb, &table, packet), 1, outer);
        }
    }
}

#[test]
fn l3dsr_marks_the_packet_and_keeps_its_ecn() {
    let method = Method::L3dsr { dscp: 7 };
    for (packet, marked, server) in [(IN4, L3DSR_4, "10.0.0.1"), (IN6, L3DSR_6, "2002::1")] {
        for ports in [Ports::All, ONE] {
            let (mut lb, table) = lb(method, packet == IN6, ports, server);
            expect(&from_client(&mut lb, &table, packet), 1, marked);
        }
    }
}

#[test]
fn direct_routing_changes_ethernet_addresses_only() {
    for (packet, server) in [(IN4, "10.0.0.1"), (IN6, "2002::1")] {
        let (mut lb, table) = lb(Method::Dr, packet == IN6, Ports::All, server);
        expect(&from_client(&mut lb, &table, packet), 1, packet);
    }
}

#[test]
fn nat_translates_both_ways_and_what_errors_quote() {
    let cases = [
        ("10.0.0.1", [IN4, NAT_4, REPLY_IN_4, REPLY_4, ERROR_IN_4, ERROR_4]),
        ("2002::1", [IN6, NAT_6, REPLY_IN_6, REPLY_6, ERROR_IN_6, ERROR_6]),
    ];
    for (server, [to, translated, reply, answered, error, quoted]) in cases {
        let (mut lb, table) = lb(Method::Nat, to == IN6, ONE, server);
        expect(&from_client(&mut lb, &table, to), 1, translated);
        expect(&from_server(&mut lb, &table, reply), 2, answered);
        expect(&from_client(&mut lb, &table, error), 1, quoted);
    }
}

#[test]
fn a_packet_too_big_for_its_tunnel_is_answered_by_the_vip() {
    let (mut lb, table) = lb(Method::Gre4, false, Ports::All, "10.0.0.1");
    let body =
        super::frame::Body::Udp { source: 10_000, destination: 20_000, data: vec![b'x'; 1460] };
    let packet = super::frame::Description {
        macs: (CLIENT_SIDE, CLIENT_MAC),
        source: at("40.0.0.1"),
        destination: at("90.0.0.1"),
        ttl: 64,
        dont_fragment: true,
        body,
    };
    let outcome = lb.receive(2, &packet.bytes(), &table);
    let [(2, sent)] = &outcome.sent[..] else { panic!("{outcome:02x?}") };
    assert_eq!(sent[14..70], bytes(BIG_ERROR_HEAD)[..]);
    assert_eq!(sent.len(), 14 + 576);
    let told = reason::method(false, Method::Gre4, false).sender_told;
    assert_eq!(outcome.counts[&told], 1);
}

#[test]
fn a_port_that_no_vip_has_is_reset() {
    let (mut lb, table) = lb(Method::Nat, false, ONE, "10.0.0.1");
    lb.config.no_match = NoMatch::Reset;
    expect(&from_client(&mut lb, &table, SYN), 2, RST);
    lb.config.vips[0].key.ports = Ports::Range { protocol: TCP, first: 81, last: 81 };
    assert_eq!(from_client(&mut lb, &table, SYN).counts.get(&reason::RESETS_SENT), None);
}

#[test]
fn solicitations_are_answered_also_before_the_address_is_taken() {
    let (mut lb, table) = lb(Method::Nat, true, ONE, "2002::1");
    let group = [0x33, 0x33, 0xff, 0, 0, 0xfe];
    let outcome = lb.receive(2, &frame((group, CLIENT_MAC), NS), &table);
    expect(&outcome, 2, NA);
    assert!(outcome.seen.is_empty(), "it is known");
    let outcome = lb.receive(2, &frame((group, CLIENT_MAC), DAD), &table);
    let all = [0x33, 0x33, 0, 0, 0, 1];
    assert_eq!(outcome.sent, [(2, frame((all, CLIENT_SIDE), NA_DAD))]);
}

#[test]
fn fragments_follow_their_first() {
    let (mut lb, table) = lb(Method::Gre4, false, ONE, "10.0.0.1");
    let body = super::frame::Body::Udp { source: 10_000, destination: 20_000, data: vec![7; 40] };
    let packet = super::frame::Description {
        macs: (CLIENT_SIDE, CLIENT_MAC),
        source: at("40.0.0.1"),
        destination: at("90.0.0.1"),
        ttl: 64,
        dont_fragment: false,
        body,
    };
    let cut = super::flaw::Cut { size: 2, id: 1, order: vec![1], lost: 0 };
    let pieces = cut.apply(&packet.bytes());
    assert_eq!(pieces.len(), 3);
    let early = lb.receive(2, &pieces[0], &table);
    assert_eq!((early.held, early.sent.len()), (1, 0));
    let first = lb.receive(2, &pieces[1], &table);
    assert_eq!((first.held, first.sent.len()), (0, 2));
    assert_eq!(lb.receive(2, &pieces[2], &table).sent.len(), 1);
    lb.wait(6);
    lb.receive(2, &pieces[2], &table);
    lb.wait(1);
    assert_eq!(lb.turn(&table).counts[&reason::of(false).fragment_alone], 1);
}
