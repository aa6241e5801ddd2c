//! ASs that take no new flows, watched until the last one they have has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use balancer::{StickyTable, VipKey};
use config::Admin;

use super::Control;
use super::WorkerHandle;
use super::flushes::{ADOPTION_TURNS, entries_of};
use super::journal::Kind;
use crate::model::{LbModel, Server, Shelf, Vip};

/// How often control looks whether an AS is drained, in milliseconds.
const LOOK_MS: u64 = 100;

/// An AS that takes no new flows.
#[derive(Clone, Debug)]
struct Watched {
    vip: u32,
    vip_key: VipKey,
    address: IpAddr,
    admin: Admin,
    removed: bool,
    /// By worker: the turn from which on it surely opens no flows for the AS; `None` until what
    /// says so is published.
    settled_at: Option<Vec<u64>>,
    /// It has no flows any more.
    drained: bool,
}

impl Watched {
    fn of(vip: &Vip, server: &Server) -> Self {
        Self {
            vip: vip.index,
            vip_key: vip.key,
            address: server.address,
            admin: server.admin,
            removed: server.removed,
            settled_at: None,
            drained: false,
        }
    }

    /// Whether its end is news: nobody drains an AS by giving it the weight 0 from the start.
    fn is_news(&self) -> bool {
        self.removed || self.admin != Admin::Up
    }
}

/// What is watched.
#[derive(Debug, Default)]
pub(super) struct Drains {
    /// By AS index.
    watched: BTreeMap<u32, Watched>,
    /// Those that are not drained.
    open: BTreeSet<u32>,
    /// Those of which workers have not been told yet.
    untold: BTreeSet<u32>,
    /// ASs that were drained, ever.
    drained: u64,
    next_look_ms: u64,
}

impl Drains {
    /// Takes notice of a model that replaces another.
    pub(super) fn note(&mut self, old: &LbModel, new: &LbModel) {
        for (_, before, vip) in new.vips.since(&old.vips) {
            // A VIP that goes takes its flows along.
            let vip = vip.filter(|vip| !vip.removed);
            if vip.is_none() {
                let gone = before.into_iter().flat_map(|vip| &vip.servers);
                gone.for_each(|server| self.forget(server.index));
            }
            for (vip, server) in
                vip.iter().flat_map(|vip| vip.servers.iter().map(move |s| (vip, s)))
            {
                match server.takes_flows() {
                    true => self.forget(server.index),
                    false => self.watch(vip, server),
                }
            }
        }
    }

    fn forget(&mut self, server: u32) {
        self.watched.remove(&server);
        self.open.remove(&server);
        self.untold.remove(&server);
    }

    fn watch(&mut self, vip: &Vip, server: &Server) {
        let index = server.index;
        let watched = self.watched.entry(index).or_insert_with(|| {
            self.open.insert(index);
            self.untold.insert(index);
            Watched::of(vip, server)
        });
        let was_news = watched.is_news();
        (watched.admin, watched.removed) = (server.admin, server.removed);
        if watched.drained && !was_news && watched.is_news() {
            watched.drained = false;
            self.open.insert(index);
        }
    }

    /// What `compiled` says is published now.
    pub(super) fn begin(&mut self, compiled: &Shelf<Vip>, workers: &[WorkerHandle]) {
        let watched = &mut self.watched;
        self.untold.retain(|index| {
            let Some(watched) = watched.get_mut(index) else { return false };
            let vip = compiled.get(watched.vip);
            let mut servers = vip.into_iter().flat_map(|vip| &vip.servers);
            // While a new-flow table is being built, the VIP is as it was.
            let is_told = !servers.any(|server| server.index == *index && server.takes_flows());
            if is_told {
                let turns = workers.iter().map(|worker| worker.shared.turns.get() + ADOPTION_TURNS);
                watched.settled_at = Some(turns.collect());
            }
            !is_told
        });
    }

    /// The ASs whose last flow has ended since the last look.
    fn look(
        &mut self,
        workers: &[WorkerHandle],
        tables: &[Arc<StickyTable>],
    ) -> Vec<(u32, Watched)> {
        let watched = &mut self.watched;
        let is_settled = |at: &Vec<u64>| {
            at.iter().zip(workers).all(|(at, worker)| worker.shared.turns.get() >= *at)
        };
        let ended = self.open.extract_if(.., |index| {
            let Some(watched) = watched.get_mut(index) else { return true };
            let settled = watched.settled_at.as_ref().is_some_and(is_settled);
            // Expired entries count until they are swept, and so do those that a flush has killed.
            watched.drained = settled && entries_of(*index, tables) == 0;
            watched.drained
        });
        let ended: Vec<u32> = ended.collect();
        let of = |index: u32| Some((index, self.watched.get(&index)?.clone()));
        let ended: Vec<_> = ended.into_iter().filter_map(of).filter(|(_, w)| w.is_news()).collect();
        self.drained += ended.len() as u64;
        ended
    }

    /// Forgets ASs that the model has no more.
    pub(super) fn retain(&mut self, model: &LbModel) {
        let gone = self.watched.iter().filter(|(index, watched)| {
            let servers = model.vips.get(watched.vip).into_iter().flat_map(|vip| &vip.servers);
            !servers.into_iter().any(|server| server.index == **index)
        });
        for index in gone.map(|(index, _)| *index).collect::<Vec<_>>() {
            self.forget(index);
        }
    }

    /// Goes on from another model, some changes before which were lost.
    pub(super) fn resume(&mut self, model: &LbModel) {
        self.retain(model);
        self.note(&LbModel::default(), model);
        for (index, watched) in &mut self.watched {
            if watched.drained && watched.admin == Admin::DrainThenDel && !watched.removed {
                // Its removal was lost.
                watched.drained = false;
                self.open.insert(*index);
            }
        }
    }

    /// Whether an AS takes no new flows and has none left.
    pub(super) fn is_drained(&self, server: u32) -> bool {
        self.watched.get(&server).is_some_and(|watched| watched.drained)
    }

    /// How many ASs were drained, ever.
    pub(super) fn drained(&self) -> u64 {
        self.drained
    }
}

impl Control {
    /// Takes notice of ASs whose last flow has ended, now and then.
    pub(super) fn look_for_drained(&mut self) {
        if self.now_ms < self.drains.next_look_ms {
            return;
        }
        self.drains.next_look_ms = self.now_ms + LOOK_MS;
        let tables = self.sticky_tables();
        for (index, watched) in self.drains.look(&self.workers, &tables) {
            let Watched { vip, vip_key, address, .. } = watched;
            tracing::info!("{address} of {vip_key} is drained: its last flow has ended");
            self.journal.record(self.now_ms, Kind::Drained, vip_key, Some(address));
            if self.model.lb.end_drain(vip, index) {
                self.journal.record(self.now_ms, Kind::Del, vip_key, Some(address));
                self.dirty = true;
            }
        }
    }
}
