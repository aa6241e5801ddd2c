//! [`Observer`]: looks at what leaves, outside of measurements, so that a figure is known to be that
//! of packets that went where they should.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::wire::checksum::{is_transport_valid, is_valid, sum};

use crate::family::Family;
use crate::flow::Client;
use crate::site::{DSCP, SERVER_PORT, VIP_PORT, client4, server, server_mac, server_number, vip};

/// No AS was seen for a flow.
const NONE: u16 = u16::MAX;

/// How a packet travels to its AS. Tunnels have a family of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Inside GRE.
    Gre(Family),
    /// Inside IP.
    Ipip(Family),
    /// Inside UDP.
    Gue(Family),
    /// With the AS's address and a DSCP.
    L3dsr,
    /// With the AS's Ethernet address.
    Dr,
    /// With the AS's address and port.
    Nat,
}

/// What is expected to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Packets as they came, but for Ethernet addresses and hops.
    Unchanged,
    /// Packets of clients on their way to an AS.
    ToServer(Way),
    /// Packets of ASs to clients, with the VIP as their source.
    Answers,
    /// Nothing is known about what leaves, if anything does.
    Anything,
}

/// A whole IP packet with UDP or TCP inside, without options or extension headers, whose checksums
/// are right.
struct Ip<'a> {
    family: Family,
    bytes: &'a [u8],
}

impl<'a> Ip<'a> {
    fn check(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let family = match bytes.first() {
            Some(0x45) if bytes.len() >= 40 => Family::Ip4,
            Some(first) if first >> 4 == 6 && bytes.len() >= 60 => Family::Ip6,
            _ => return Err("not IP without options"),
        };
        let this = Self { family, bytes };
        let (protocol, end) = match family {
            Family::Ip4 => (bytes[9], usize::from(this.word(2))),
            Family::Ip6 => (bytes[6], 40 + usize::from(this.word(4))),
        };
        let l4 = bytes.get(family.header_len()..end).ok_or("shorter than its IP header says")?;
        if family == Family::Ip4 && !is_valid(sum(&bytes[..20])) {
            return Err("wrong IP checksum");
        }
        let (source, destination) = this.addresses();
        let valid = match (source, destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => is_transport_valid(from, to, protocol, l4),
            (IpAddr::V6(from), IpAddr::V6(to)) => is_transport_valid(from, to, protocol, l4),
            _ => false,
        };
        if valid { Ok(this) } else { Err("wrong UDP or TCP checksum") }
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        match self.family {
            Family::Ip4 => (address4(self.bytes, 12), address4(self.bytes, 16)),
            Family::Ip6 => (address6(self.bytes, 8), address6(self.bytes, 24)),
        }
    }

    fn source(&self) -> (IpAddr, u16) {
        (self.addresses().0, self.word(self.family.header_len()))
    }

    fn destination(&self) -> (IpAddr, u16) {
        (self.addresses().1, self.word(self.family.header_len() + 2))
    }

    /// Differentiated services code point.
    fn dscp(&self) -> u8 {
        match self.family {
            Family::Ip4 => self.bytes[1] >> 2,
            Family::Ip6 => (self.word(0) >> 6) as u8 & 0x3f,
        }
    }
}

/// The address at `at`; 0 where bytes are missing.
fn address4(bytes: &[u8], at: usize) -> IpAddr {
    let octets: [u8; 4] = std::array::from_fn(|n| bytes.get(at + n).copied().unwrap_or(0));
    Ipv4Addr::from(octets).into()
}

fn address6(bytes: &[u8], at: usize) -> IpAddr {
    let octets: [u8; 16] = std::array::from_fn(|n| bytes.get(at + n).copied().unwrap_or(0));
    Ipv6Addr::from(octets).into()
}

/// The AS to which an outer header leads that has this protocol inside.
fn outer(ip: &[u8], family: Family, protocol: u8) -> Result<IpAddr, &'static str> {
    let (version, next, address) = match family {
        Family::Ip4 => (0x45, ip.get(9), address4(ip, 16)),
        Family::Ip6 => (0x60, ip.get(6), address6(ip, 24)),
    };
    let starts_right = ip.first().is_some_and(|first| match family {
        Family::Ip4 => *first == version,
        Family::Ip6 => *first & 0xf0 == version,
    });
    if ip.len() < family.header_len() || !starts_right || next != Some(&protocol) {
        return Err("not in the tunnel");
    }
    if family == Family::Ip4 && !is_valid(sum(&ip[..20])) {
        return Err("wrong outer checksum");
    }
    Ok(address)
}

/// The protocol of an IP packet inside another one (RFC 2003, RFC 2473).
fn protocol_of_inner(ip: &[u8], family: Family) -> u8 {
    match ip.get(family.header_len()).map(|first| first >> 4) {
        Some(6) => 41,
        _ => 4,
    }
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Observer {
    expect: Expect,
    first_flow: u64,
    /// By flow: its AS, as far as one was seen.
    servers: Vec<u16>,
    /// By AS.
    per_server: Vec<u64>,
    good: u64,
    bad: u64,
    /// The first packet that was not as expected, and why.
    first_bad: Option<(&'static str, Vec<u8>)>,
}

impl Observer {
    /// Looks for packets of these flows, to so many ASs.
    pub fn new(expect: Expect, flows: std::ops::Range<u64>, servers: u16) -> Self {
        Self {
            expect,
            first_flow: flows.start,
            servers: vec![NONE; (flows.end - flows.start) as usize],
            per_server: vec![0; usize::from(servers)],
            good: 0,
            bad: 0,
            first_bad: None,
        }
    }

    /// Looks at a frame that was sent.
    pub fn see(&mut self, frame: &[u8]) {
        match self.check(frame) {
            Ok(()) => self.good += 1,
            Err(reason) => {
                self.bad += 1;
                self.first_bad.get_or_insert_with(|| (reason, frame.to_vec()));
            }
        }
    }

    fn check(&mut self, frame: &[u8]) -> Result<(), &'static str> {
        let ip = frame.get(14..).unwrap_or_default();
        match self.expect {
            Expect::Anything => Ok(()),
            Expect::Unchanged => Ip::check(ip).map(drop),
            Expect::Answers => {
                let packet = Ip::check(ip)?;
                let from_vip = packet.source() == (vip(packet.family), VIP_PORT);
                if from_vip { Ok(()) } else { Err("not from the VIP") }
            }
            Expect::ToServer(way) => self.check_forwarded(way, frame, ip),
        }
    }

    /// A packet of a client that was sent to an AS.
    fn check_forwarded(&mut self, way: Way, frame: &[u8], ip: &[u8]) -> Result<(), &'static str> {
        let (address, skipped) = match way {
            Way::Gre(family) => (Some(outer(ip, family, 47)?), family.header_len() + 4),
            Way::Ipip(family) => {
                let protocol = protocol_of_inner(ip, family);
                (Some(outer(ip, family, protocol)?), family.header_len())
            }
            Way::Gue(family) => (Some(outer(ip, family, 17)?), family.header_len() + 8),
            Way::L3dsr | Way::Nat => (Some(Ip::check(ip)?.destination().0), 0),
            Way::Dr => (None, 0),
        };
        let inner = Ip::check(ip.get(skipped..).unwrap_or_default())?;
        let number = match address {
            Some(address) => server_number(address).ok_or("not to an AS")?,
            None => u16::from_be_bytes([frame[4], frame[5]]),
        };
        if usize::from(number) >= self.per_server.len() {
            return Err("not to an AS");
        }
        if frame[..6] != server_mac(number).0 {
            return Err("not to the AS's Ethernet address");
        }
        let destination = match way {
            Way::Nat => (server(number, inner.family), SERVER_PORT),
            Way::L3dsr => (server(number, inner.family), VIP_PORT),
            _ => (vip(inner.family), VIP_PORT),
        };
        if inner.destination() != destination {
            return Err("not to the right address and port");
        }
        if way == Way::L3dsr && inner.dscp() != DSCP {
            return Err("not with the VIP's DSCP");
        }
        self.per_server[usize::from(number)] += 1;
        let (address, port) = inner.source();
        let address = client4(address).ok_or("not from a client")?;
        self.note_server(Client { address, port }, number)
    }

    /// Sees that a flow stays where it is.
    fn note_server(&mut self, client: Client, number: u16) -> Result<(), &'static str> {
        let flow = Client::flow_of(client.address).ok_or("not from a client")?;
        // Flows that came later have a window of their own; their ASs are of no interest.
        let Some(at) = flow.checked_sub(self.first_flow) else { return Ok(()) };
        match self.servers.get_mut(at as usize) {
            Some(server) if Client::of(flow) == client => {
                if *server != NONE && *server != number {
                    return Err("the flow moved to another AS");
                }
                *server = number;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Packets that were as expected.
    pub fn good(&self) -> u64 {
        self.good
    }

    /// Packets per AS.
    pub fn per_server(&self) -> &[u64] {
        &self.per_server
    }

    /// By flow: its AS; `None` unless one was seen for each.
    pub fn servers(self) -> Option<Vec<u16>> {
        self.servers.iter().all(|server| *server != NONE).then_some(self.servers)
    }

    /// What was wrong, if anything was.
    ///
    /// # Errors
    ///
    /// The number of wrong packets and the first of them.
    pub fn verdict(&self) -> Result<(), String> {
        match &self.first_bad {
            None => Ok(()),
            Some((reason, frame)) => {
                let head: String =
                    frame.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
                let Self { good, bad, .. } = self;
                Err(format!(
                    "{bad} of {} packets left wrong; the first ({reason}): {head}",
                    good + bad
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dataplane::interface::MacAddress;

    use super::*;
    use crate::frame_template::{Content, Direction, FrameTemplate, Shape};
    use crate::site::{VIP, low_bits, server_address, server_address6};

    fn frame_of(direction: Direction, flow: u64, service: IpAddr, service_port: u16) -> Vec<u8> {
        let (to_mac, from_mac) = (MacAddress([2; 6]), MacAddress([2; 6]));
        let family = if service.is_ipv4() { Family::Ip4 } else { Family::Ip6 };
        let (content, wire_len) = (Content::Udp, 64);
        let shape = Shape { family, wire_len, content, direction, to_mac, from_mac, service_port };
        FrameTemplate::new(&shape, service).frame(Client::of(flow), low_bits(service))
    }

    fn frame(direction: Direction, flow: u64, service: Ipv4Addr, service_port: u16) -> Vec<u8> {
        frame_of(direction, flow, service.into(), service_port)
    }

    const NAT4: Expect = Expect::ToServer(Way::Nat);

    fn with_mac(server: u16, mut frame: Vec<u8>) -> Vec<u8> {
        frame[..6].copy_from_slice(&server_mac(server).0);
        frame
    }

    fn forwarded(flow: u64, server: u16) -> Vec<u8> {
        with_mac(server, frame(Direction::Forward, flow, server_address(server), SERVER_PORT))
    }

    /// Something in front of a client's packet.
    fn tunnelled(family: Family, server: u16, outer: &[u8]) -> Vec<u8> {
        let plain = frame_of(Direction::Forward, 0, vip(family), VIP_PORT);
        let plain = with_mac(server, plain);
        [&plain[..14], outer, &plain[14..]].concat()
    }

    fn outer_ip6(protocol: u8, server: u16) -> Vec<u8> {
        let mut ip = vec![0; 40];
        (ip[0], ip[6]) = (0x60, protocol);
        ip[24..40].copy_from_slice(&server_address6(server).octets());
        ip
    }

    fn outer_ip4(protocol: u8, server: u16) -> Vec<u8> {
        let mut ip = vec![0; 20];
        (ip[0], ip[9]) = (0x45, protocol);
        ip[16..20].copy_from_slice(&server_address(server).octets());
        let checksum = sum(&ip).checksum().0;
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        ip
    }

    #[test]
    fn learns_the_as_of_each_flow() {
        let mut observer = Observer::new(NAT4, 10..13, 4);
        for (flow, server) in [(10, 3), (11, 0), (12, 3), (10, 3), (999, 1)] {
            observer.see(&forwarded(flow, server));
        }
        assert_eq!((observer.good(), observer.verdict()), (5, Ok(())));
        assert_eq!(observer.per_server(), [1, 1, 0, 3]);
        assert_eq!(observer.servers(), Some(vec![3, 0, 3]));
    }

    #[test]
    fn a_flow_that_was_not_seen_has_no_as() {
        let mut observer = Observer::new(NAT4, 0..2, 4);
        observer.see(&forwarded(0, 1));
        assert_eq!(observer.servers(), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let reason = |expect, frame: &[u8]| {
            let mut observer = Observer::new(expect, 0..2, 2);
            observer.see(frame);
            observer.verdict().unwrap_err()
        };
        let good = forwarded(0, 1);
        let mut corrupt = good.clone();
        corrupt[45] ^= 1;
        assert!(reason(NAT4, &corrupt).contains("wrong UDP or TCP checksum"));
        let mut corrupt = good.clone();
        corrupt[22] ^= 1;
        assert!(reason(Expect::Unchanged, &corrupt).contains("wrong IP checksum"));
        assert!(reason(Expect::Unchanged, &good[..56]).contains("shorter"));
        assert!(reason(Expect::Unchanged, &good[..40]).contains("not IP without"));
        assert!(reason(NAT4, &forwarded(0, 2)).contains("not to an AS"));
        let port = with_mac(1, frame(Direction::Forward, 0, server_address(1), 1));
        assert!(reason(NAT4, &port).contains("not to the right address and port"));
        let mut elsewhere = good.clone();
        elsewhere[5] ^= 1;
        assert!(reason(NAT4, &elsewhere).contains("not to the AS's Ethernet address"));
        let answer = frame(Direction::Return, 0, server_address(1), SERVER_PORT);
        assert!(reason(Expect::Answers, &answer).contains("not from the VIP"));
        let mut observer = Observer::new(NAT4, 0..2, 2);
        observer.see(&forwarded(0, 0));
        observer.see(&forwarded(0, 1));
        assert!(observer.verdict().unwrap_err().contains("moved to another AS"));
    }

    fn verdict(way: Way, frame: &[u8]) -> Result<u64, String> {
        let mut observer = Observer::new(Expect::ToServer(way), 0..1, 2);
        observer.see(frame);
        observer.verdict().map(|()| observer.per_server()[1])
    }

    #[test]
    fn every_way_to_an_as_is_known() {
        for family in [Family::Ip4, Family::Ip6] {
            let ipip = if family == Family::Ip4 { 4 } else { 41 };
            for outside in [Family::Ip4, Family::Ip6] {
                let ip = |protocol, server| match outside {
                    Family::Ip4 => outer_ip4(protocol, server),
                    Family::Ip6 => outer_ip6(protocol, server),
                };
                let gre = [&ip(47, 1)[..], &[0; 4]].concat();
                assert_eq!(verdict(Way::Gre(outside), &tunnelled(family, 1, &gre)), Ok(1));
                let plain = ip(ipip, 1);
                assert_eq!(verdict(Way::Ipip(outside), &tunnelled(family, 1, &plain)), Ok(1));
                let gue = [&ip(17, 1)[..], &[0; 8]].concat();
                assert_eq!(verdict(Way::Gue(outside), &tunnelled(family, 1, &gue)), Ok(1));
            }
            assert_eq!(verdict(Way::Dr, &tunnelled(family, 1, &[])), Ok(1));
            let to = |port| frame_of(Direction::Forward, 0, server(1, family), port);
            assert_eq!(verdict(Way::Nat, &with_mac(1, to(SERVER_PORT))), Ok(1));
        }
        let mut l3dsr = frame_of(Direction::Forward, 0, server(1, Family::Ip6), VIP_PORT);
        (l3dsr[14], l3dsr[15]) = (0x60 | DSCP >> 2, DSCP << 6);
        assert_eq!(verdict(Way::L3dsr, &with_mac(1, l3dsr)), Ok(1));
    }

    #[test]
    fn wrong_ways_are_noticed() {
        let (gre4, ip4) = (Way::Gre(Family::Ip4), Family::Ip4);
        let gre = [&outer_ip4(47, 1)[..], &[0, 0, 8, 0]].concat();
        let good = tunnelled(ip4, 1, &gre);
        for way in [Way::Ipip(ip4), Way::Gre(Family::Ip6)] {
            assert!(verdict(way, &good).unwrap_err().contains("not in the tunnel"));
        }
        let mut corrupt = good;
        corrupt[16] ^= 1;
        assert!(verdict(gre4, &corrupt).unwrap_err().contains("wrong outer checksum"));
        let wrong_mac = tunnelled(ip4, 0, &gre);
        assert!(verdict(gre4, &wrong_mac).unwrap_err().contains("Ethernet address"));
        assert!(verdict(Way::Dr, &tunnelled(ip4, 2, &[])).unwrap_err().contains("not to an AS"));
        let l3dsr = with_mac(1, frame(Direction::Forward, 0, server_address(1), VIP_PORT));
        assert!(verdict(Way::L3dsr, &l3dsr).unwrap_err().contains("DSCP"));
    }

    #[test]
    fn an_answer_comes_from_the_vip() {
        let mut observer = Observer::new(Expect::Answers, 0..1, 1);
        observer.see(&frame(Direction::Return, 0, VIP, VIP_PORT));
        assert_eq!(observer.verdict(), Ok(()));
    }
}
