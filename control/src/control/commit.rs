//! Transactions: drafts of the model, and their publication.

use std::collections::BTreeSet;
use std::sync::Arc;

use balancer::HashKey;
use config::{Command, PanicPlace, Problem};

use super::Control;
use super::keeping::new_table;
use super::rebuild::Published;
use crate::compile::LbCompiler;
use crate::model::{Effect, Kind, Model};
use crate::show::vips::{ServerCounters, VipCounters};

/// A copy of the model that commands are applied to. It replaces the model when it is committed;
/// dropped, it was never there.
#[derive(Debug)]
pub struct Draft {
    model: Model,
    hash_key: Option<HashKey>,
}

impl Draft {
    /// A draft that starts from `model`.
    pub fn of(model: Model) -> Self {
        Self { model, hash_key: None }
    }

    /// Applies one command; returns what it prints. After an error the draft is good for nothing.
    ///
    /// # Errors
    ///
    /// What does not fit the model, or an unusable hash key file.
    pub fn apply(&mut self, command: &Command) -> Result<String, Problem> {
        if let Command::LbConf(conf) = command
            && let Some(path) = &conf.hash_key_file
        {
            let key = LbCompiler::read_key(&path.value)
                .map_err(|reason| Problem::new(path.span, reason))?;
            self.hash_key = Some(key);
        }
        self.model.apply(command)
    }

    /// A draft that is this state as a whole, with the key of the flow hash that goes with it.
    pub fn whole(model: Model, hash_key: Option<HashKey>) -> Self {
        Self { model, hash_key }
    }

    /// The state it would make, and the key of the flow hash if it changes.
    pub fn into_parts(self) -> (Model, Option<HashKey>) {
        (self.model, self.hash_key)
    }
}

impl Control {
    /// A copy to work on.
    pub fn draft(&self) -> Draft {
        Draft::of(self.model.clone())
    }

    /// Makes a draft the desired state. Workers see it with the next [`Self::publish`].
    pub fn commit(&mut self, draft: Draft) {
        let Draft { mut model, hash_key } = draft;
        if let Some(key) = hash_key {
            self.compiler.lb.set_key(&key);
            self.note_hash_key(&key);
        }
        let resized = model.lb.settings.buckets != self.model.lb.settings.buckets;
        let effects = std::mem::take(&mut model.effects);
        self.remember_counters(&model);
        self.flushes.note(&self.model.lb, &model.lb);
        self.drains.note(&self.model.lb, &model.lb);
        self.journal.note(self.now_ms, &self.model.lb, &model.lb);
        let same_links = Arc::ptr_eq(&self.model.interfaces, &model.interfaces);
        let same_statics = Arc::ptr_eq(&self.model.static_neighbors, &model.static_neighbors);
        if !same_links {
            self.tell_mtus(&model);
        }
        self.model = model;
        self.commits += 1;
        self.dirty = true;
        if resized {
            self.resize_sticky_tables();
        }
        self.disturbed |= !effects.is_empty();
        for effect in effects {
            match effect {
                Effect::Learn(key, mac) => {
                    self.neighbors.seen(key, mac, self.now_ms);
                }
                Effect::Forget(key) => {
                    self.neighbors.remove(key);
                }
            }
        }
        if !(same_links && same_statics) {
            self.disturbed = true;
            let model = &self.model;
            self.neighbors.retain(|key @ (interface, address), _| {
                !model.static_neighbors.contains_key(&key)
                    && model.is_up(interface)
                    && model.interface(interface).is_some_and(|link| link.is_connected_to(address))
            });
        }
    }

    /// Notes what was counted under the indices of what is new in a model: others may have had them
    /// before.
    fn remember_counters(&mut self, new: &Model) {
        let mut servers = Vec::new();
        for (index, before, vip) in new.lb.vips.since(&self.model.lb.vips) {
            if before.is_none() {
                let counted = self.vip_counted(index);
                if counted != VipCounters::default() {
                    self.baseline.vips.insert(index, counted);
                }
            }
            let had: BTreeSet<u32> =
                before.iter().flat_map(|vip| &vip.servers).map(|server| server.index).collect();
            let has = vip.into_iter().flat_map(|vip| &vip.servers).map(|server| server.index);
            servers.extend(has.filter(|index| !had.contains(index)));
        }
        for index in servers {
            let counted = self.server_counted(index);
            if counted != ServerCounters::default() {
                self.baseline.servers.insert(index, counted);
            }
        }
        for link in new.interfaces.iter() {
            if self.model.interface(link.id).is_none_or(|old| old.name != link.name) {
                self.baseline.interfaces.insert(link.id.0, self.traffic_of(link));
            }
        }
    }

    /// Tells drivers of MTUs that a new model changes. Ours is enforced here whatever they say.
    fn tell_mtus(&self, new: &Model) {
        for new in new.interfaces.iter() {
            let Kind::Device(port) = new.kind else { continue };
            if self.model.interface(new.id).is_none_or(|old| old.mtu == new.mtu) {
                continue;
            }
            if let Err(error) = self.hardware.set_mtu(port, new.mtu) {
                tracing::info!("{}: the driver keeps its own MTU: {error}", new.name);
            }
        }
    }

    /// Sees to it that the sticky tables get the size that is configured.
    pub(super) fn resize_sticky_tables(&mut self) {
        let buckets = self.model.lb.settings.buckets;
        let (keeper, workers) = (&mut self.keeper, &self.workers);
        let make =
            |worker: usize| new_table(keeper.as_mut(), &workers[worker].sticky, worker, buckets);
        match self.resize.want(buckets, workers, make) {
            Ok(changed) => self.dirty |= changed,
            Err(error) => tracing::error!("sticky tables keep their size: {error}"),
        }
        self.forget_tables();
    }

    /// A worker has moved all flows out of its old sticky table.
    pub(super) fn sticky_table_retired(&mut self, worker: usize) {
        self.resize.retired(worker);
        self.dirty = true;
        // Another size may have been asked for meanwhile.
        self.resize_sticky_tables();
    }

    /// Compiles and publishes the model if it has changed, and asks for the neighbours it needs.
    /// VIPs whose new-flow tables are being built elsewhere follow when those are there.
    pub fn publish(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.ripened = false;
        self.model.learned_neighbors = self.neighbors.resolved();
        self.generation += 1;
        self.keep_state();
        let sticky = self.sticky_tables();
        let compiled = self.compiler.compile(&self.model, self.generation, &sticky);
        self.debug.panic_if_asked(PanicPlace::Publish);
        self.publisher.publish(compiled.snapshot);
        self.published = Published::new(&self.model, &self.compiler, self.hash_key(), self.commits);
        self.resize.published(self.publisher.version());
        self.flushes.begin(&self.workers, &self.resize);
        self.drains.begin(self.compiler.lb.compiled(), &self.workers);
        if std::mem::take(&mut self.disturbed) || compiled.needs_changed {
            let update = self.neighbors.set_needed(&self.compiler.needed(), self.now_ms);
            self.carry_out(update);
        }
        if compiled.addresses_changed {
            self.announce();
        }
        self.unadvised = true;
    }

    /// The same, with the new-flow tables that are there by now.
    pub fn publish_built(&mut self) {
        self.dirty |= std::mem::take(&mut self.ripened);
        self.publish();
        self.publisher.reclaim();
    }
}
