//! [`Traffic`]: which packet comes next.

use std::str::FromStr;

use dataplane::interface::MacAddress;

use crate::family::Family;
use crate::flow::{Client, FlowWindow, Renewal};
use crate::frame_template::{Content, Direction, FrameTemplate, Shape};
use crate::site::{PEER_MAC, SERVER_PORT, VIP_PORT, low_bits, server, vip};

/// Lengths of frames on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All the same, in bytes with check sequence.
    Fixed(u16),
    /// Seven of 64 bytes, four of 594, one of 1518.
    Imix,
}

impl Size {
    /// The lengths, in the order in which they come again and again.
    pub fn lengths(self) -> Vec<u16> {
        match self {
            Self::Fixed(len) => vec![len],
            // Mixed, as lengths come in a random order in networks.
            Self::Imix => vec![64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64],
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::Imix);
        }
        match text.parse() {
            Ok(len @ 64..=1518) => Ok(Self::Fixed(len)),
            _ => Err("a frame has 64 to 1518 bytes, or say imix".to_owned()),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(len) => write!(f, "{len}"),
            Self::Imix => f.write_str("imix"),
        }
    }
}

/// What flows are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP connections: a SYN, then ACKs.
    Tcp,
    /// TCP SYNs only.
    Syn,
}

impl Protocol {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Syn => "syn",
        }
    }

    /// The first packet of a flow, and the others.
    fn contents(self) -> [Content; 2] {
        match self {
            Self::Udp => [Content::Udp; 2],
            Self::Tcp => [Content::SYN, Content::ACK],
            Self::Syn => [Content::SYN; 2],
        }
    }
}

/// What is sent, but for the way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficSpec {
    /// Family of the clients and of the VIP.
    pub family: Family,
    /// Flows that are alive at once, over all workers.
    pub flows: u64,
    /// Frame lengths.
    pub size: Size,
    /// Protocol.
    pub protocol: Protocol,
    /// New flows.
    pub renewal: Renewal,
}

impl TrafficSpec {
    /// Lengths on the wire, in the order in which they come again and again: those of the size, but
    /// none shorter than the family allows.
    pub fn lengths(&self) -> Vec<u16> {
        let shortest = self.family.shortest();
        self.size.lengths().into_iter().map(|len| len.max(shortest)).collect()
    }

    /// Mean length on the wire, check sequence included.
    pub fn mean_len(&self) -> f64 {
        let lengths = self.lengths();
        lengths.iter().map(|len| f64::from(*len)).sum::<f64>() / lengths.len() as f64
    }

    /// The lengths in a word.
    pub fn size_name(&self) -> String {
        match self.size {
            Size::Fixed(_) => self.lengths()[0].to_string(),
            Size::Imix => self.size.to_string(),
        }
    }
}

/// One worker's share of the traffic.
#[derive(Clone, Debug)]
pub struct Traffic {
    window: FlowWindow,
    /// By length: the first packet of a flow, and the others.
    templates: Vec<[FrameTemplate; 2]>,
    at: usize,
    /// By flow of the window: the AS that answers. Empty when clients send.
    servers: Vec<u16>,
    /// The last four bytes of the VIP and of AS number 0.
    vip: u32,
    first_server: u32,
    first_flow: u64,
    /// All packets are the first of their flow, for setting connections up.
    opening: bool,
}

impl Traffic {
    /// Clients send to the VIP. `flows` are the worker's, `hz` is the TSC's.
    pub fn forward(
        spec: &TrafficSpec,
        flows: std::ops::Range<u64>,
        mac: MacAddress,
        hz: u64,
    ) -> Self {
        let window = FlowWindow::new(flows.start, flows.end - flows.start, spec.renewal, hz);
        let templates = templates(spec, Direction::Forward, mac);
        Self::new(spec, window, templates, Vec::new(), flows.start)
    }

    /// ASs answer: flow `flows.start + n` comes from AS `servers[n]`.
    ///
    /// # Panics
    /// When a flow has no AS.
    pub fn answers(
        spec: &TrafficSpec,
        flows: std::ops::Range<u64>,
        servers: Vec<u16>,
        mac: MacAddress,
        hz: u64,
    ) -> Self {
        let len = flows.end - flows.start;
        assert_eq!(servers.len() as u64, len, "an AS for each flow");
        let window = FlowWindow::new(flows.start, len, Renewal::PerSecond(0), hz);
        let templates = templates(spec, Direction::Return, mac);
        Self::new(spec, window, templates, servers, flows.start)
    }

    fn new(
        spec: &TrafficSpec,
        window: FlowWindow,
        templates: Vec<[FrameTemplate; 2]>,
        servers: Vec<u16>,
        first_flow: u64,
    ) -> Self {
        let (vip, first_server) = (low_bits(vip(spec.family)), low_bits(server(0, spec.family)));
        Self { window, templates, at: 0, servers, vip, first_server, first_flow, opening: false }
    }

    /// From now on every packet is the first of its flow (or no longer): a round of such packets
    /// sets up the connections.
    pub fn set_opening(&mut self, opening: bool) {
        self.opening = opening;
    }

    /// The flows.
    pub fn window(&self) -> &FlowWindow {
        &self.window
    }

    /// Says that a burst begins.
    #[inline]
    pub fn begin_burst(&mut self, tsc: impl FnOnce() -> u64) {
        self.window.begin_burst(tsc);
    }

    /// Decides about the next packet; returns its template, its client, and the last four bytes of
    /// the other address.
    #[inline]
    pub fn next_packet(&mut self) -> (&FrameTemplate, Client, u32) {
        let (flow, first) = self.window.next_flow();
        self.at = if self.at + 1 < self.templates.len() { self.at + 1 } else { 0 };
        let [opening, later] = &self.templates[self.at];
        let service = match self.servers.get((flow - self.first_flow) as usize) {
            Some(server) => self.first_server + u32::from(*server),
            None => self.vip,
        };
        let template = if first || self.opening { opening } else { later };
        (template, Client::of(flow), service)
    }

    /// The next packet as a frame of its own.
    pub fn next_frame(&mut self) -> Vec<u8> {
        let (template, client, service) = self.next_packet();
        template.frame(client, service)
    }

    /// Longest frame.
    pub fn longest(&self) -> u16 {
        self.templates.iter().map(|[_, later]| later.frame_len()).max().unwrap_or(0)
    }
}

fn templates(
    spec: &TrafficSpec,
    direction: Direction,
    to_mac: MacAddress,
) -> Vec<[FrameTemplate; 2]> {
    let family = spec.family;
    let (service, service_port) = match direction {
        Direction::Forward => (vip(family), VIP_PORT),
        Direction::Return => (server(0, family), SERVER_PORT),
    };
    let template = |wire_len, content| {
        let from_mac = PEER_MAC;
        let shape = Shape { family, wire_len, content, direction, to_mac, from_mac, service_port };
        FrameTemplate::new(&shape, service)
    };
    let both = |len| spec.protocol.contents().map(|content| template(len, content));
    spec.lengths().into_iter().map(both).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::site::{VIP, VIP6, server_address};

    fn spec(size: Size, protocol: Protocol, renewal: Renewal) -> TrafficSpec {
        TrafficSpec { family: Family::Ip4, flows: 100, size, protocol, renewal }
    }

    /// Source address and port, destination address and port.
    fn tuple(frame: &[u8]) -> [u8; 12] {
        frame[26..38].try_into().unwrap()
    }

    #[test]
    fn as_many_flows_as_asked_for() {
        for size in [Size::Fixed(64), Size::Imix] {
            let spec = spec(size, Protocol::Udp, Renewal::PerSecond(0));
            let mut traffic = Traffic::forward(&spec, 50..150, MacAddress([2; 6]), 1);
            let tuples: HashSet<_> = (0..1000).map(|_| tuple(&traffic.next_frame())).collect();
            assert_eq!(tuples.len(), 100);
            assert!(tuples.iter().all(|tuple| tuple[4..8] == VIP.octets()));
        }
    }

    #[test]
    fn imix_has_its_share_of_each_length() {
        let spec = spec(Size::Imix, Protocol::Tcp, Renewal::PerSecond(0));
        let mut traffic = Traffic::forward(&spec, 0..100, MacAddress([2; 6]), 1);
        let lengths: Vec<_> = (0..1200).map(|_| traffic.next_frame().len() + 4).collect();
        let count = |len| lengths.iter().filter(|l| **l == len).count();
        assert_eq!((count(64), count(594), count(1518)), (700, 400, 100));
        assert_eq!((traffic.longest(), spec.mean_len().round()), (1514, 362.0));
    }

    #[test]
    fn the_first_packet_of_a_connection_is_a_syn() {
        let flags = |protocol, renewal, opening| {
            let spec = spec(Size::Fixed(64), protocol, renewal);
            let mut traffic = Traffic::forward(&spec, 0..100, MacAddress([2; 6]), 1);
            traffic.set_opening(opening);
            traffic.next_frame()[47]
        };
        let none = Renewal::PerSecond(0);
        assert_eq!(flags(Protocol::Tcp, none, false), 0x10);
        assert_eq!(flags(Protocol::Tcp, none, true), 0x02);
        assert_eq!(flags(Protocol::Tcp, Renewal::EveryPacket, false), 0x02);
        assert_eq!(flags(Protocol::Syn, none, false), 0x02);
    }

    #[test]
    fn answers_come_from_the_as_of_the_flow() {
        let spec = spec(Size::Fixed(64), Protocol::Udp, Renewal::PerSecond(0));
        let servers: Vec<u16> = (0..100).map(|n| n % 7).collect();
        let mut traffic = Traffic::answers(&spec, 200..300, servers, MacAddress([2; 6]), 1);
        for _ in 0..250 {
            let frame = traffic.next_frame();
            let client = Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33]);
            let flow = Client::flow_of(client).unwrap();
            assert_eq!(frame[26..30], server_address(((flow - 200) % 7) as u16).octets());
            assert_eq!(frame[34..36], SERVER_PORT.to_be_bytes());
        }
    }

    #[test]
    fn packets_of_ipv6_clients_are_for_the_vip_and_not_too_short() {
        let mut spec = spec(Size::Fixed(64), Protocol::Udp, Renewal::PerSecond(0));
        spec.family = Family::Ip6;
        let mut traffic = Traffic::forward(&spec, 0..100, MacAddress([2; 6]), 1);
        let frames: HashSet<_> = (0..500).map(|_| traffic.next_frame()).collect();
        assert_eq!(frames.len(), 100);
        assert!(frames.iter().all(|frame| frame.len() == 74 && frame[38..54] == VIP6.octets()));
        assert_eq!((spec.size_name().as_str(), spec.mean_len()), ("78", 78.0));
        spec.size = Size::Imix;
        assert_eq!((spec.size_name().as_str(), spec.lengths()[0]), ("imix", 78));
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!("64".parse(), Ok(Size::Fixed(64)));
        assert_eq!("IMIX".parse(), Ok(Size::Imix));
        for wrong in ["63", "1519", "", "x", "-64"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
