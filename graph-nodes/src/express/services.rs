//! [`Services`]: which VIP an AS's packets answer for, remembered.

use balancer::{Address, AsId, Course, Direction, FlowTuple, FlowValue, KeyKind, VipId};
use dataplane::family::Family;
use dataplane::fib::FibEntry;
use dataplane::snapshot::Snapshot;
use dataplane::wire::ipv4::protocol;

use super::readdress::NewEnd;
use super::redirect::{Redirected, Target};

/// A service that answers for the one address and port of one VIP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service<A> {
    pub(super) vip: VipId,
    pub(super) server: AsId,
    /// What entries of its flows have for an [owner](FlowValue::owner) while they are alive.
    pub(super) owner: u32,
    pub(super) kind: KeyKind,
    /// What clients know it by; the port in host byte order.
    pub(super) client_view: NewEnd<A>,
    pub(super) port: u16,
    /// The VIP's SYNs are changed.
    pub(super) mss: bool,
    /// What its packets do to their flows.
    pub(super) course: Course,
}

/// What is known of a packet's source.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<A> {
    /// No AS's service.
    Stranger,
    /// A service that takes more than a look at its flow, or whose address may be forged.
    Involved,
    One(Service<A>),
}

// A power of two, so that a shift finds it.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Cell<A> {
    /// Whose it is but for the address; [`NOBODY`] in an empty cell.
    tag: u64,
    address: A,
    source: Source<A>,
}

/// What becomes of the packets of a service. By itself, as it is wanted later than the rest.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub(super) struct Answering<F: Redirected> {
    pub(super) restored: F::Restored,
    /// Whom they are from.
    pub(super) server: AsId,
}

/// Any number will do, where there is no service.
const ANYBODY: AsId = AsId::new(0).expect("there is a first one");

/// What no source's tag is.
const NOBODY: u64 = u64::MAX;

/// How many sources are remembered.
const CELLS: usize = 4096;

/// Direct-mapped, and made of what the reverse map says: another snapshot empties it.
#[derive(Debug)]
pub(super) struct Services<F: Redirected> {
    cells: Box<[Cell<F::Address>; CELLS]>,
    /// In the places of services.
    answering: Box<[Answering<F>; CELLS]>,
    /// The tag of protocol 0 and port 0 in the snapshot.
    first: u64,
    changes: u64,
}

impl<F: Redirected> Default for Services<F> {
    fn default() -> Self {
        let address = F::Address::from_bits(0);
        let empty = Cell { tag: NOBODY, address, source: Source::Stranger };
        let nothing = Target { address: (address, address), port: None, dscp: None };
        let restored = F::restoration(&nothing, false);
        let nobody = Answering { restored, server: ANYBODY };
        let (Ok(cells), Ok(answering)) =
            (vec![empty; CELLS].try_into(), vec![nobody; CELLS].try_into())
        else {
            unreachable!("there are as many cells as were made")
        };
        Self { cells, answering, first: 0, changes: 0 }
    }
}

/// Protocol and source port: 24 bits.
#[inline(always)]
fn number<A>(flow: &FlowTuple<A>) -> u64 {
    u64::from(flow.protocol) << 16 | u64::from(flow.src_port)
}

/// Where the source of a packet is remembered.
#[inline(always)]
fn position<A: Address>(tuple: &FlowTuple<A>) -> usize {
    let (number, bits) = (number(tuple), tuple.src.bits());
    let folded = bits as u64 ^ (bits >> 64) as u64 ^ number << 32;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize % CELLS
}

impl<A: Address> Cell<A> {
    #[inline(always)]
    fn is_of(&self, tag: u64, address: A) -> bool {
        self.tag == tag && self.address == address
    }
}

/// Finds what is remembered of sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceFinder<'a, A> {
    cells: &'a [Cell<A>; CELLS],
    first: u64,
}

impl<'a, A: Address> ServiceFinder<'a, A> {
    /// What the source of a packet is, and where that is remembered; `None` if it is not.
    #[inline(always)]
    pub(super) fn find(&self, tuple: &FlowTuple<A>) -> Option<(u16, &'a Source<A>)> {
        let at = position(tuple);
        let cell = &self.cells[at];
        let is_there = cell.is_of(self.first | number(tuple), tuple.src);
        if is_there { Some((at as u16, &cell.source)) } else { None }
    }
}

impl<F: Redirected> Services<F> {
    /// Before the first packet of a frame.
    #[inline]
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        self.first = snapshot.generation << 24;
    }

    /// What the source of a packet is.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        snapshot: &Snapshot,
        tuple: &FlowTuple<F::Address>,
    ) -> &Source<F::Address> {
        let (at, tag) = (position(tuple), self.first | number(tuple));
        if !self.cells[at].is_of(tag, tuple.src) {
            // By value, so that a loop need not keep the tuple in memory.
            self.work_out(snapshot, at, tuple.src, (tuple.protocol, tuple.src_port));
        }
        &self.cells[at].source
    }

    /// What a loop needs to find what is remembered.
    #[inline(always)]
    pub(super) fn finder(&self) -> ServiceFinder<'_, F::Address> {
        ServiceFinder { cells: &self.cells, first: self.first }
    }

    #[cold]
    #[inline(never)]
    fn work_out(
        &mut self,
        snapshot: &Snapshot,
        at: usize,
        address: F::Address,
        service: (u8, u16),
    ) {
        let (upper, port) = service;
        let tag = self.first | u64::from(upper) << 16 | u64::from(port);
        let source = source::<F>(snapshot, address, service);
        self.cells[at] = Cell { tag, address, source };
        if let Source::One(service) = source {
            let to = Target {
                address: (address, service.client_view.address),
                port: Some((port, service.port)),
                dscp: None,
            };
            let restored = F::restoration(&to, upper == protocol::UDP);
            self.answering[at] = Answering { restored, server: service.server };
        }
        self.changes += 1;
    }

    /// How often something else was remembered in a place. While it is the same number, what
    /// [`find`](Self::find) gave is where it was.
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// What becomes of the packets of the service at a position, whoever's it is.
    #[inline(always)]
    pub(super) fn answering(&self, position: u16) -> &Answering<F> {
        &self.answering[usize::from(position) % CELLS]
    }

    /// The service at a position, whoever's it is.
    #[inline]
    pub(super) fn in_place(&self, position: u16) -> Option<&Service<F::Address>> {
        match &self.cells[usize::from(position) % CELLS].source {
            Source::One(service) => Some(service),
            _ => None,
        }
    }
}

/// An AS's address is no neighbour of a VIP's or of ours, so that where its packets go does not
/// matter for whether it is forged; where it might, others look at each packet.
fn source<F: Family>(
    snapshot: &Snapshot,
    src: F::Address,
    (protocol, src_port): (u8, u16),
) -> Source<F::Address> {
    let lb = &snapshot.lb;
    let Some(endpoint) = lb.reverse.get(src, src_port, protocol) else {
        return Source::Stranger;
    };
    if !matches!(F::lookup(snapshot, src), FibEntry::AsDirect(_))
        || F::is_tunnel_source(&snapshot.tunnel_policy, src)
    {
        return Source::Involved;
    }
    let one = endpoint.only_candidate().and_then(|candidate| {
        let vip = lb.vip(candidate.vip)?;
        let (address, port) = vip.origin(src_port)?;
        let policy = snapshot.vip_policies.get(vip.id.index()).copied().unwrap_or_default();
        let server = candidate.as_id;
        let owner = FlowValue::owner_of(server, lb.epoch_of(server)?);
        Some(Service {
            vip: vip.id,
            server,
            owner,
            kind: vip.key_kind(),
            client_view: NewEnd::new(address),
            port,
            mss: policy.mss != dataplane::forwarding::MssClamp::Keep,
            course: Course::new(Direction::ToClient, vip.profile)?,
        })
    });
    one.map_or(Source::Involved, Source::One)
}
