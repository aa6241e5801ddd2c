//! Transactions: drafts of the model, and their publication.

use std::sync::Arc;

use balancer::{HashKey, StickyOwner};
use config::{Command, Problem};
use dataplane::event::Request;

use super::{Control, sticky_tables};
use crate::compile::{LbCompiler, compile};
use crate::model::{Effect, Kind, LbModel, Model};

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

    /// The state it would make.
    pub fn into_model(self) -> Model {
        self.model
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
            self.lb.set_key(&key);
        }
        let resized = model.lb.settings.buckets != self.model.lb.settings.buckets;
        let effects = std::mem::take(&mut model.effects);
        let new_vips = model.lb.vips.keys().filter(|index| !self.model.lb.vips.contains_key(index));
        for index in new_vips {
            // Another VIP may have had the index before and have counted there.
            self.baseline.vips.insert(*index, self.vip_counted(*index));
        }
        for index in new_servers(&self.model.lb, &model.lb) {
            self.baseline.servers.insert(index, self.server_counted(index));
        }
        let links: Vec<_> = self.model.interfaces.iter().map(|link| link.id).collect();
        for link in model.interfaces.iter().filter(|link| !links.contains(&link.id)) {
            self.baseline.interfaces.insert(link.id.0, self.traffic_of(link));
        }
        self.tell_mtus(&model);
        self.flushes.note(&self.model.lb, &model.lb);
        self.model = model;
        self.dirty = true;
        if resized {
            self.replace_sticky_tables();
        }
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
        let model = &self.model;
        self.neighbors.retain(|key @ (interface, address), _| {
            !model.static_neighbors.contains_key(&key)
                && model.is_up(interface)
                && model.interface(interface).is_some_and(|link| link.is_connected_to(address))
        });
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

    /// Gives every worker a new, empty sticky table; each moves its live flows over by itself.
    fn replace_sticky_tables(&mut self) {
        for worker in &mut self.workers {
            let owner =
                match StickyOwner::resized(&worker.sticky, self.model.lb.settings.buckets.into()) {
                    Ok(owner) => owner,
                    Err(error) => {
                        tracing::error!("sticky tables keep their size: {error}");
                        return;
                    }
                };
            let table = Arc::clone(owner.table());
            match worker.shared.request(Request::ReplaceStickyTable(Box::new(owner))) {
                Ok(()) => worker.sticky = table,
                Err(_) => tracing::error!(
                    worker = worker.shared.index,
                    "the worker's mailbox is full: its sticky table keeps its size"
                ),
            }
        }
    }

    /// Compiles and publishes the model if it has changed, and asks for the neighbours it needs.
    pub fn publish(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.model.learned_neighbors = self.neighbors.resolved();
        self.generation += 1;
        let sticky = sticky_tables(&self.workers);
        let compiled = compile(&self.model, self.generation, &mut self.lb, &sticky);
        self.rows = compiled.rows;
        self.publisher.publish(compiled.snapshot);
        self.flushes.begin(&self.workers);
        let update = self.neighbors.set_needed(&compiled.needed, self.now_ms);
        self.carry_out(update);
        self.announce();
        self.advise();
    }
}

/// The indices of ASs that `new` has and `old` has not, or has at another VIP.
fn new_servers(old: &LbModel, new: &LbModel) -> Vec<u32> {
    let mut added = Vec::new();
    for (index, vip) in &new.vips {
        let before = old.vips.get(index);
        if before.is_some_and(|before| Arc::ptr_eq(before, vip)) {
            continue;
        }
        let had = |server: u32| {
            before.is_some_and(|before| before.servers.iter().any(|other| other.index == server))
        };
        added.extend(vip.servers.iter().map(|server| server.index).filter(|index| !had(*index)));
    }
    added
}
