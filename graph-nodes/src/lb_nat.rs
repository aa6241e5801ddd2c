//! `lb4-nat4`, `lb6-nat6`: translates the destination into an AS's address and port.

use std::marker::PhantomData;

use balancer::{Vip, VipId};
use dataplane::family::Family;
use dataplane::frame::{Frame, flag};
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::snapshot::Snapshot;
use dataplane::trace::TraceDetail;
use dataplane::wire::Header;
use dataplane::wire::icmpv4::Icmpv4Header;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;
use dataplane::wire::quoted;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;
use dataplane::{family_next_nodes, family_node_counters};

use crate::icmp_about_flow::finish_icmp;
use crate::icmp_error::IcmpError;
use crate::to_server::{TooBig, deliver, follow_pseudo_header, too_big, way};

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Translated and ready to be sent.
        Output => "interface-output",
        /// Translated; the way to the AS is not known yet, or is a tunnel interface.
        Rewrite => ("ip4-rewrite", "ip6-rewrite"),
        /// Too big, and the client is told.
        IcmpError => ("ip4-icmp-error", "ip6-icmp-error"),
        /// Cannot be forwarded.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What the NAT nodes count.
    pub enum Counter {
        /// There is no route to the AS.
        NoRoute => ("no route to the server", Error),
        /// Too big for the AS's link and not to be fragmented; the client is told.
        DontFragment => (("ip4 MTU exceeded and DF set", "ip6 MTU exceeded"), Error),
        /// Too big for the AS's link; IPv6 packets are all answered.
        Mtu => (("mtu exceeded", ""), Error),
        /// The VIP is gone, or the packet is not what the VIP's node lets through.
        NoVip => ("VIP missing", Error),
    }
}

/// NAT towards the AS, and forwarding in the same pass when the AS's Ethernet address is known.
///
/// Of an ICMP error about a flow, the quoted packet is translated too: it is one that the AS sent,
/// and the AS knows it with its own address and port. Of a later fragment only the address changes;
/// the first one's checksum has followed for all.
///
/// # Reads
/// Lanes `vip`, `server`, `l4_offset`, `protocol`; flag `LATER_FRAGMENT`; IP header, TCP or UDP
/// header, quoted packet; `Snapshot::server_paths`.
/// # Writes
/// Destination address and port, TTL, checksums, quoted source, Ethernet header; lanes
/// `adjacency`, `tx_interface`, `icmp`.
/// # Next nodes
/// `interface-output`; `ip4-rewrite` or `ip6-rewrite` while the adjacency is incomplete;
/// `ip4-icmp-error` or `ip6-icmp-error`; `error-drop`.
/// # Counters
/// See [`Counter`].
/// # Drops
/// Packets without route to their AS, or too big for the link.
pub struct LbNat<F>(PhantomData<fn() -> F>);

impl<F> Default for LbNat<F> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Replaces destination address and port, which the VIP translates, and every checksum by what
/// changed (RFC 1624). Nothing else of the packet is touched.
fn translate<F: Family>(
    data: &mut [u8],
    (l3, l4): (usize, usize),
    (upper, later): (u8, bool),
    vip: &Vip,
    server: F::Address,
) -> Option<()> {
    let header = F::Header::at_mut(data, l3)?;
    let end = l3 + header.packet_len();
    let delta = header.set_destination(server);
    if later {
        return Some(());
    }
    match upper {
        protocol::TCP => {
            let tcp = TcpHeader::at_mut(data, l4)?;
            tcp.update_checksum(delta);
            tcp.set_destination_port(vip.target_port(tcp.destination_port.get()));
        }
        protocol::UDP => {
            let udp = UdpHeader::at_mut(data, l4)?;
            udp.update_checksum(delta);
            udp.set_destination_port(vip.target_port(udp.destination_port.get()));
        }
        icmp if icmp == F::ICMP => {
            let end = end.min(data.len());
            let quote = data.get_mut(l4 + Icmpv4Header::LEN..end)?;
            let quoted = quoted::parse::<F::Header>(quote).ok()?;
            let port = vip.target_port(quoted.source_port);
            let quote_delta = quoted.set_source::<F::Header>(quote, server, port);
            finish_icmp::<F>(data, l4, delta, quote_delta);
        }
        _ => follow_pseudo_header(data, l4, upper, delta),
    }
    Some(())
}

impl<F: Family> LbNat<F> {
    fn forward(
        snapshot: &Snapshot,
        frame: &mut Frame,
        at: usize,
    ) -> Result<Next, (Counter, Option<IcmpError>)> {
        let vip = VipId::new(frame.lanes.vip[at]).and_then(|id| snapshot.lb.vip(id));
        let vip = vip.ok_or((Counter::NoVip, None))?;
        let way = way(snapshot, frame, at).ok_or((Counter::NoRoute, None))?;
        let server = F::address(way.path.address).ok_or((Counter::NoRoute, None))?;
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let l4 = usize::from(frame.lanes.l4_offset[at]);
        let header = F::Header::at(frame.data(at), l3).ok_or((Counter::NoVip, None))?;
        match too_big::<F>(header, way.adjacency.mtu) {
            None => {}
            Some(TooBig::Tell) => {
                frame.lanes.adjacency[at] = way.id.0;
                return Err((Counter::DontFragment, Some(IcmpError::TooBig)));
            }
            Some(TooBig::Drop) => return Err((Counter::Mtu, None)),
        }
        let later = frame.lanes.flags[at] & flag::LATER_FRAGMENT != 0;
        let upper = (frame.lanes.protocol[at], later);
        translate::<F>(frame.data_mut(at), (l3, l4), upper, vip, server)
            .ok_or((Counter::NoVip, None))?;
        Ok(if deliver::<F>(frame, at, &way, false) { Next::Output } else { Next::Rewrite })
    }
}

impl<F: Family> Node for LbNat<F> {
    const NAME: &'static str = if F::V6 { "lb6-nat6" } else { "lb4-nat4" };
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        for at in 0..frame.len() {
            match Self::forward(cx.snapshot, frame, at) {
                Ok(next) => cx.set_next(at, next),
                Err((reason, None)) => cx.drop_packet(frame, at, Next::Drop, reason),
                Err((reason, Some(error))) => {
                    cx.count(reason, 1);
                    frame.lanes.icmp[at] = error as u8;
                    cx.set_next(at, Next::IcmpError);
                }
            }
        }
    }

    fn trace(&self, _snapshot: &Snapshot, frame: &Frame, at: usize) -> TraceDetail {
        TraceDetail::Lb { vip: Some(frame.lanes.vip[at]), server: Some(frame.lanes.server[at]) }
    }
}
