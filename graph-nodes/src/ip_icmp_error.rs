//! `ip4-icmp-error`, `ip6-icmp-error`: tell senders why their packet did not get through.

use std::marker::PhantomData;

use dataplane::frame::{Frame, flag};
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::rate_limit::RateLimit;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;
use dataplane::worker::ICMP_ERRORS_PER_SECOND;
use dataplane::{family_next_nodes, family_node_counters};

use crate::forwarding::link;
use crate::icmp_error::IcmpError;
use crate::icmp_message::{ErrorMessage, L3, Parts};
use crate::upper::mark;

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// The error, on its way to the sender.
        Lookup => ("ip4-lookup", "ip6-lookup"),
        /// A packet about which no error is sent.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What `ip4-icmp-error` and `ip6-icmp-error` count.
    pub enum Counter {
        /// Time exceeded.
        TtlSent => ("hop limit exceeded response sent", Info),
        /// Destination unreachable, IPv4's "fragmentation needed" included.
        UnreachableSent => ("destination unreachable response sent", Info),
        /// Packet too big.
        TooBigSent => (("", "packet too big response sent"), Info),
        /// The packet was made by this box.
        Own => ("no error about our own packet", Error),
        /// The packet is an ICMP error itself, or an ICMP message too short to tell.
        AboutError => ("no error about an icmp error", Error),
        /// The packet is a fragment other than the first.
        AboutFragment => ("no error about a later fragment", Error),
        /// The packet came to a group of stations.
        AboutBroadcast => ("no error about a broadcast", Error),
        /// The receiving interface has no address to speak from.
        NoSource => ("no address to send an error from", Error),
        /// Too many errors in this second.
        RateLimited => ("icmp error rate limit exceeded", Error),
        /// No buffer for the message.
        NoBuffer => ("no buffer for an icmp error", Error),
    }
}

/// Makes ICMP errors by the rules of RFC 1812 §4.3.2 and RFC 4443 §2.4.
///
/// The message goes into a buffer of its own, whatever shape the packet had; the packet is freed.
///
/// # Reads
/// The packet; lanes `icmp`, `mtu`, and `adjacency` for an MTU that lane `mtu` does not give;
/// addresses of the receiving interface, or with flag `FROM_VIP` the packet's destination.
/// # Writes
/// A new packet in place of the old one; lanes `l3_offset`, `l4_offset`, `protocol`; flag
/// `ORIGINATED`.
/// # Next nodes
/// `ip4-lookup` or `ip6-lookup`; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets about which no error may be sent, or none can be.
#[derive(Debug)]
pub struct IpIcmpError<F> {
    limit: RateLimit,
    family: PhantomData<F>,
}

impl<F> Default for IpIcmpError<F> {
    fn default() -> Self {
        Self { limit: RateLimit::new(ICMP_ERRORS_PER_SECOND), family: PhantomData }
    }
}

/// Checks whether an error about the packet may be sent (RFC 1812 §4.3.2.7, RFC 4443 §2.4 e).
fn permitted<F: ErrorMessage>(data: &[u8], l3: usize, flags: u8) -> Result<(), Counter> {
    if flags & flag::ORIGINATED != 0 {
        return Err(Counter::Own);
    }
    if flags & flag::LINK_GROUP != 0 {
        return Err(Counter::AboutBroadcast);
    }
    // Behind headers that cannot be walked there may be anything, but no error that anybody reads.
    let Ok(upper) = F::Header::upper_layer(data, l3) else { return Ok(()) };
    if upper.fragment.is_some_and(|fragment| !fragment.is_first()) {
        return Err(Counter::AboutFragment);
    }
    if upper.protocol == F::ICMP && !F::is_query(data, upper.offset) {
        return Err(Counter::AboutError);
    }
    // Group destinations and sources that are no host's do not get past the input node.
    Ok(())
}

impl<F: ErrorMessage> IpIcmpError<F> {
    /// Both addresses of the error about the packet at `l3`.
    fn addresses(
        cx: &NodeCx<'_, Self>,
        frame: &Frame,
        at: usize,
        header: &F::Header,
    ) -> Result<(F::Address, F::Address), Counter> {
        let destination = header.source();
        if frame.lanes.flags[at] & flag::FROM_VIP != 0 {
            return Ok((header.destination(), destination));
        }
        let interface = cx.snapshot.interface(frame.lanes.rx_interface[at]);
        let source = interface.and_then(|interface| F::source(interface, destination));
        Ok((source.ok_or(Counter::NoSource)?, destination))
    }

    fn send(
        &mut self,
        cx: &mut NodeCx<'_, Self>,
        frame: &mut Frame,
        at: usize,
    ) -> Result<Counter, Counter> {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let data = frame.data(at);
        let header = F::Header::at(data, l3).ok_or(Counter::AboutError)?;
        permitted::<F>(data, l3, frame.lanes.flags[at])?;
        let (source, destination) = Self::addresses(cx, frame, at, header)?;
        if !self.limit.allow(cx.now.tick_s) {
            return Err(Counter::RateLimited);
        }
        let error = IcmpError::from_lane(frame.lanes.icmp[at]);
        let mtu = match (error, frame.lanes.mtu[at]) {
            (IcmpError::TooBig, 0) => link(cx.snapshot, &frame.lanes, at).map_or(0, |(_, mtu)| mtu),
            (IcmpError::TooBig, mtu) => mtu,
            _ => 0,
        };
        let ip = data.get(l3..).unwrap_or_default();
        let quote_len = header.packet_len().min(ip.len()).min(F::QUOTE_MAX);
        let mut message = cx.io.alloc().ok_or(Counter::NoBuffer)?;
        if !message.extend(L3 + F::HEADERS_LEN + quote_len) {
            cx.worker.garbage.push(message);
            return Err(Counter::NoBuffer);
        }
        let id = if F::V6 { 0 } else { cx.worker.next_ip_id() };
        let parts = Parts { source, destination, error, mtu, id };
        F::write(message.data_mut(), &ip[..quote_len], &parts);
        if let Ok(upper) = F::Header::upper_layer(message.data(), L3) {
            mark(&mut frame.lanes, at, &upper);
        }
        if let Some(packet) = frame.packet_mut(at) {
            cx.worker.garbage.push(std::mem::replace(packet, message));
        }
        frame.lanes.l3_offset[at] = L3 as u16;
        frame.lanes.flags[at] = flag::ORIGINATED;
        Ok(match error {
            IcmpError::TtlExceeded => Counter::TtlSent,
            IcmpError::TooBig if F::V6 => Counter::TooBigSent,
            _ => Counter::UnreachableSent,
        })
    }
}

impl<F: ErrorMessage> Node for IpIcmpError<F> {
    const NAME: &'static str = if F::V6 { "ip6-icmp-error" } else { "ip4-icmp-error" };
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            match self.send(cx, frame, at) {
                Ok(sent) => {
                    cx.count(sent, 1);
                    cx.set_next(at, Next::Lookup);
                }
                Err(reason) => cx.drop_packet(frame, at, Next::Drop, reason),
            }
        }
    }
}
