//! `ip4-input`, `ip6-input`: check the IP header and find what it carries.

use std::marker::PhantomData;

use balancer::{Address, VipGroupId};
use dataplane::family::Family;
use dataplane::fib::{FibDrop, FibEntry};
use dataplane::frame::{Frame, flag};
use dataplane::interface::InterfaceId;
use dataplane::node::{ByFamily, Node, NodeCx};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::wire::Header;
use dataplane::wire::checksum::{is_valid, pseudo_header_sum};
use dataplane::wire::extension::UpperLayer;
use dataplane::wire::ip::IpHeader;
use dataplane::wire::ipv4::protocol;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::udp::UdpHeader;
use dataplane::worker::WorkerState;
use dataplane::{family_next_nodes, family_node_counters};

use crate::header_rules::{Accepted, HeaderRules};
use crate::upper::{NOT_FOUND, mark};

/// One in so many TCP and UDP packets per interface is looked at for a partial checksum.
pub(crate) const SAMPLE_EVERY: u32 = 1024;

family_next_nodes! {
    /// Where packets go.
    pub enum Next {
        /// Most packets.
        Lookup => ("ip4-lookup", "ip6-lookup"),
        /// Packets of interfaces on which replies of NAT ASs arrive.
        In2out => ("lb-nat4-in2out", "lb-nat6-in2out"),
        /// Packets to a group that we are in.
        Local => ("", "ip6-local"),
        /// Packets that fail a check.
        Drop => "error-drop",
    }
}

family_node_counters! {
    /// What `ip4-input` and `ip6-input` count.
    pub enum Counter {
        /// Fewer bytes behind the Ethernet header than the fixed header has.
        TooShort => (("ip4 length < 20 bytes", "ip6 length < 40 bytes"), Error),
        /// The header (of IPv4 with its options) is spread over several buffers.
        Split => ("headers not in the first buffer", Error),
        /// The version field is another one.
        Version => (("ip4 version != 4", "ip6 version != 6"), Error),
        /// The header-length field is below 5.
        HeaderLen => (("ip4 header length < 20 bytes", ""), Error),
        /// Total length is shorter than the header.
        TotalLen => (("ip4 length < header length", ""), Error),
        /// The length is longer than what arrived.
        Truncated => (("ip4 length > l2 length", "ip6 length > l2 length"), Error),
        /// The header checksum is wrong.
        Checksum => (("bad ip4 checksum", ""), Error),
        /// TTL or hop limit is 0, which no router sends.
        TtlZero => (("ip4 ttl == 0", "ip6 ttl == 0"), Error),
        /// The sender wants to choose the way (RFC 7126 §4.3, §4.4).
        SourceRoute => (("ip4 source route option", ""), Error),
        /// The source is an address of ours, which we do not send to ourselves. A service behind a
        /// VIP could otherwise be made to talk to itself for ever.
        Spoofed => (("ip4 spoofed local-address packet drops", "ip6 spoofed local-address packet drops"), Error),
        /// The source is not a host's address.
        MartianSource => (("ip4 martian source address", "ip6 martian source address"), Error),
        /// The destination is not a routable address.
        MartianDestination => (("ip4 martian destination address", "ip6 martian destination address"), Error),
        /// A group of which we are no member, or the limited broadcast.
        Group => (("ip4 multicast or broadcast destination", "ip6 multicast destination"), Error),
        /// A unicast packet that was sent to all stations (RFC 1812 §5.3.4).
        LinkGroup => (("ip4 unicast in a link-layer broadcast", "ip6 unicast in a link-layer broadcast"), Error),
        /// A sampled TCP or UDP checksum was that of the pseudo-header alone: the sender leaves the
        /// rest to a network card that this packet never passed. It is forwarded as it is.
        PartialChecksum => ("partial checksum: turn off tx offload on the sender", Warning),
    }
}

/// Validates IP headers (RFC 1812 §5.2.2, RFC 8200 §3) and drops martians (RFC 1812 §5.3.7,
/// RFC 4291 §2.5).
///
/// # Reads
/// The IP header and IPv6 extension headers; the FIB's verdict on the source; of one in 1024 TCP
/// and UDP packets per interface, the first included, the L4 checksum; `Interface::nat4_in`,
/// `Interface::nat6_in`, `Interface::punt`.
/// # Writes
/// Lanes `l4_offset`, `protocol`; flags `FRAGMENT`, `LATER_FRAGMENT`; the interface's counter of
/// the family.
/// # Next nodes
/// `lb-nat4-in2out` on nat-in interfaces, else `ip4-lookup` or `ip6-lookup`; `ip6-local` for groups;
/// `error-drop`.
/// # Counters
/// See [`Counter`]; all but `partial checksum…` are drops.
/// # Drops
/// Whatever fails a check, each with its own reason. Extension headers that cannot be walked are no
/// matter of a router: they are dropped where their payload would be looked at.
#[derive(Debug)]
pub struct IpInput<F>(PhantomData<F>);

impl<F> Default for IpInput<F> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// True when the packet's TCP or UDP checksum is the bare sum of the pseudo-header. A right checksum
/// has that value too, once in 65 536 packets.
pub(crate) fn has_partial_checksum<H: IpHeader>(
    packet: &Packet,
    l3: usize,
    upper: &UpperLayer,
) -> bool {
    let data = packet.data();
    let Some(header) = H::at(data, l3) else { return false };
    let field = if upper.protocol == protocol::TCP {
        TcpHeader::at(data, upper.offset).map(|tcp| tcp.checksum.get())
    } else {
        let udp = UdpHeader::at(data, upper.offset);
        udp.map(|udp| udp.checksum.get()).filter(|sum| *sum != 0)
    };
    let len = (l3 + header.packet_len()).saturating_sub(upper.offset);
    let addresses = (header.source(), header.destination());
    let pseudo = pseudo_header_sum(addresses.0, addresses.1, upper.protocol, len as u16);
    let is_right = || packet.sum(upper.offset, len).is_some_and(|sum| is_valid(pseudo.plus(sum)));
    field == Some(pseudo.fold()) && !is_right()
}

/// True for a packet whose checksum can be told from a partial one by its headers alone: of TCP or
/// UDP, and rather than behind any extension header, behind none.
fn may_be_sampled<F: Family>(l3: usize, upper: &UpperLayer) -> bool {
    let direct = !F::V6 || upper.offset == l3 + F::Header::LEN;
    matches!(upper.protocol, protocol::TCP | protocol::UDP) && upper.fragment.is_none() && direct
}

/// True when it is the turn of a packet of this interface to be looked at.
#[inline]
fn is_sampled<F: Family>(worker: &mut WorkerState, rx: InterfaceId) -> bool {
    let Some(until) = worker.until_sample[usize::from(F::V6)].get_mut(rx.index()) else {
        return false;
    };
    let now = *until == 0;
    *until = if now { SAMPLE_EVERY - 1 } else { *until - 1 };
    now
}

/// What all packets of an interface have in common.
#[derive(Clone, Copy)]
struct Origin {
    rx: InterfaceId,
    /// It is the tap of the kernel.
    from_kernel: bool,
    /// Replies of NAT ASs arrive on it.
    nat_in: bool,
}

/// What the FIB has against the source of a packet. `from_kernel`: it came from the punt interface.
#[inline]
pub(crate) fn check_source<F: Family>(
    snapshot: &Snapshot,
    (source, destination): (F::Address, F::Address),
    from_kernel: bool,
) -> Option<Counter> {
    if F::may_be_ours(snapshot, source) {
        return check_own_source::<F>(snapshot, (source, destination), from_kernel);
    }
    debug_assert!(
        !F::is_tunnel_source(&snapshot.tunnel_policy, source),
        "{source:?} is not marked"
    );
    None
}

/// The same for a source that is among prefixes of ours.
fn check_own_source<F: Family>(
    snapshot: &Snapshot,
    (source, destination): (F::Address, F::Address),
    from_kernel: bool,
) -> Option<Counter> {
    // A host without an address yet asks whether one is free (RFC 4862 §5.4.2); the header was
    // checked for speaking to a group.
    if source.bits() == 0 {
        return None;
    }
    let groups = &snapshot.lb.groups;
    let place = match F::lookup(snapshot, source) {
        // A VIP of every address says nothing of a source: most are clients'.
        FibEntry::Vip { group, .. } if groups.is_everything(VipGroupId::new(group)) => None,
        entry => Some(entry),
    };
    match place {
        Some(FibEntry::Drop(FibDrop::Broadcast)) => Some(Counter::MartianSource),
        // What the kernel answers for a VIP comes from the VIP.
        _ if from_kernel => None,
        // A server that answers its client directly speaks as the VIP, and may do so through us.
        Some(FibEntry::Vip { group, .. }) if groups.returns_directly(VipGroupId::new(group)) => {
            let to = F::lookup(snapshot, destination);
            matches!(to, FibEntry::Local | FibEntry::Vip { .. }).then_some(Counter::Spoofed)
        }
        Some(FibEntry::Local | FibEntry::Vip { .. }) => Some(Counter::Spoofed),
        // An outer header of ours that came back: it would go round for ever.
        _ => F::is_tunnel_source(&snapshot.tunnel_policy, source).then_some(Counter::Spoofed),
    }
}

impl<F: HeaderRules> IpInput<F> {
    #[inline]
    fn step(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame, at: usize, origin: Origin) {
        let l3 = usize::from(frame.lanes.l3_offset[at]);
        let link_group = frame.lanes.flags[at] & flag::LINK_GROUP != 0;
        let Some(packet) = frame.packet(at) else { return };
        let judged = F::check(packet, l3, link_group).and_then(|(header, accepted)| {
            let addresses = (header.source(), header.destination());
            match check_source::<F>(cx.snapshot, addresses, origin.from_kernel) {
                Some(reason) => Err(reason),
                None => Ok(accepted),
            }
        });
        let accepted = match judged {
            Ok(accepted) => accepted,
            Err(reason) => return cx.drop_packet(frame, at, Next::Drop, reason),
        };
        match F::Header::upper_layer(packet.data(), l3) {
            Ok(upper) => {
                if may_be_sampled::<F>(l3, &upper)
                    && is_sampled::<F>(cx.worker, origin.rx)
                    && has_partial_checksum::<F::Header>(packet, l3, &upper)
                {
                    cx.count(Counter::PartialChecksum, 1);
                }
                mark(&mut frame.lanes, at, &upper);
            }
            Err(_) => {
                frame.lanes.l4_offset[at] = (l3 + F::Header::LEN) as u16;
                frame.lanes.protocol[at] = NOT_FOUND;
            }
        }
        cx.set_next(
            at,
            match accepted {
                Accepted::Group => Next::Local,
                Accepted::Unicast if origin.nat_in => Next::In2out,
                Accepted::Unicast => Next::Lookup,
            },
        );
    }
}

impl<F: HeaderRules> Node for IpInput<F> {
    const NAME: &'static str = if F::V6 { "ip6-input" } else { "ip4-input" };
    type Next = ByFamily<F, Next>;
    type Counter = ByFamily<F, Counter>;

    fn process(&mut self, cx: &mut NodeCx<'_, Self>, frame: &mut Frame) {
        let mut from = 0;
        while from < frame.len() {
            let slots = frame.same_rx(from);
            from = slots.end;
            let rx = frame.lanes.rx_interface[slots.start];
            if let Some(stats) = cx.worker.shared.interfaces.get(rx.index()) {
                let counter = if F::V6 { &stats.ip6 } else { &stats.ip4 };
                counter.add(slots.len() as u64);
            }
            let interface = cx.snapshot.interface(rx);
            let from_kernel = interface.is_some_and(|interface| interface.punt);
            let origin = Origin { rx, from_kernel, nat_in: interface.is_some_and(F::nat_in) };
            for at in slots {
                self.step(cx, frame, at, origin);
            }
        }
    }
}
