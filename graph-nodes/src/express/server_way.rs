//! [`ServerWay`]: the way of an ordinary packet to an AS, worked out once.

use std::net::IpAddr;

use balancer::AsId;
use dataplane::adjacency::L2Header;
use dataplane::forwarding::{Method, ServerPath};
use dataplane::interface::{InterfaceId, MacAddress};
use dataplane::packet::Packet;
use dataplane::snapshot::Snapshot;
use dataplane::wire::Header;
use dataplane::wire::ip::IpHeader;
use dataplane::worker::WorkerState;

use super::lane::LaneFamily;
use super::ordinary::L3;
use super::outer_template::OuterTemplate;
use super::readdress::{NewEnd, Side};
use super::redirect::Target;

/// Any number will do, where no packet goes.
const NOBODY: AsId = AsId::new(0).expect("there is a first one");

/// What is done at once to a packet that is to the VIP's one service, if it has only one.
// With a tag of its own, not hidden in what it holds, which takes longer to read.
#[derive(Clone, Debug)]
#[repr(u8)]
enum Quick<F: LaneFamily> {
    /// It gets another destination.
    Redirect(F::Redirect),
    /// The same, and a DSCP.
    Mark(F::Redirect),
    /// It gets an outer header, as all packets do that go this way, and always the same but for its
    /// first words.
    Wrap(OuterTemplate),
    /// It gets another outer header.
    Tunnel(OuterTemplate),
    /// There is no short cut.
    Nothing,
}

/// How most packets are changed that go one way.
#[derive(Clone, Copy, Debug)]
pub(super) enum ShortCut {
    /// Another destination: [`ServerWay::redirect`].
    Redirect,
    /// Another destination and DSCP: [`ServerWay::mark`].
    Mark,
    /// An outer header: [`ServerWay::wrap_plain`].
    Wrap,
    /// None: [`ServerWay::change_apart`].
    Nothing,
}

/// What no flow's epoch is.
const NO_EPOCH: u16 = 1 << 8;

/// How packets get to an AS. What most packets need comes first, to be in the same lines of the cache.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct ServerWay<F: LaneFamily> {
    /// The largest packet that may take this way, in bytes; 0 when none may.
    largest: u16,
    /// Where they leave.
    pub(super) interface: InterfaceId,
    /// Whom they go to, if they may.
    pub(super) server: AsId,
    quick: Quick<F>,
    /// The epoch of its flows; [`NO_EPOCH`] if there is no such AS.
    epoch: u16,
    /// The AS's port behind NAT, where it is the same for all packets; host byte order.
    port: u16,
    /// No flow of another VIP can clash with this one's at the AS.
    alone: bool,
    link: L2Header,
    /// The AS's address where there is NAT.
    nat: Option<NewEnd<F::Address>>,
    /// The same for L3DSR, and the DSCP.
    l3dsr: Option<(NewEnd<F::Address>, u8)>,
}

impl<F: LaneFamily> ServerWay<F> {
    /// A way that no packet can take.
    pub(super) fn closed() -> Self {
        Self::closed_in(NO_EPOCH)
    }

    fn closed_in(epoch: u16) -> Self {
        let nobody = MacAddress([0; 6]);
        Self {
            largest: 0,
            interface: InterfaceId::LOCAL0,
            server: NOBODY,
            quick: Quick::Nothing,
            epoch,
            port: 0,
            alone: false,
            link: L2Header::new(nobody, nobody, &[], 0),
            nat: None,
            l3dsr: None,
        }
    }

    /// The way to an AS.
    #[cold]
    pub(super) fn of(snapshot: &Snapshot, server: AsId) -> Self {
        let epoch = snapshot.lb.epoch_of(server).map_or(NO_EPOCH, u16::from);
        Self::open(snapshot, server, epoch).unwrap_or_else(|| Self::closed_in(epoch))
    }

    /// The way, if packets can take it at once.
    fn open(snapshot: &Snapshot, server: AsId, epoch: u16) -> Option<Self> {
        let path = snapshot.server_path(server)?;
        let adjacency = snapshot.adjacency(path.adjacency?)?;
        let link = adjacency.rewrite.filter(|_| adjacency.tunnel.is_none())?;
        let server_end = || F::address(path.address).map(NewEnd::new);
        let (mut nat, mut l3dsr, mut tunnel) = (None, None, None);
        match path.method {
            Method::Nat => nat = Some(server_end()?),
            Method::L3dsr { dscp } => l3dsr = Some((server_end()?, dscp)),
            Method::DirectRouting => {}
            Method::Gre | Method::Ipip | Method::Gue => {
                tunnel = Some(OuterTemplate::new::<F>(&snapshot.tunnel_policy, path, &link)?);
            }
        }
        let quick = match tunnel {
            Some(template) if template.is_plain() => Quick::Wrap(template),
            Some(template) => Quick::Tunnel(template),
            None => link
                .untagged()
                .and_then(|link| quick(snapshot, server, path, link))
                .unwrap_or(Quick::Nothing),
        };
        let largest = adjacency.mtu.saturating_sub(path.method.overhead(path.address.is_ipv6()));
        let interface = adjacency.interface;
        let alone = nat.is_none() || is_alone(snapshot, server).unwrap_or(false);
        let port = nat_port(snapshot, server).unwrap_or_default();
        Some(Self { largest, interface, server, quick, epoch, port, alone, link, nat, l3dsr })
    }

    /// Whether a new flow through its VIP can clash with no other flow at the AS: the AS sees all of
    /// them, or they are all of this VIP and differ in what the AS sees.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether flows of this epoch are alive.
    #[inline(always)]
    pub(super) fn is_of(&self, epoch: u8) -> bool {
        self.epoch == u16::from(epoch)
    }

    /// The epoch of its flows; `None` if there is no such AS.
    #[inline(always)]
    pub(super) fn epoch(&self) -> Option<u8> {
        u8::try_from(self.epoch).ok()
    }

    /// Whether any packet may take it.
    pub(super) fn is_open(&self) -> bool {
        self.largest > 0
    }

    /// Whether a packet of so many bytes may take it.
    #[inline(always)]
    pub(super) fn takes(&self, len: u16) -> bool {
        len <= self.largest
    }

    /// Changes an ordinary packet of a flow, which it [takes](Self::takes), into what leaves. `port` is the
    /// AS's, host byte order; `len` the IP packet's, in bytes. False when there is no room in front of it;
    /// it is as it was then.
    #[inline(always)]
    pub(super) fn change(
        &self,
        packet: &mut Packet,
        snapshot: &Snapshot,
        worker: &WorkerState,
        (port, len): (u16, u16),
    ) -> bool {
        if let Quick::Wrap(template) | Quick::Tunnel(template) = &self.quick {
            return wrap::<F>(template, packet, snapshot, worker, len);
        }
        let Some(l3) = set_link(packet, &self.link) else { return false };
        if let Some(server) = &self.nat {
            F::readdress(packet.data_mut(), l3, Side::Destination, server, Some(port));
        } else if let Some((server, dscp)) = &self.l3dsr {
            let data = packet.data_mut();
            F::readdress(data, l3, Side::Destination, server, None);
            if let Some(header) = F::Header::at_mut(data, l3) {
                header.set_dscp(*dscp);
            }
        }
        true
    }

    /// The same for a packet that is to the VIP's one service, if it has only one; of UDP or else TCP.
    #[inline]
    pub(super) fn change_alike(
        &self,
        packet: &mut Packet,
        snapshot: &Snapshot,
        worker: &WorkerState,
        (len, udp): (u16, bool),
    ) -> bool {
        let changed = match &self.quick {
            Quick::Redirect(_) => self.redirect(packet, worker, (len, udp)),
            Quick::Mark(_) => self.mark(packet, worker, (len, udp)),
            Quick::Wrap(_) => self.wrap_plain(packet, worker, (len, udp)),
            Quick::Tunnel(_) | Quick::Nothing => false,
        };
        changed || self.change_apart(packet, snapshot, worker, len)
    }

    /// What most packets of the way need.
    #[inline]
    pub(super) fn short_cut(&self) -> ShortCut {
        match &self.quick {
            Quick::Redirect(_) => ShortCut::Redirect,
            Quick::Mark(_) => ShortCut::Mark,
            Quick::Wrap(_) => ShortCut::Wrap,
            Quick::Tunnel(_) | Quick::Nothing => ShortCut::Nothing,
        }
    }

    /// [`ShortCut::Redirect`], with the arguments that all short cuts have: the packet, the worker, bytes
    /// of the IP packet, and whether it is of UDP or else TCP. False, and the packet is as it was, if that
    /// is not how packets go this way.
    #[inline(always)]
    pub(super) fn redirect(
        &self,
        packet: &mut Packet,
        _: &WorkerState,
        (_, udp): (u16, bool),
    ) -> bool {
        let Quick::Redirect(to) = &self.quick else { return false };
        F::redirect(packet.data_mut(), to, udp)
    }

    /// [`ShortCut::Mark`].
    #[inline(always)]
    pub(super) fn mark(&self, packet: &mut Packet, _: &WorkerState, (_, udp): (u16, bool)) -> bool {
        let Quick::Mark(to) = &self.quick else { return false };
        F::redirect_marked(packet.data_mut(), to, udp)
    }

    /// [`ShortCut::Wrap`].
    #[inline(always)]
    pub(super) fn wrap_plain(
        &self,
        packet: &mut Packet,
        worker: &WorkerState,
        (len, _): (u16, bool),
    ) -> bool {
        let Quick::Wrap(template) = &self.quick else { return false };
        let next_id = || worker.next_outer_id() as u16;
        template.wrap_plain::<F>(packet, len, next_id)
    }

    /// Apart, as a loop needs its registers for what is done to most packets.
    #[inline(never)]
    pub(super) fn change_apart(
        &self,
        packet: &mut Packet,
        snapshot: &Snapshot,
        worker: &WorkerState,
        len: u16,
    ) -> bool {
        self.change(packet, snapshot, worker, (self.port, len))
    }
}

/// The port of an AS behind NAT, if it is the same for all packets to the VIP; host byte order.
fn nat_port(snapshot: &Snapshot, server: AsId) -> Option<u16> {
    let vip = snapshot.lb.vip(snapshot.lb.server(server)?.vip)?;
    let port = vip.key.ports.single().filter(|_| vip.node_port.is_none())?;
    Some(vip.target_port(port))
}

/// What packets to the VIP become at once on their way to an AS, if they all have the same destination.
fn quick<F: LaneFamily>(
    snapshot: &Snapshot,
    server: AsId,
    path: &ServerPath,
    link: &[u8; L3],
) -> Option<Quick<F>> {
    let vip = snapshot.lb.vip(snapshot.lb.server(server)?.vip)?;
    let from = F::address(vip.key.prefix.network).filter(|_| vip.key.prefix.is_host())?;
    let address = (from, F::address(path.address)?);
    match path.method {
        Method::Nat => {
            let port = Some((vip.key.ports.single()?, nat_port(snapshot, server)?));
            let to = Target { address, port, dscp: None };
            Some(Quick::Redirect(F::redirection(*link, &to)))
        }
        Method::L3dsr { dscp } => {
            let to = Target { address, port: None, dscp: Some(dscp) };
            Some(Quick::Mark(F::redirection(*link, &to)))
        }
        Method::DirectRouting | Method::Gre | Method::Ipip | Method::Gue => None,
    }
}

/// Whether all flows that lead to the service of an AS behind NAT are of one VIP of one service.
fn is_alone(snapshot: &Snapshot, server: AsId) -> Option<bool> {
    let lb = &snapshot.lb;
    let server = lb.server(server)?;
    let vip = lb.vip(server.vip)?;
    let (ports, protocol) = (vip.key.ports, vip.key.ports.protocol()?);
    let port = vip.target_port(ports.single()?);
    let endpoint = match server.address {
        IpAddr::V4(address) => lb.reverse.get(address, port, protocol.number()),
        IpAddr::V6(address) => lb.reverse.get(address, port, protocol.number()),
    };
    Some(vip.key_kind().is_of_one_service() && endpoint?.only_candidate().is_some())
}

/// Puts the outer header around a packet of so many bytes.
#[inline(never)]
fn wrap<F: LaneFamily>(
    template: &OuterTemplate,
    packet: &mut Packet,
    snapshot: &Snapshot,
    worker: &WorkerState,
    len: u16,
) -> bool {
    let hash = if template.is_plain() {
        0
    } else {
        let Some(flow) = F::flow(packet.data()) else { return false };
        snapshot.lb.hasher.hash(&flow, false)
    };
    let next_id = || worker.next_outer_id() as u16;
    template.wrap::<F>(packet, &snapshot.tunnel_policy, (len, hash), next_id)
}

/// Puts an Ethernet header in the place of the plain one, and says where the IP header is then.
/// `None` when there is no room in front of the packet.
#[inline(always)]
pub(super) fn set_link(packet: &mut Packet, link: &L2Header) -> Option<usize> {
    if link.len() == L3 {
        *packet.data_mut().first_chunk_mut::<L3>()? = *link.as_bytes().first_chunk()?;
        return Some(L3);
    }
    set_tagged_link(packet, link)
}

/// The same for a header with VLAN tags.
#[inline(never)]
fn set_tagged_link(packet: &mut Packet, link: &L2Header) -> Option<usize> {
    let len = link.len();
    if !packet.adjust_front(len as i32 - L3 as i32) {
        return None;
    }
    packet.data_mut().get_mut(..len)?.copy_from_slice(link.as_bytes());
    Some(len)
}
