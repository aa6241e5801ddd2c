//! [`Observer`]: looks at what leaves, outside of measurements, so that a figure is known to be that
//! of packets that went where they should.

use std::net::Ipv4Addr;

use dataplane::wire::checksum::{is_transport_valid, is_valid, sum};

use crate::flow::Client;
use crate::traffic::{FIRST_SERVER, SERVER_PORT, VIP, VIP_PORT};

/// No AS was seen for a flow.
const NONE: u16 = u16::MAX;

/// What is expected to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Packets as they came, but for Ethernet addresses and TTL.
    Unchanged,
    /// Packets of clients to an AS, translated.
    Translated,
    /// Packets of ASs to clients, with the VIP as their source.
    Answers,
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
        if frame.len() < 54 || frame[12..15] != [0x08, 0x00, 0x45] {
            return Err("not IPv4 without options");
        }
        let address =
            |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let end = 14 + usize::from(port(16));
        let l4 = frame.get(34..end).ok_or("shorter than its IP header says")?;
        if !is_valid(sum(&frame[14..34])) {
            return Err("wrong IP checksum");
        }
        let (source, destination) = (address(26), address(30));
        if !is_transport_valid(source, destination, frame[23], l4) {
            return Err("wrong UDP or TCP checksum");
        }
        match self.expect {
            Expect::Unchanged => Ok(()),
            Expect::Translated => {
                self.forwarded(Client { address: source, port: port(34) }, destination, port(36))
            }
            Expect::Answers if (source, port(34)) != (VIP, VIP_PORT) => Err("not from the VIP"),
            Expect::Answers => Ok(()),
        }
    }

    /// A packet of a client that was sent to an AS.
    fn forwarded(&mut self, client: Client, to: Ipv4Addr, port: u16) -> Result<(), &'static str> {
        let number = to.to_bits().wrapping_sub(FIRST_SERVER.to_bits());
        let count = self.per_server.get_mut(number as usize).ok_or("not to an AS")?;
        if port != SERVER_PORT {
            return Err("not to the AS's port");
        }
        *count += 1;
        let Some(flow) = Client::flow_of(client.address) else {
            return Err("not from a client");
        };
        // Flows that came later have a window of their own; their ASs are of no interest.
        let Some(at) = flow.checked_sub(self.first_flow) else { return Ok(()) };
        match self.servers.get_mut(at as usize) {
            Some(server) if Client::of(flow) == client => {
                if *server != NONE && *server != number as u16 {
                    return Err("the flow moved to another AS");
                }
                *server = number as u16;
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
    use crate::traffic::server_address;

    fn frame(direction: Direction, flow: u64, service: Ipv4Addr, service_port: u16) -> Vec<u8> {
        let mac = MacAddress([2; 6]);
        let (content, to_mac, from_mac) = (Content::Udp, mac, mac);
        let shape = Shape { wire_len: 64, content, direction, to_mac, from_mac, service_port };
        FrameTemplate::new(&shape).frame(Client::of(flow), service)
    }

    fn forwarded(flow: u64, server: u16) -> Vec<u8> {
        frame(Direction::Forward, flow, server_address(server), SERVER_PORT)
    }

    #[test]
    fn learns_the_as_of_each_flow() {
        let mut observer = Observer::new(Expect::Translated, 10..13, 4);
        for (flow, server) in [(10, 3), (11, 0), (12, 3), (10, 3), (999, 1)] {
            observer.see(&forwarded(flow, server));
        }
        assert_eq!((observer.good(), observer.verdict()), (5, Ok(())));
        assert_eq!(observer.per_server(), [1, 1, 0, 3]);
        assert_eq!(observer.servers(), Some(vec![3, 0, 3]));
    }

    #[test]
    fn a_flow_that_was_not_seen_has_no_as() {
        let mut observer = Observer::new(Expect::Translated, 0..2, 4);
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
        assert!(reason(Expect::Translated, &corrupt).contains("wrong UDP or TCP checksum"));
        let mut corrupt = good.clone();
        corrupt[22] ^= 1;
        assert!(reason(Expect::Unchanged, &corrupt).contains("wrong IP checksum"));
        assert!(reason(Expect::Unchanged, &good[..56]).contains("shorter"));
        assert!(reason(Expect::Unchanged, &good[..40]).contains("not IPv4"));
        assert!(reason(Expect::Translated, &forwarded(0, 2)).contains("not to an AS"));
        let port = frame(Direction::Forward, 0, server_address(1), 1);
        assert!(reason(Expect::Translated, &port).contains("not to the AS's port"));
        let answer = frame(Direction::Return, 0, server_address(1), SERVER_PORT);
        assert!(reason(Expect::Answers, &answer).contains("not from the VIP"));
        let mut observer = Observer::new(Expect::Translated, 0..2, 2);
        observer.see(&forwarded(0, 0));
        observer.see(&forwarded(0, 1));
        assert!(observer.verdict().unwrap_err().contains("moved to another AS"));
    }

    #[test]
    fn an_answer_comes_from_the_vip() {
        let mut observer = Observer::new(Expect::Answers, 0..1, 1);
        observer.see(&frame(Direction::Return, 0, VIP, VIP_PORT));
        assert_eq!(observer.verdict(), Ok(()));
    }
}
