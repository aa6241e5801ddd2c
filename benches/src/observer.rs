//! [`Observer`]: looks at what leaves, outside of measurements, so that a figure is known to be that
//! of packets that went where they should.

use std::net::Ipv4Addr;

use dataplane::wire::checksum::{is_transport_valid, is_valid, sum};

use crate::flow::Client;
use crate::traffic::{
    DSCP, FIRST_SERVER, SERVER_PORT, VIP, VIP_PORT, server_address, server_address6, server_mac,
};

/// No AS was seen for a flow.
const NONE: u16 = u16::MAX;

/// How a packet travels to its AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Inside GRE over IPv4.
    Gre4,
    /// Inside GRE over IPv6.
    Gre6,
    /// Inside IPv4.
    Ipip,
    /// Inside UDP over IPv4.
    Gue,
    /// With the AS's address and a DSCP.
    L3dsr,
    /// With the AS's Ethernet address.
    Dr,
    /// With the AS's address and port.
    Nat4,
}

/// What is expected to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Packets as they came, but for Ethernet addresses and TTL.
    Unchanged,
    /// Packets of clients on their way to an AS.
    ToServer(Way),
    /// Packets of ASs to clients, with the VIP as their source.
    Answers,
}

/// A whole IPv4 packet with UDP or TCP inside, whose checksums are right.
struct Ip4<'a> {
    bytes: &'a [u8],
}

impl<'a> Ip4<'a> {
    fn check(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let this = Self { bytes };
        if bytes.len() < 40 || bytes[0] != 0x45 {
            return Err("not IPv4 without options");
        }
        let end = usize::from(this.word(2));
        let l4 = bytes.get(20..end).ok_or("shorter than its IP header says")?;
        if !is_valid(sum(&bytes[..20])) {
            return Err("wrong IP checksum");
        }
        let (source, destination) = (this.address(12), this.address(16));
        if !is_transport_valid(source, destination, bytes[9], l4) {
            return Err("wrong UDP or TCP checksum");
        }
        Ok(this)
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        let [a, b, c, d] = [0, 1, 2, 3].map(|byte| self.bytes[at + byte]);
        Ipv4Addr::new(a, b, c, d)
    }

    fn source(&self) -> Client {
        Client { address: self.address(12), port: self.word(20) }
    }

    fn destination(&self) -> (Ipv4Addr, u16) {
        (self.address(16), self.word(22))
    }
}

/// The number of the AS to which an outer IPv4 header of this protocol leads.
fn outer4(ip: &[u8], protocol: u8) -> Result<u32, &'static str> {
    if ip.len() < 20 || ip[0] != 0x45 || ip[9] != protocol {
        return Err("not in the tunnel");
    }
    if !is_valid(sum(&ip[..20])) {
        return Err("wrong outer checksum");
    }
    let address = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
    Ok(address.to_bits().wrapping_sub(FIRST_SERVER.to_bits()))
}

/// The same for an outer IPv6 header.
fn outer6(ip: &[u8], protocol: u8) -> Result<u32, &'static str> {
    let address: [u8; 16] = match ip.get(24..40).map(TryInto::try_into) {
        Some(Ok(address)) if ip[0] >> 4 == 6 && ip[6] == protocol => address,
        _ => return Err("not in the tunnel"),
    };
    let number = u128::from_be_bytes(address).wrapping_sub(server_address6(0).to_bits());
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
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
            Expect::Unchanged => Ip4::check(ip).map(drop),
            Expect::Answers => {
                let source = Ip4::check(ip)?.source();
                let vip = Client { address: VIP, port: VIP_PORT };
                if source == vip { Ok(()) } else { Err("not from the VIP") }
            }
            Expect::ToServer(way) => self.check_forwarded(way, frame, ip),
        }
    }

    /// A packet of a client that was sent to an AS.
    fn check_forwarded(&mut self, way: Way, frame: &[u8], ip: &[u8]) -> Result<(), &'static str> {
        let (number, inner) = match way {
            Way::Gre4 => (outer4(ip, 47)?, 24),
            Way::Gre6 => (outer6(ip, 47)?, 44),
            Way::Ipip => (outer4(ip, 4)?, 20),
            Way::Gue => (outer4(ip, 17)?, 28),
            Way::Dr => (u32::from(u16::from_be_bytes([frame[4], frame[5]])), 0),
            Way::L3dsr | Way::Nat4 => {
                let (to, _) = Ip4::check(ip)?.destination();
                (to.to_bits().wrapping_sub(FIRST_SERVER.to_bits()), 0)
            }
        };
        let inner = Ip4::check(ip.get(inner..).unwrap_or_default())?;
        let number = u16::try_from(number).map_err(|_| "not to an AS")?;
        if usize::from(number) >= self.per_server.len() {
            return Err("not to an AS");
        }
        if frame[..6] != server_mac(number).0 {
            return Err("not to the AS's Ethernet address");
        }
        let destination = match way {
            Way::Nat4 => (server_address(number), SERVER_PORT),
            Way::L3dsr => (server_address(number), VIP_PORT),
            _ => (VIP, VIP_PORT),
        };
        if inner.destination() != destination {
            return Err("not to the right address and port");
        }
        if way == Way::L3dsr && ip[1] >> 2 != DSCP {
            return Err("not with the VIP's DSCP");
        }
        self.per_server[usize::from(number)] += 1;
        self.note_server(inner.source(), number)
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
    fn frame(direction: Direction, flow: u64, service: Ipv4Addr, service_port: u16) -> Vec<u8> {
        let mac = MacAddress([2; 6]);
        let (content, to_mac, from_mac) = (Content::Udp, mac, mac);
        let shape = Shape { wire_len: 64, content, direction, to_mac, from_mac, service_port };
        FrameTemplate::new(&shape).frame(Client::of(flow), service)
    }

    const NAT4: Expect = Expect::ToServer(Way::Nat4);

    fn with_mac(server: u16, mut frame: Vec<u8>) -> Vec<u8> {
        frame[..6].copy_from_slice(&server_mac(server).0);
        frame
    }

    fn forwarded(flow: u64, server: u16) -> Vec<u8> {
        with_mac(server, frame(Direction::Forward, flow, server_address(server), SERVER_PORT))
    }

    /// Something in front of a client's packet.
    fn tunnelled(server: u16, outer: &[u8]) -> Vec<u8> {
        let plain = with_mac(server, frame(Direction::Forward, 0, VIP, VIP_PORT));
        [&plain[..14], outer, &plain[14..]].concat()
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
        assert!(reason(Expect::Unchanged, &good[..40]).contains("not IPv4"));
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

    #[test]
    fn every_way_to_an_as_is_known() {
        let verdict = |way, frame: &[u8]| {
            let mut observer = Observer::new(Expect::ToServer(way), 0..1, 2);
            observer.see(frame);
            observer.verdict().map(|()| observer.per_server()[1])
        };
        let gre = [&outer_ip4(47, 1)[..], &[0, 0, 8, 0]].concat();
        assert_eq!(verdict(Way::Gre4, &tunnelled(1, &gre)), Ok(1));
        assert_eq!(verdict(Way::Ipip, &tunnelled(1, &outer_ip4(4, 1))), Ok(1));
        let gue = [&outer_ip4(17, 1)[..], &[0; 8]].concat();
        assert_eq!(verdict(Way::Gue, &tunnelled(1, &gue)), Ok(1));
        let mut outer = vec![0; 44];
        (outer[0], outer[6]) = (0x60, 47);
        outer[24..40].copy_from_slice(&server_address6(1).octets());
        assert_eq!(verdict(Way::Gre6, &tunnelled(1, &outer)), Ok(1));
        assert_eq!(verdict(Way::Dr, &tunnelled(1, &[])), Ok(1));
        // The wrong tunnel, the wrong checksum, the wrong AS, no DSCP.
        assert!(verdict(Way::Ipip, &tunnelled(1, &gre)).unwrap_err().contains("not in the tunnel"));
        let mut corrupt = tunnelled(1, &gre);
        corrupt[16] ^= 1;
        assert!(verdict(Way::Gre4, &corrupt).unwrap_err().contains("wrong outer checksum"));
        assert!(verdict(Way::Gre4, &tunnelled(0, &gre)).unwrap_err().contains("Ethernet address"));
        assert!(verdict(Way::Dr, &tunnelled(2, &[])).unwrap_err().contains("not to an AS"));
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
