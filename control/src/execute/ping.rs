//! `ping`: ICMP echo (RFC 792, RFC 4443) from one of our addresses, routed by the workers.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use config::{Ping, Problem, defaults};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr,
    Ipv6Packet, Ipv6Repr,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Shared;
use crate::control::{Control, EchoReply};

/// Room for the Ethernet header that a worker puts in front.
const ETHERNET_LEN: usize = 14;
/// TTL or hop limit of our requests.
const TTL: u8 = 64;

/// Time a reply may take after the last request.
const LAST_REPLY: Duration = Duration::from_secs(1);

/// A `ping` that has been found possible.
struct Plan {
    target: IpAddr,
    source: IpAddr,
    ident: u16,
    payload: usize,
    interval: Duration,
    repeat: u32,
}

impl Shared {
    /// Sends the requests, awaits the replies, and prints them as VPP does.
    pub(super) async fn ping(&self, ping: &Ping) -> Result<String, Problem> {
        let (plan, mut replies) = self.guarded(|control| control.begin_ping(ping))?;
        // However this ends (the client may go away), the identifier is given back.
        let _end = EndPing { shared: self.clone(), ident: plan.ident };
        let mut output = String::new();
        let mut received = 0;
        let mut sent_at = Vec::new();
        for sequence in 1..=plan.repeat {
            sent_at.push(Instant::now());
            let request = plan.request(sequence as u16);
            self.guarded(|control| Ok(control.route(&request)))?;
            let last = sequence == plan.repeat;
            let until = tokio::time::Instant::now()
                + if last { plan.interval.max(LAST_REPLY) } else { plan.interval };
            loop {
                if last && received == plan.repeat {
                    break;
                }
                match tokio::time::timeout_at(until, replies.recv()).await {
                    Ok(Some(reply)) => {
                        let index = usize::from(reply.sequence).wrapping_sub(1);
                        let Some(at) = sent_at.get(index) else { continue };
                        received += 1;
                        let EchoReply { from, sequence, ttl, bytes, .. } = reply;
                        let time = reply.at.duration_since(*at).as_secs_f64() * 1_000.0;
                        // A String takes everything.
                        let _ = writeln!(
                            output,
                            "{bytes} bytes from {from}: icmp_seq={sequence} ttl={ttl} \
                             time={time:.4} ms"
                        );
                    }
                    Ok(None) | Err(_) => break,
                }
            }
        }
        let sent = plan.repeat;
        let loss = sent.saturating_sub(received) * 100 / sent.max(1);
        let _ =
            write!(output, "\nStatistics: {sent} sent, {received} received, {loss}% packet loss\n");
        Ok(output)
    }
}

struct EndPing {
    shared: Shared,
    ident: u16,
}

impl Drop for EndPing {
    fn drop(&mut self) {
        self.shared.with(|control| control.end_ping(self.ident));
    }
}

impl Control {
    fn begin_ping(&mut self, ping: &Ping) -> Result<(Plan, UnboundedReceiver<EchoReply>), Problem> {
        self.publish();
        let target = ping.address.value;
        let source = match &ping.source {
            Some(name) => {
                let id = self.model().interface_id(name)?;
                let link = self.model().interface(id);
                link.and_then(|link| link.source_for(target)).ok_or_else(|| {
                    let family = if target.is_ipv4() { "IPv4" } else { "IPv6" };
                    Problem::new(name.span, format!("{} has no {family} address", name.value))
                })?
            }
            // A VIP answers for itself, like the address of an interface.
            None if self.model().lb.is_vip(target) => target,
            None => self.source_towards(target).ok_or_else(|| {
                Problem::new(ping.address.span, format!("there is no route to {target}"))
                    .with_hint("`show ip fib` lists the routes; is the interface up?")
            })?,
        };
        let (sender, receiver) = unbounded_channel();
        let ident = self
            .register_ping(sender)
            .ok_or_else(|| Problem::new(ping.address.span, "too many pings at once"))?;
        let plan = Plan {
            target,
            source,
            ident,
            payload: usize::from(ping.size.unwrap_or(defaults::PING_SIZE)),
            interval: Duration::from_millis(u64::from(
                ping.interval_ms.unwrap_or(defaults::PING_INTERVAL_MS),
            )),
            repeat: ping.repeat.unwrap_or(defaults::PING_REPEAT),
        };
        Ok((plan, receiver))
    }
}

impl Plan {
    /// The request with this number, behind room for the Ethernet header.
    fn request(&self, sequence: u16) -> Vec<u8> {
        let data: Vec<u8> = (0..self.payload).map(|n| n as u8).collect();
        match (self.source, self.target) {
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                echo6((source, target), self.ident, sequence, &data)
            }
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                echo4((source, target), self.ident, sequence, &data)
            }
            // A source is chosen for its target.
            _ => Vec::new(),
        }
    }
}

fn echo4(addresses: (Ipv4Addr, Ipv4Addr), ident: u16, sequence: u16, data: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let echo = Icmpv4Repr::EchoRequest { ident, seq_no: sequence, data };
    let ip = Ipv4Repr {
        src_addr: addresses.0,
        dst_addr: addresses.1,
        next_header: IpProtocol::Icmp,
        payload_len: echo.buffer_len(),
        hop_limit: TTL,
    };
    let mut bytes = vec![0; ETHERNET_LEN + ip.buffer_len() + echo.buffer_len()];
    let mut view = Ipv4Packet::new_unchecked(&mut bytes[ETHERNET_LEN..]);
    ip.emit(&mut view, &checksums);
    echo.emit(&mut Icmpv4Packet::new_unchecked(view.payload_mut()), &checksums);
    bytes
}

fn echo6(addresses: (Ipv6Addr, Ipv6Addr), ident: u16, sequence: u16, data: &[u8]) -> Vec<u8> {
    let echo = Icmpv6Repr::EchoRequest { ident, seq_no: sequence, data };
    let ip = Ipv6Repr {
        src_addr: addresses.0,
        dst_addr: addresses.1,
        next_header: IpProtocol::Icmpv6,
        payload_len: echo.buffer_len(),
        hop_limit: TTL,
    };
    let mut bytes = vec![0; ETHERNET_LEN + ip.buffer_len() + echo.buffer_len()];
    let mut view = Ipv6Packet::new_unchecked(&mut bytes[ETHERNET_LEN..]);
    ip.emit(&mut view);
    let mut icmp = Icmpv6Packet::new_unchecked(view.payload_mut());
    echo.emit(&addresses.0, &addresses.1, &mut icmp, &ChecksumCapabilities::default());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(source: &str, target: &str) -> Plan {
        Plan {
            target: target.parse().unwrap(),
            source: source.parse().unwrap(),
            ident: 7,
            payload: 60,
            interval: Duration::ZERO,
            repeat: 1,
        }
    }

    #[test]
    fn a_request_is_a_valid_echo_behind_the_ethernet_room() {
        let bytes = plan("10.0.0.1", "10.0.0.9").request(3);
        assert_eq!(bytes.len(), 14 + 20 + 8 + 60);
        assert_eq!(bytes[..14], [0; 14]);
        let ip = Ipv4Packet::new_checked(&bytes[14..]).unwrap();
        assert!(ip.verify_checksum());
        let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum());
        assert_eq!((icmp.echo_ident(), icmp.echo_seq_no()), (7, 3));
    }
    #[test]
    fn so_is_one_over_ipv6() {
        let (source, target) = ("2001:db8::1", "2001:db8::9");
        let bytes = plan(source, target).request(3);
        assert_eq!(bytes.len(), 14 + 40 + 8 + 60);
        let ip = Ipv6Packet::new_checked(&bytes[14..]).unwrap();
        let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum(&source.parse().unwrap(), &target.parse().unwrap()));
        assert_eq!((icmp.echo_ident(), icmp.echo_seq_no()), (7, 3));
        assert_eq!(ip.hop_limit(), 64);
    }
}
