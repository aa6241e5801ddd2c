//! [`Differential`]: the graph and the reference side by side.
//!
//! Both get the same frames, time and changes; after every step everything that can be seen of them
//! must be equal: frames sent, counters, events, packets held, flows per AS. And no packet may be
//! lost: what came in was sent, dropped for a reason, held, punted or dealt with.

mod compiler;
mod new_flow_tables;
mod observer;
mod style;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;

use balancer::{AsId, StickyTable};
use dataplane::frame::FRAME_MAX;
use dataplane::snapshot::Snapshot;
use dataplane::sync::qsbr::Publisher;
use dataplane::worker::Worker;

use super::forward::HELD_MAX;
use super::outcome::{Outcome, VipCounts};
use super::player::Player;
use super::scenario::{Action, Scenario, Step, Universe};
use super::{Reference, bursts};

use compiler::reference_key;
use new_flow_tables::NewFlowTables;
use observer::Observer;
use workers::{Workers, sticky_owners};

pub use compiler::{Compiler, product_key};
pub use style::Style;
pub use workers::START_S;

/// The graph, the reference, and what connects them.
pub struct Differential<C> {
    compiler: C,
    reference: Reference,
    workers: Workers,
    style: Style,
    publisher: Publisher<Snapshot>,
    player: Player,
    last_frame: Option<(u16, Vec<u8>)>,
    observer: Observer,
    /// Frames that arrived and left so far.
    arrived: u64,
    left: u64,
    /// Packets on hold.
    held: u64,
    /// Only the order within flows counts.
    loose: bool,
}

impl<C: Compiler> Differential<C> {
    /// Both in the scenario's configuration.
    ///
    /// # Panics
    /// When the graph cannot be built.
    pub fn new(scenario: &Scenario) -> Self {
        Self::with_style(scenario, Style::default())
    }

    /// As [`Self::new`], with packets arriving like this.
    ///
    /// # Panics
    /// When the graph cannot be built.
    pub fn with_style(scenario: &Scenario, style: Style) -> Self {
        let config = &scenario.universe.config;
        let mut compiler = C::start(config);
        let info = graph_nodes::builder().info().expect("the graph is complete");
        let sticky = sticky_owners(style);
        let tables = sticky.iter().map(|owner| Arc::clone(owner.table())).collect();
        let snapshot = compiler.snapshot(1, tables);
        let mut publisher = Publisher::new(Box::new(snapshot), style.workers);
        let workers = Workers::start(style, config, sticky, &info, &mut publisher);
        let mut reference = Reference::with_workers(config.clone(), style.workers);
        reference.now_s = START_S;
        reference.scope = scenario.universe.scope;
        Self {
            compiler,
            reference,
            workers,
            style,
            publisher,
            player: Player::new(&scenario.universe),
            last_frame: None,
            observer: Observer::new(info, style.workers),
            arrived: 0,
            left: 0,
            held: 0,
            loose: false,
        }
    }

    /// Plays all steps, one packet per turn of the worker.
    ///
    /// # Errors
    /// The first difference.
    pub fn play(scenario: &Scenario) -> Result<(), String> {
        Self::play_in_style(scenario, Style::default())
    }

    /// As [`Self::play`], with packets arriving like this.
    ///
    /// # Errors
    /// The first difference.
    pub fn play_in_style(scenario: &Scenario, style: Style) -> Result<(), String> {
        let mut both = Self::with_style(scenario, style);
        for (at, step) in scenario.steps.iter().enumerate() {
            let action = both.player.act(step, &both.reference.config);
            both.act(&action)
                .map_err(|why| format!("step {at} {step:?} = {action:02x?}:\n{why}"))?;
        }
        both.audit()?;
        both.finish()
    }

    /// Plays steps of packets, all of them in one turn of the worker, in an order that only each
    /// flow keeps: packets that stay in the graph longer, such as errors, overtake nobody of their
    /// own kind but may be overtaken by others.
    ///
    /// # Errors
    /// What differs.
    pub fn play_burst(universe: &Universe, burst: &[Step], style: Style) -> Result<(), String> {
        let scenario = Scenario { universe: universe.clone(), steps: Vec::new() };
        let mut both = Self::with_style(&scenario, style);
        both.loose = true;
        let mut frames = Vec::new();
        for step in burst {
            let action = both.player.act(step, &both.reference.config);
            if let Action::Receive { interface, frame } = action {
                frames.push((interface, frame));
            }
        }
        bursts::choose(&mut frames, universe);
        both.receive(&frames)?;
        both.audit()?;
        both.finish()
    }

    /// Does one thing to both and compares.
    ///
    /// # Errors
    /// What differs.
    pub fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Receive { interface, frame } => {
                self.last_frame = Some((*interface, frame.clone()));
                self.receive(&[(*interface, frame.clone())])
            }
            Action::ReceiveEach(frames) => {
                for frame in frames {
                    self.last_frame = Some(frame.clone());
                    self.receive(std::slice::from_ref(frame))?;
                }
                Ok(())
            }
            Action::Repeat(times) => {
                let Some(frame) = self.last_frame.clone() else { return Ok(()) };
                self.receive(&vec![frame; *times])
            }
            Action::Wait(seconds) => {
                self.workers.wait(*seconds);
                self.reference.wait(*seconds);
                self.turn()
            }
            Action::Change(change) => {
                if self.compiler.change(change) {
                    self.reference.change(change);
                }
                self.publish();
                self.turn()
            }
            Action::Audit => self.audit(),
            Action::Resize(log2) => self.resize(1 << log2),
            Action::Nothing => Ok(()),
        }
    }

    /// Lets frames arrive in one burst.
    fn receive(&mut self, frames: &[(u16, Vec<u8>)]) -> Result<(), String> {
        let held = self.held;
        // A burst is one worker's.
        let at = self.arrived as usize % self.style.workers;
        let mut expected = Outcome { held, ..Outcome::default() };
        let snapshot = self.publisher.current();
        let before = (frames.len() > 1).then(|| self.reference.clone());
        for (interface, frame) in frames {
            expected.add(self.reference.receive_at(
                at,
                *interface,
                frame,
                &NewFlowTables(snapshot),
            ));
        }
        if let Some(before) = before
            && 2 * frames.len() as u64 + expected.made > FRAME_MAX as u64
        {
            // More than a frame of the graph holds while a neighbour is not known, or while packets are
            // in it and all their pieces.
            self.reference = before;
            let (some, rest) = frames.split_at(frames.len() / 2);
            return self.receive(some).and_then(|()| self.receive(rest));
        }
        for (interface, frame) in frames {
            self.workers.arrive(at, self.style, *interface, frame);
        }
        self.arrived += frames.len() as u64;
        // Also those that were held until this one came.
        let packets = frames.len() as u64 + held;
        self.compare(expected, packets, packets > 1)
    }

    fn turn(&mut self) -> Result<(), String> {
        let held = self.held;
        let expected = self.reference.turn(&NewFlowTables(self.publisher.current()));
        // Packets on hold are let go a frame at a time.
        (1..HELD_MAX / FRAME_MAX).for_each(|_| self.workers.work());
        self.compare(expected, held, true)
    }

    fn publish(&mut self) {
        self.publish_with(self.workers.tables());
    }

    fn publish_with(&mut self, tables: Vec<Arc<StickyTable>>) {
        let generation = self.publisher.current().generation + 1;
        self.publisher.publish(Box::new(self.compiler.snapshot(generation, tables)));
    }

    /// Gives the workers sticky tables of so many buckets. Flows follow as the workers take their
    /// turns, and nobody may notice.
    fn resize(&mut self, buckets: u64) -> Result<(), String> {
        let tables = self.workers.resize(buckets)?;
        self.publish_with(tables);
        self.turn()
    }

    /// Runs the worker and demands that it did what the reference did with `packets` packets. Where
    /// it had several at once, they may have taken different nodes and overtaken each other.
    fn compare(
        &mut self,
        mut expected: Outcome,
        packets: u64,
        several: bool,
    ) -> Result<(), String> {
        self.workers.work();
        let config = &self.reference.config;
        let mut seen = self.observer.observe(&mut self.workers, config, &self.compiler);
        let made = expected.made;
        if self.style.segmented {
            // What is outstanding are buffers; they must all be back in the end.
            seen.held = expected.held;
        }
        self.held = expected.held;
        for outcome in [&mut expected, &mut seen] {
            // Only the order on one link can be seen.
            outcome.sent.sort_by_key(|(interface, _)| *interface);
            outcome.vips.retain(|_, counts| *counts != VipCounts::default());
            outcome.servers.clear();
            outcome.made = 0;
        }
        let sent = expected.sent.clone();
        if self.loose || several && seen != expected {
            bursts::loosen(&mut expected);
            bursts::loosen(&mut seen);
        }
        if seen != expected {
            return Err(seen.difference(&expected));
        }
        let ended = (seen.sent.len() + seen.punted.len()) as u64 + seen.drops + seen.consumed;
        if ended + seen.held != packets + made {
            return Err(format!("{packets} packets and {made} more became {seen:02x?}"));
        }
        self.left += seen.sent.len() as u64;
        let totals = self.observer.totals;
        if (totals.rx, totals.tx) != (self.arrived, self.left) {
            return Err(format!("counted {totals:?}; {} in, {} out", self.arrived, self.left));
        }
        sent.iter().for_each(|(interface, frame)| self.player.sent(*interface, frame));
        let needed = expected.needed.iter();
        needed.for_each(|(interface, address)| self.player.needed(*interface, *address));
        Ok(())
    }

    /// Sweeps the sticky table, compares the flows of each AS, and lets go of removed ASs.
    fn audit(&mut self) -> Result<(), String> {
        self.workers.sweep();
        let tables = self.workers.tables();
        let live_flows =
            |id: AsId| tables.iter().map(|table| table.live_flows().of(id)).sum::<u32>();
        let snapshot = self.publisher.current();
        let mut live = BTreeMap::new();
        for server in snapshot.lb.servers.iter().flatten() {
            let flows = u64::from(live_flows(server.id));
            let vip = snapshot.lb.vip(server.vip).ok_or("an AS without its VIP")?.key;
            if flows > 0 {
                live.insert((reference_key(&vip), server.address), flows);
            }
        }
        let expected = self.reference.live_flows();
        if live != expected {
            return Err(format!("flows of the graph {live:?}\nof the reference {expected:?}"));
        }
        self.reference.collect();
        if self.compiler.collect(&live_flows) {
            self.publish();
            self.workers.work();
        }
        Ok(())
    }

    /// Ends the workers; everything held must come back.
    ///
    /// # Errors
    /// When packets are missing.
    pub fn finish(mut self) -> Result<(), String> {
        self.workers.0.iter_mut().for_each(Worker::finish);
        match self.workers.outstanding() {
            0 => Ok(()),
            leaked => Err(format!("{leaked} packets leaked")),
        }
    }
}
