//! [`Services`]: which VIP an AS's packets answer for, remembered.

use balancer::{Address, AsId, Course, Direction, FlowTuple, FlowValue, KeyKind, VipId, Visit};
use dataplane::family::Family;
use dataplane::fib::FibEntry;
use dataplane::snapshot::Snapshot;
use dataplane::wire::ipv4::protocol;

use super::answerer::{Answerer, CELLS, Name};
use super::readdress::NewEnd;
use super::redirect::{Redirected, Target};

/// A service that answers for the one address and port of one VIP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service<A> {
    pub(super) vip: VipId,
    pub(super) server: AsId,
    /// What its packets do to their flows, but for flags.
    pub(super) visit: Visit,
    pub(super) kind: KeyKind,
    /// What clients know it by; the port in host byte order.
    pub(super) client_view: NewEnd<A>,
    pub(super) port: u16,
    /// The VIP's SYNs are changed.
    pub(super) mss: bool,
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

/// Direct-mapped, and made of what the reverse map says: another snapshot empties it.
#[derive(Debug)]
pub(super) struct Services<F: Redirected> {
    answerers: Box<[Answerer; CELLS]>,
    /// In the places of answerers, as the next.
    sources: Box<[Source<F::Address>; CELLS]>,
    answering: Box<[Answering<F>; CELLS]>,
    /// The snapshot's.
    generation: u64,
    /// How names [start](Name::start) in it, of TCP and of UDP. Not known to the compiler, for which it is one
    /// number so.
    starts: [u64; 2],
    changes: u64,
}

fn all_the_same<T: Clone>(one: T) -> Box<[T; CELLS]> {
    let Ok(all) = vec![one; CELLS].try_into() else {
        unreachable!("there are as many as were made")
    };
    all
}

impl<F: Redirected> Default for Services<F> {
    fn default() -> Self {
        let address = F::Address::from_bits(0);
        let nothing = Target { address: (address, address), port: None, dscp: None };
        let restored = F::restoration(&nothing, false);
        Self {
            answerers: all_the_same(Answerer::NONE),
            sources: all_the_same(Source::Stranger),
            answering: all_the_same(Answering { restored, server: ANYBODY }),
            generation: 0,
            starts: [0; 2],
            changes: 0,
        }
    }
}

/// Finds what is remembered of sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceFinder<'a> {
    answerers: &'a [Answerer; CELLS],
    start: u64,
}

impl<'a> ServiceFinder<'a> {
    /// What is known of the source of a packet of the protocol that is meant, and where that is remembered;
    /// `None` if it is not.
    #[inline(always)]
    pub(super) fn find<A: Address>(&self, tuple: &FlowTuple<A>) -> Option<(u16, &'a Answerer)> {
        let name = Name::of_source(self.start, tuple);
        let at = name.position();
        let answerer = &self.answerers[at];
        if answerer.name.is::<A>(name) { Some((at as u16, answerer)) } else { None }
    }
}

impl<F: Redirected> Services<F> {
    /// Before the first packet of a frame.
    #[inline]
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        let later = |generation: u64| generation >> Name::GENERATION_BITS;
        if later(snapshot.generation) != later(self.generation) {
            self.forget();
        }
        self.generation = snapshot.generation;
        self.starts =
            [protocol::TCP, protocol::UDP].map(|upper| Name::start(self.generation, upper));
    }

    /// Forgets what would be taken for something of this snapshot.
    #[cold]
    #[inline(never)]
    fn forget(&mut self) {
        self.answerers.fill(Answerer::NONE);
    }

    /// What the source of a packet is.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        snapshot: &Snapshot,
        tuple: &FlowTuple<F::Address>,
    ) -> &Source<F::Address> {
        let name =
            Name::of_source(self.starts[usize::from(tuple.protocol == protocol::UDP)], tuple);
        let at = name.position();
        if !self.answerers[at].name.is::<F::Address>(name) {
            // By value, so that a loop need not keep the tuple in memory.
            self.work_out(snapshot, name, tuple.src, (tuple.protocol, tuple.src_port));
        }
        &self.sources[at]
    }

    /// The same for a packet that is likely to be a client's: of those that can be no AS's, nothing is remembered.
    #[inline(always)]
    pub(super) fn find_among_clients(
        &mut self,
        snapshot: &Snapshot,
        tuple: &FlowTuple<F::Address>,
    ) -> &Source<F::Address> {
        if snapshot.lb.reverse.may_have(tuple.src) {
            self.find(snapshot, tuple)
        } else {
            &Source::Stranger
        }
    }

    /// What a loop over packets of this protocol needs to find what is remembered.
    #[inline(always)]
    pub(super) fn finder(&self, upper: u8) -> ServiceFinder<'_> {
        let start = self.starts[usize::from(upper == protocol::UDP)];
        ServiceFinder { answerers: &self.answerers, start }
    }

    #[cold]
    #[inline(never)]
    fn work_out(
        &mut self,
        snapshot: &Snapshot,
        name: Name,
        address: F::Address,
        service: (u8, u16),
    ) {
        let ((upper, port), at) = (service, name.position());
        let source = source::<F>(snapshot, address, service);
        self.sources[at] = source;
        self.answerers[at] = Answerer::new(name, &source, upper);
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
        match &self.sources[usize::from(position) % CELLS] {
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
        let course = Course::new(Direction::ToClient, vip.profile)?;
        Some(Service {
            vip: vip.id,
            server,
            visit: Visit::new(owner, course),
            kind: vip.key_kind(),
            client_view: NewEnd::new(address),
            port,
            mss: policy.mss != dataplane::forwarding::MssClamp::Keep,
        })
    });
    one.map_or(Source::Involved, Source::One)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use dataplane::family::Ip4;
    use testkit::world::World;

    use super::*;

    /// Names have a part of the generation only.
    #[test]
    fn another_snapshot_empties_it() {
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 3));
        let tuple = FlowTuple { src, dst, src_port: 80, dst_port: 9, protocol: protocol::TCP };
        let mut services = Services::<Ip4>::default();
        for generation in [1, 2, 255, 256, 257, 513, 1 << 40 | 1] {
            let snapshot = World::new().snapshot(generation, Vec::new());
            services.begin(&snapshot);
            assert!(
                services.finder(protocol::TCP).find(&tuple).is_none(),
                "generation {generation}"
            );
            let changes = services.changes();
            for _ in 0..2 {
                assert!(matches!(services.find(&snapshot, &tuple), Source::Stranger));
                assert_eq!(services.changes(), changes + 1);
            }
            let (_, answerer) = services.finder(protocol::TCP).find(&tuple).expect("is remembered");
            assert!(!answerer.takes(KeyKind::Exact, protocol::TCP, balancer::TcpFlags::ACK));
        }
    }
}
