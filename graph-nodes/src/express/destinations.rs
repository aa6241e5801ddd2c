//! [`Destinations`]: which VIP a packet's destination belongs to, remembered.

use std::net::IpAddr;

use balancer::{Address, Course, FlowTuple, KeyKind, Vip, VipGroupId, VipId};
use dataplane::family::Family;
use dataplane::fib::FibEntry;
use dataplane::forwarding::MssClamp;
use dataplane::snapshot::Snapshot;

/// What is to be known of a VIP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination {
    pub(super) vip: VipId,
    pub(super) kind: KeyKind,
    /// Its replies pass us.
    pub(super) nat: bool,
    /// Its SYNs are changed.
    pub(super) mss: bool,
    /// The ASs' port, where it is the same for all of the VIP's.
    pub(super) target: Option<u16>,
    /// What its packets do to their flows.
    pub(super) course: Course,
}

impl Destination {
    /// `None` for a VIP whose timeouts are one too many for the express way.
    fn of(snapshot: &Snapshot, vip: &Vip) -> Option<Self> {
        let policy = snapshot.vip_policies.get(vip.id.index()).copied().unwrap_or_default();
        let single = vip.key.ports.single().filter(|_| vip.node_port.is_none());
        Some(Self {
            vip: vip.id,
            kind: vip.key_kind(),
            nat: vip.nat,
            mss: policy.mss != MssClamp::Keep,
            target: single.map(|port| vip.target_port(port)),
            course: Course::new(vip.client_direction(), vip.profile)?,
        })
    }
}

/// What a destination address, protocol and port lead to; `None`: not on the express way.
type Found = Option<Destination>;

/// A remembered destination.
#[derive(Clone, Copy, Debug)]
struct Cell<A> {
    /// Of the snapshot that it was found in; 0 in an empty cell.
    generation: u64,
    address: A,
    /// Protocol and port; 0 where all have the same VIP.
    service: u32,
    /// The bits of protocol and port that count.
    mask: u32,
    found: Found,
}

impl<A: Address> Cell<A> {
    fn empty() -> Self {
        Self { generation: 0, address: A::from_bits(0), service: 0, mask: 0, found: None }
    }

    /// Whether it is the cell of an address and service, in its own snapshot.
    #[inline(always)]
    fn holds(&self, address: A, service: u32) -> bool {
        self.address == address && self.service == service & self.mask
    }

    fn is(&self, generation: u64, address: A, service: u32) -> bool {
        self.generation == generation && self.holds(address, service)
    }
}

/// How many addresses, and how many services, are remembered.
const CELLS: usize = 1024;

/// Direct-mapped, and made of what the FIB and the VIPs say: another snapshot empties it.
#[derive(Debug)]
pub(super) struct Destinations<F: Family> {
    /// The last one that was found: most packets of a burst are for one VIP.
    last: Cell<F::Address>,
    /// By address: a VIP of all ports, or that the ports decide.
    addresses: Box<[Cell<F::Address>]>,
    /// By address, protocol and port.
    services: Box<[Cell<F::Address>]>,
}

impl<F: Family> Default for Destinations<F> {
    fn default() -> Self {
        let empty = Cell::empty();
        Self {
            last: empty,
            addresses: vec![empty; CELLS].into(),
            services: vec![empty; CELLS].into(),
        }
    }
}

/// A cell for an address and service. Configuration decides what is looked up most, and a clash
/// costs time only, so it is no strong hash.
#[inline]
fn cell_of<A: Address>(address: A, service: u32) -> usize {
    let bits = address.bits();
    let folded = bits as u64 ^ (bits >> 64) as u64 ^ u64::from(service) << 32;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % CELLS
}

impl<F: Family> Destinations<F> {
    /// Before the first packet of a frame: what is remembered may be out of date.
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        if self.last.generation != snapshot.generation {
            self.last.found = None;
        }
    }

    /// Whether a packet is for the VIP that was found last.
    #[inline(always)]
    pub(super) fn is_last(&self, tuple: &FlowTuple<F::Address>) -> bool {
        let service = u32::from(tuple.protocol) << 16 | u32::from(tuple.dst_port);
        self.last.holds(tuple.dst, service)
    }

    /// Whether the destination that was found last is the same for all ports.
    pub(super) fn last_has_any_port(&self) -> bool {
        self.last.mask == 0
    }

    /// The VIP of a packet, if such packets may take the express way.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        snapshot: &Snapshot,
        tuple: &FlowTuple<F::Address>,
    ) -> Option<&Destination> {
        let service = u32::from(tuple.protocol) << 16 | u32::from(tuple.dst_port);
        if self.last.found.is_none() || !self.last.holds(tuple.dst, service) {
            self.last = self.find_among_all(snapshot, tuple, service)?;
        }
        self.last.found.as_ref()
    }

    #[inline(never)]
    fn find_among_all(
        &mut self,
        snapshot: &Snapshot,
        tuple: &FlowTuple<F::Address>,
        service: u32,
    ) -> Option<Cell<F::Address>> {
        let (address, generation) = (tuple.dst, snapshot.generation);
        let cell = &mut self.addresses[cell_of(address, 0)];
        if !cell.is(generation, address, 0) {
            let found = any_port::<F>(snapshot, address);
            *cell = Cell { generation, address, service: 0, mask: 0, found };
        }
        if cell.found.is_some() {
            return Some(*cell);
        }
        let cell = &mut self.services[cell_of(address, service)];
        if !cell.is(generation, address, service) {
            let found = one_port::<F>(snapshot, tuple);
            *cell = Cell { generation, address, service, mask: u32::MAX, found };
        }
        cell.found.map(|_| *cell)
    }
}

/// The VIPs at an address to which packets may go.
fn group<F: Family>(snapshot: &Snapshot, address: F::Address) -> Option<VipGroupId> {
    // What is no host's address, a VIP of every address may take all the same.
    let host = match address.into() {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local())
        }
    };
    match F::lookup(snapshot, address) {
        FibEntry::Vip { group, .. } if host => Some(VipGroupId::new(group)),
        _ => None,
    }
}

#[cold]
fn any_port<F: Family>(snapshot: &Snapshot, address: F::Address) -> Found {
    let vip = snapshot.lb.groups.find_any(group::<F>(snapshot, address)?)?;
    Destination::of(snapshot, snapshot.lb.vip(vip)?)
}

#[cold]
fn one_port<F: Family>(snapshot: &Snapshot, tuple: &FlowTuple<F::Address>) -> Found {
    let group = group::<F>(snapshot, tuple.dst)?;
    let vip = snapshot.lb.find_vip(group, tuple.protocol, tuple.dst_port)?;
    Destination::of(snapshot, snapshot.lb.vip(vip)?)
}
