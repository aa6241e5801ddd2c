//! [`Lane`]: what the stages of the express way have in common for packets of one family.

use balancer::{Address, FlowTuple, TcpFlags, Updates};
use dataplane::family::{Ip4, Ip6};
use dataplane::node::NodeCx;

use super::answers::AnswerPattern;
use super::client_ways::ClientWays;
use super::destinations::Destinations;
use super::flow_job::FlowJob;
use super::likeness::Likeness;
use super::ordinary::Ordinary;
use super::outer_template::Wrapped;
use super::pattern::Pattern;
use super::readdress::Readdress;
use super::redirect::Redirected;
use super::server_ways::ServerWays;
use super::services::Services;
use super::{Counter, LbExpress, STAGE};
use crate::recent_routes::RecentRoutes;

pub(super) type Cx<'a> = NodeCx<'a, LbExpress>;

/// An ordinary packet that has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived<A> {
    pub(super) packet: Ordinary<A>,
    /// Replies arrive where it did.
    pub(super) nat_in: bool,
    /// The slot in the frame.
    pub(super) at: u8,
}

impl<A: Address> Arrived<A> {
    fn none() -> Self {
        let (src, dst) = (A::from_bits(0), A::from_bits(0));
        let tuple = FlowTuple { src, dst, src_port: 0, dst_port: 0, protocol: 0 };
        let packet = Ordinary { tuple, flags: TcpFlags::NONE, len: 0, unsummed: false };
        Self { packet, nat_in: false, at: 0 }
    }
}

/// A family whose packets can take the express way.
pub(super) trait LaneFamily: Likeness + Readdress + Redirected + Wrapped {}

impl LaneFamily for Ip4 {}
impl LaneFamily for Ip6 {}

/// Packets of one family on their way, and what is remembered for them.
#[derive(Debug)]
pub(super) struct Lane<F: LaneFamily> {
    /// What a packet that fitted no pattern may have in common with the next ones.
    pub(super) pattern: Option<Pattern<F>>,
    /// The same of replies.
    pub(super) answers: Option<AnswerPattern<F>>,
    /// The snapshot that the patterns hold in.
    generation: u64,
    pub(super) destinations: Destinations<F>,
    /// What the packets of a group are, before their flows are located.
    pub(super) packets: [Arrived<F::Address>; STAGE],
    pub(super) services: Services<F>,
    /// To clients.
    pub(super) routes: RecentRoutes,
    pub(super) clients: ClientWays<F>,
    pub(super) servers: ServerWays<F>,
    pub(super) jobs: [FlowJob; STAGE],
    /// How many there are.
    pub(super) waiting: usize,
    pub(super) updates: Updates,
    /// Some client speaks to an AS past its VIP.
    pub(super) any_direct: bool,
    pub(super) forwarded: u64,
    pub(super) translated: u64,
}

impl<F: LaneFamily> Default for Lane<F> {
    fn default() -> Self {
        Self {
            pattern: None,
            answers: None,
            generation: 0,
            destinations: Destinations::default(),
            packets: [Arrived::none(); STAGE],
            services: Services::default(),
            routes: RecentRoutes::default(),
            clients: ClientWays::default(),
            servers: ServerWays::default(),
            jobs: [FlowJob::none(); STAGE],
            waiting: 0,
            updates: Updates::new(),
            any_direct: false,
            forwarded: 0,
            translated: 0,
        }
    }
}

impl<F: LaneFamily> Lane<F> {
    /// Before the first packet of a frame.
    pub(super) fn begin(&mut self, cx: &Cx<'_>) {
        self.destinations.begin(cx.snapshot);
        self.servers.begin(cx.snapshot);
        self.services.begin(cx.snapshot);
        self.clients.begin(cx.snapshot);
        let snapshot = cx.snapshot;
        if self.generation != snapshot.generation {
            self.generation = snapshot.generation;
            self.answers = None;
        }
        self.updates.renew(&snapshot.lb.timeouts, snapshot.generation, cx.now.tick_s);
        self.any_direct = any_direct(cx);
    }

    /// After the last packet of a frame; returns how many left from here.
    pub(super) fn end(&mut self, cx: &Cx<'_>) -> u64 {
        let [forwarded, translated] =
            [&mut self.forwarded, &mut self.translated].map(std::mem::take);
        if forwarded > 0 {
            cx.count(Counter::Forwarded, forwarded);
        }
        if translated > 0 {
            let counter = if F::V6 { Counter::Translated6 } else { Counter::Translated4 };
            cx.count(counter, translated);
        }
        forwarded
    }
}

/// Whether some client speaks to an AS past its VIP.
fn any_direct(cx: &Cx<'_>) -> bool {
    let mut all = cx.snapshot.sticky_tables.iter();
    cx.worker.sticky.direct_flows() > 0 || all.any(|table| table.live_flows().direct() > 0)
}
