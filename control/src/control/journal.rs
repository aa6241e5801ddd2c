//! What happened to ASs, the last events of it.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use balancer::VipKey;
use config::Admin;

use crate::model::{LbModel, Server, Vip};

/// Events kept.
const KEPT: usize = 1024;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `drain`
    Drain,
    /// `drain then del`
    DrainThenDel,
    /// `undrain`
    Undrain,
    /// The last flow of an AS that drains or is removed has ended.
    Drained,
    /// `del`, or the end of `drain then del`.
    Del,
    /// A removed AS is back.
    ReAdded,
    /// The flows were ended.
    Flush,
    /// `lb vip … del`
    VipDel,
}

impl Kind {
    /// As shown.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Kind::Drain => "drain",
            Kind::DrainThenDel => "drain-then-del",
            Kind::Undrain => "undrain",
            Kind::Drained => "drained",
            Kind::Del => "del",
            Kind::ReAdded => "re-added",
            Kind::Flush => "flush",
            Kind::VipDel => "vip-del",
        }
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Counts up from 1.
    pub(super) sequence: u64,
    /// Since the start, milliseconds.
    pub(super) at_ms: u64,
    pub(super) kind: Kind,
    pub(super) vip: VipKey,
    /// `None` is all of the VIP.
    pub(super) server: Option<IpAddr>,
}

/// The last events.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    last: u64,
}

impl Journal {
    /// The events that are kept, the oldest first.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Adds an event; the oldest goes when there are too many.
    pub(super) fn record(&mut self, at_ms: u64, kind: Kind, vip: VipKey, server: Option<IpAddr>) {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.last += 1;
        self.entries.push_back(Entry { sequence: self.last, at_ms, kind, vip, server });
    }

    /// Records what a model that replaces another does to ASs.
    pub(super) fn note(&mut self, at_ms: u64, old: &LbModel, new: &LbModel) {
        for (_, before, vip) in new.vips.since(&old.vips) {
            let Some(before) = before.filter(|vip| !vip.removed) else { continue };
            match vip.filter(|vip| !vip.removed) {
                None => self.record(at_ms, Kind::VipDel, before.key, None),
                Some(vip) => self.note_vip(at_ms, before, vip),
            }
        }
    }

    fn note_vip(&mut self, at_ms: u64, before: &Vip, vip: &Vip) {
        let had: BTreeMap<u32, &Server> = before.servers.iter().map(|s| (s.index, s)).collect();
        let pairs = vip.servers.iter().map(|now| (had.get(&now.index).copied(), now));
        let pairs: Vec<_> = pairs.collect();
        let is_flushed = |was: &Server, now: &Server| was.epoch != now.epoch;
        let all = pairs.len() > 1
            && pairs.iter().all(|(was, now)| was.is_some_and(|was| is_flushed(was, now)));
        if all {
            self.record(at_ms, Kind::Flush, vip.key, None);
        }
        for (was, now) in pairs {
            let server = Some(now.address);
            if let Some(kind) = change(was, now) {
                self.record(at_ms, kind, vip.key, server);
            }
            if !all && was.is_some_and(|was| is_flushed(was, now)) {
                self.record(at_ms, Kind::Flush, vip.key, server);
            }
        }
    }
}

/// What became of an AS but for flushes.
fn change(was: Option<&Server>, now: &Server) -> Option<Kind> {
    let drain = || match now.admin {
        Admin::Up => Kind::Undrain,
        Admin::Drain => Kind::Drain,
        Admin::DrainThenDel => Kind::DrainThenDel,
    };
    let (removed, admin) = was.map_or((false, Admin::Up), |was| (was.removed, was.admin));
    match (removed, now.removed) {
        (false, true) => Some(Kind::Del),
        (true, false) => Some(Kind::ReAdded),
        (false, false) if admin != now.admin => Some(drain()),
        _ => None,
    }
}
