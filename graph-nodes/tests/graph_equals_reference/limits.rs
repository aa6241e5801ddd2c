//! More packets than may be held, or answered in one second.

use std::net::{IpAddr, Ipv4Addr};

use testkit::reference::config::{Config, Interface, Kind, Timeouts};
use testkit::reference::frame::{Body, Description};
use testkit::reference::scenario::{Action, Scenario, Universe};

use crate::{Both, SCOPE};

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 254));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// One network with one known host.
fn both() -> Both {
    let mut config = Config::new(Timeouts::new(40, 900, 120));
    config.interfaces.push(Interface {
        addresses: vec![(OWN, 24)],
        mac: OWN_MAC,
        mtu: 1500,
        up: true,
        nat4_in: false,
        nat6_in: false,
        kind: Kind::Port,
    });
    config.neighbors.insert((1, CLIENT), CLIENT_MAC);
    let universe = Universe {
        scope: SCOPE,
        config,
        clients: Vec::new(),
        servers: Vec::new(),
        neighbors: Vec::new(),
        targets: Vec::new(),
    };
    Both::new(&Scenario { universe, steps: Vec::new() })
}

fn echo_request(destination: IpAddr, ttl: u8) -> Action {
    let body = Body::Icmp { kind: 8, code: 0, rest: vec![0, 1, 0, 2, 3] };
    let macs = (OWN_MAC, CLIENT_MAC);
    let packet = Description { macs, source: CLIENT, destination, ttl, dont_fragment: false, body };
    Action::Receive { interface: 1, frame: packet.bytes() }
}

fn play(actions: impl IntoIterator<Item = Action>) {
    let mut both = both();
    for action in actions {
        both.act(&action).unwrap_or_else(|difference| panic!("{action:02x?}\n{difference}"));
    }
    both.finish().unwrap_or_else(|leak| panic!("{leak}"));
}

#[test]
fn hold_queue_per_neighbor_and_in_all() {
    let to_silent_hosts = (20..38).flat_map(|host| {
        [echo_request(Ipv4Addr::new(10, 0, 1, host).into(), 64), Action::Repeat(70)]
    });
    play(to_silent_hosts.chain([Action::Wait(1), Action::Repeat(3), Action::Wait(2)]));
}

#[test]
fn errors_per_second() {
    let expired = echo_request(Ipv4Addr::new(10, 0, 1, 9).into(), 1);
    let many = std::iter::repeat_n(Action::Repeat(250), 5);
    play([expired].into_iter().chain(many).chain([Action::Wait(1), Action::Repeat(3)]));
}

#[test]
fn echoes_per_second() {
    let many = std::iter::repeat_n(Action::Repeat(250), 41);
    let ask = echo_request(OWN, 64);
    play([ask].into_iter().chain(many).chain([Action::Wait(1), Action::Repeat(3)]));
}
