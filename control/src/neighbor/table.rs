//! The neighbour table: a state machine without I/O or clock. Time goes in, actions come out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::interface::{InterfaceId, MacAddress};

use super::entry::{Entry, HOLD_DOWN_MS, REACHABLE_MS, RETRY_MS, SEARCH_MS, State, TRIES};
use crate::model::NeighborKey;

/// Most neighbours kept (VPP's default).
pub(super) const CAPACITY: usize = 50_000;

/// Neighbours for which time passes in one step.
const AT_ONCE: usize = 1024;
/// Time over which neighbours that no configuration needs are asked for after a link came back, in
/// milliseconds.
const RECHECK_MS: u64 = 5_000;

/// A request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Whom to ask for.
    pub neighbor: NeighborKey,
    /// Whom to ask: the neighbour alone, or everybody.
    pub to: Option<MacAddress>,
}

/// What a step of the state machine came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Requests to be sent.
    pub actions: Vec<Action>,
    /// True when an Ethernet address appeared, changed or went: workers need a new snapshot.
    pub changed: bool,
    /// Neighbours that do not answer (any more), for the log.
    pub failed: Vec<NeighborKey>,
}

/// All learned neighbours. Static ones live in the model and never come here.
#[derive(Clone, Debug, Default)]
pub struct NeighborTable {
    entries: BTreeMap<NeighborKey, Entry>,
    /// By time: whose state ends when.
    due: BTreeSet<(u64, NeighborKey)>,
    /// How many are [`State::Incomplete`].
    incomplete: usize,
    /// The usable Ethernet addresses, as asked for last.
    resolved: Arc<BTreeMap<NeighborKey, MacAddress>>,
    /// Some have come, changed or gone since.
    stale: bool,
}

impl NeighborTable {
    /// All entries, by interface and address.
    pub fn iter(&self) -> impl Iterator<Item = (&NeighborKey, &Entry)> {
        self.entries.iter()
    }

    /// The entry of a neighbour.
    pub fn get(&self, key: NeighborKey) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// True when the configuration needs this neighbour.
    pub fn is_needed(&self, key: NeighborKey) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.needed)
    }

    /// The usable Ethernet addresses; the same map as long as they are the same.
    pub fn resolved(&mut self) -> Arc<BTreeMap<NeighborKey, MacAddress>> {
        if std::mem::take(&mut self.stale) {
            let usable = self.entries.iter().filter_map(|(key, entry)| Some((*key, entry.mac?)));
            self.resolved = Arc::new(usable.collect());
        }
        Arc::clone(&self.resolved)
    }

    /// True while a first answer is awaited, which is worth looking for more often than usual.
    pub fn is_resolving(&self) -> bool {
        self.incomplete > 0
    }

    /// A packet waits for this neighbour.
    pub fn need(&mut self, key: NeighborKey, now_ms: u64) -> Update {
        let mut update = Update::default();
        match self.entries.get(&key) {
            None => self.begin(key, false, now_ms, &mut update),
            Some(entry)
                if entry.state == State::Failed && now_ms >= entry.confirmed_ms + HOLD_DOWN_MS =>
            {
                let needed = entry.needed;
                self.begin(key, needed, now_ms, &mut update);
            }
            Some(_) => {}
        }
        update
    }

    /// The neighbours that the configuration needs from now on: those not known yet are asked for,
    /// and they are looked for again for as long as they do not answer.
    pub fn set_needed(&mut self, needed: &BTreeSet<NeighborKey>, now_ms: u64) -> Update {
        let mut update = Update::default();
        for (key, entry) in &mut self.entries {
            entry.needed = needed.contains(key);
        }
        self.retain(|_, entry| entry.needed || entry.state != State::Failed);
        for key in needed {
            if !self.entries.contains_key(key) {
                self.begin(*key, true, now_ms, &mut update);
            }
        }
        update
    }

    /// A message told where a neighbour is. The caller has checked that the address can be a neighbour's.
    pub fn seen(&mut self, key: NeighborKey, mac: MacAddress, now_ms: u64) -> Update {
        let old = self.entries.get(&key).copied();
        let full = old.is_none() && self.entries.len() >= CAPACITY;
        if full || mac.is_multicast() || mac == MacAddress::default() {
            return Update::default();
        }
        self.put(
            key,
            Entry {
                state: State::Reachable,
                mac: Some(mac),
                confirmed_ms: now_ms,
                due_ms: now_ms + REACHABLE_MS + spread(key),
                needed: old.is_some_and(|entry| entry.needed),
                reported: false,
            },
        );
        Update { changed: old.and_then(|entry| entry.mac) != Some(mac), ..Update::default() }
    }

    /// The link came back: who was known there is asked for again, as another may have taken the
    /// address. The last known Ethernet addresses are used meanwhile.
    pub fn recheck(&mut self, interface: InterfaceId, now_ms: u64) -> Update {
        let there = self.entries.iter().filter(|((on, _), _)| *on == interface);
        let there: Vec<_> = there.map(|(key, entry)| (*key, *entry)).collect();
        let mut update = Update::default();
        for (key, entry) in there {
            match entry.mac {
                None if entry.needed => self.begin(key, true, now_ms, &mut update),
                None => drop(self.remove(key)),
                Some(_) if entry.needed => {
                    update.actions.push(Action { neighbor: key, to: None });
                    let state = State::Probe { tries: 1 };
                    self.put(key, Entry { state, due_ms: now_ms + RETRY_MS, ..entry });
                }
                // There may be very many of these.
                Some(_) => {
                    let due_ms = now_ms + spread(key) % RECHECK_MS;
                    self.put(key, Entry { due_ms, ..entry });
                }
            }
        }
        update
    }

    /// Drops a neighbour; true when there was one.
    pub fn remove(&mut self, key: NeighborKey) -> bool {
        let Some(entry) = self.entries.remove(&key) else { return false };
        self.stale |= entry.mac.is_some();
        self.due.remove(&(entry.due_ms, key));
        self.incomplete -= usize::from(matches!(entry.state, State::Incomplete { .. }));
        true
    }

    /// Drops the neighbours that `keep` denies: their link is down or their network is gone.
    /// Returns how many went.
    pub fn retain(&mut self, keep: impl Fn(NeighborKey, &Entry) -> bool) -> usize {
        let gone = self.entries.iter().filter(|(key, entry)| !keep(**key, entry));
        let gone: Vec<_> = gone.map(|(key, _)| *key).collect();
        gone.iter().filter(|key| self.remove(**key)).count()
    }

    /// Lets time pass, for so many neighbours at once that control has time for others.
    pub fn tick(&mut self, now_ms: u64) -> Update {
        let mut update = Update::default();
        // A flood of strangers may all be due at once.
        for _ in 0..AT_ONCE {
            let Some(&(due_ms, key)) = self.due.first().filter(|(due_ms, _)| *due_ms <= now_ms)
            else {
                break;
            };
            self.due.remove(&(due_ms, key));
            let Some(entry) = self.entries.get(&key).copied() else { continue };
            self.expire(key, entry, now_ms, &mut update);
        }
        update
    }

    /// The state of `entry` has ended without news.
    fn expire(&mut self, key: NeighborKey, entry: Entry, now_ms: u64, update: &mut Update) {
        let asks = match entry.state {
            State::Incomplete { tries } if tries < TRIES => {
                Some(State::Incomplete { tries: tries + 1 })
            }
            State::Probe { tries } if tries < TRIES => Some(State::Probe { tries: tries + 1 }),
            State::Reachable => Some(State::Probe { tries: 1 }),
            _ => None,
        };
        if let Some(state) = asks {
            update.actions.push(Action { neighbor: key, to: entry.mac });
            self.put(key, Entry { state, due_ms: now_ms + RETRY_MS, ..entry });
            return;
        }
        match entry.state {
            State::Failed if entry.needed => self.begin(key, true, now_ms, update),
            State::Failed => {
                self.remove(key);
            }
            _ => {
                // The search for one that is needed goes on quietly: it is reported once.
                if !entry.reported {
                    update.failed.push(key);
                }
                update.changed |= entry.mac.is_some();
                let rest_ms = if entry.needed { SEARCH_MS } else { REACHABLE_MS };
                self.put(
                    key,
                    Entry {
                        state: State::Failed,
                        mac: None,
                        confirmed_ms: now_ms,
                        due_ms: now_ms + rest_ms,
                        needed: entry.needed,
                        reported: true,
                    },
                );
            }
        }
    }

    /// Sends the first request for a neighbour.
    fn begin(&mut self, key: NeighborKey, needed: bool, now_ms: u64, update: &mut Update) {
        if !self.entries.contains_key(&key) && self.entries.len() >= CAPACITY {
            if !needed {
                return;
            }
            // Strangers must not keep out what the configuration needs.
            let strangers = |(_, key): &&(u64, NeighborKey)| !self.is_needed(*key);
            let Some((_, stranger)) = self.due.iter().find(strangers).copied() else { return };
            update.changed |= self.get(stranger).is_some_and(|entry| entry.mac.is_some());
            self.remove(stranger);
        }
        let old = self.entries.get(&key);
        let entry = Entry {
            state: State::Incomplete { tries: 1 },
            mac: None,
            confirmed_ms: now_ms,
            due_ms: now_ms + RETRY_MS,
            needed,
            reported: old.is_some_and(|entry| entry.reported),
        };
        update.actions.push(Action { neighbor: key, to: None });
        self.put(key, entry);
    }

    fn put(&mut self, key: NeighborKey, entry: Entry) {
        let (before, stale) = (self.get(key).and_then(|before| before.mac), self.stale);
        self.remove(key);
        self.stale = stale || before != entry.mac;
        self.entries.insert(key, entry);
        self.due.insert((entry.due_ms, key));
        self.incomplete += usize::from(matches!(entry.state, State::Incomplete { .. }));
    }
}

/// Spreads the refreshing of many neighbours over [`REACHABLE_MS`], by address.
fn spread((InterfaceId(interface), address): NeighborKey) -> u64 {
    let address = match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() ^ address.to_bits() >> 64) as u64,
    };
    let mixed = (address ^ u64::from(interface) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) % REACHABLE_MS
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

    fn key(last: u8) -> NeighborKey {
        (InterfaceId(1), Ipv4Addr::new(10, 0, 0, last).into())
    }

    fn ask(last: u8) -> Action {
        Action { neighbor: key(last), to: None }
    }

    fn state(table: &NeighborTable, last: u8) -> Option<State> {
        table.get(key(last)).map(|entry| entry.state)
    }

    #[test]
    fn a_table_full_of_strangers_takes_who_is_needed_and_keeps_them() {
        let mut table = NeighborTable::default();
        table.set_needed(&BTreeSet::from([key(1)]), 0);
        table.seen(key(1), MAC, 0);
        let stranger = |n: u32| (InterfaceId(1), Ipv4Addr::from_bits(0x0b00_0000 + n).into());
        for n in 0..CAPACITY as u32 + 1000 {
            table.seen(stranger(n), MAC, 0);
        }
        assert_eq!(table.iter().count(), CAPACITY);
        assert_eq!(table.need(key(9), 1), Update::default(), "traffic finds no room");
        let update = table.set_needed(&BTreeSet::from([key(1), key(2)]), 1);
        assert_eq!(update.actions, [ask(2)]);
        assert_eq!(table.iter().count(), CAPACITY);
        assert_eq!(table.get(key(1)).and_then(|entry| entry.mac), Some(MAC));
        // However many are due, a step has an end.
        let late = 3 * REACHABLE_MS;
        assert_eq!(table.tick(late).actions.len(), AT_ONCE);
        assert_eq!(table.tick(late).actions.len(), AT_ONCE);
    }

    #[test]
    fn after_a_flap_needed_neighbors_are_asked_for_at_once_and_others_soon() {
        let mut table = NeighborTable::default();
        table.set_needed(&BTreeSet::from([key(1), key(2)]), 0);
        table.seen(key(1), MAC, 0);
        table.seen(key(3), MAC, 0);
        table.need(key(4), 0);
        (0..4).for_each(|second| drop(table.tick(second * RETRY_MS)));
        assert_eq!([state(&table, 2), state(&table, 4)], [Some(State::Failed); 2]);
        assert_eq!(table.recheck(InterfaceId(2), 9_000), Update::default(), "another link");
        let update = table.recheck(InterfaceId(1), 9_000);
        assert_eq!(update.actions, [ask(1), ask(2)]);
        assert_eq!(state(&table, 1), Some(State::Probe { tries: 1 }));
        assert_eq!(table.get(key(1)).and_then(|entry| entry.mac), Some(MAC), "still used");
        assert_eq!(state(&table, 2), Some(State::Incomplete { tries: 1 }));
        assert_eq!(state(&table, 4), None, "nobody needs it");
        table.tick(9_000 + RECHECK_MS);
        assert_eq!(state(&table, 3), Some(State::Probe { tries: 1 }));
    }

    #[test]
    fn an_unknown_neighbor_is_asked_for_three_times_a_second_apart() {
        let mut table = NeighborTable::default();
        assert_eq!(table.need(key(9), 0).actions, [ask(9)]);
        assert!(table.is_resolving());
        assert_eq!(table.need(key(9), 1), Update::default(), "already being asked for");
        assert_eq!(table.tick(999), Update::default());
        assert_eq!(table.tick(1_000).actions, [ask(9)]);
        assert_eq!(table.tick(2_000).actions, [ask(9)]);
        let update = table.tick(3_000);
        assert_eq!((update.actions, update.failed), (vec![], vec![key(9)]));
        assert!(!update.changed, "no address was known, none is lost");
        assert_eq!(state(&table, 9), Some(State::Failed));
        assert!(!table.is_resolving());
        assert_eq!(table.need(key(9), 3_500), Update::default(), "held down");
        assert_eq!(table.need(key(9), 4_000).actions, [ask(9)]);
    }

    #[test]
    fn a_reachable_neighbor_is_probed_by_unicast_and_stays_usable_meanwhile() {
        let mut table = NeighborTable::default();
        table.need(key(9), 0);
        assert!(table.seen(key(9), MAC, 10).changed);
        let resolved = table.resolved();
        assert_eq!(resolved[&key(9)], MAC);
        assert!(!table.is_resolving());
        let due = table.get(key(9)).unwrap().due_ms;
        assert!((10 + REACHABLE_MS..10 + 2 * REACHABLE_MS).contains(&due));
        let update = table.tick(due);
        assert_eq!(update.actions, [Action { neighbor: key(9), to: Some(MAC) }]);
        assert_eq!(state(&table, 9), Some(State::Probe { tries: 1 }));
        assert_eq!(table.resolved().len(), 1);
        assert!(!table.seen(key(9), MAC, due + 5).changed);
        assert_eq!(state(&table, 9), Some(State::Reachable));
        assert!(Arc::ptr_eq(&resolved, &table.resolved()), "nothing new to tell workers");
    }

    #[test]
    fn a_neighbor_that_stops_answering_is_given_up() {
        let mut table = NeighborTable::default();
        table.seen(key(9), MAC, 0);
        let due = table.get(key(9)).unwrap().due_ms;
        for probe in 0..3 {
            assert_eq!(table.tick(due + probe * RETRY_MS).actions.len(), 1);
        }
        let update = table.tick(due + 3 * RETRY_MS);
        assert!(update.changed && update.actions.is_empty());
        assert_eq!(update.failed, [key(9)]);
        assert!(table.resolved().is_empty());
        table.tick(due + 3 * RETRY_MS + REACHABLE_MS);
        assert_eq!(state(&table, 9), None, "forgotten in the end");
    }

    #[test]
    fn what_the_configuration_needs_is_looked_for_for_ever() {
        let mut table = NeighborTable::default();
        let needed = BTreeSet::from([key(1)]);
        assert_eq!(table.set_needed(&needed, 0).actions, [ask(1)]);
        assert_eq!(table.set_needed(&needed, 1).actions, []);
        let (mut asked, mut reported) = (0, 0);
        for now in (0..60_000).step_by(100) {
            let update = table.tick(now);
            asked += update.actions.len();
            reported += update.failed.len();
        }
        assert!(asked > 15, "{asked} requests in a minute");
        assert_eq!(reported, 1);
        assert!(table.seen(key(1), MAC, 60_000).changed);
        table.set_needed(&BTreeSet::new(), 60_001);
        assert!(!table.get(key(1)).unwrap().needed);
    }

    #[test]
    fn a_moved_neighbor_is_noticed_and_group_addresses_are_not_believed() {
        let mut table = NeighborTable::default();
        table.seen(key(9), MAC, 0);
        assert!(table.seen(key(9), MacAddress([2, 0, 0, 0, 0, 10]), 1).changed);
        assert_eq!(table.seen(key(9), MacAddress::BROADCAST, 2), Update::default());
        assert_eq!(table.resolved()[&key(9)], MacAddress([2, 0, 0, 0, 0, 10]));
    }

    #[test]
    fn a_link_that_goes_down_takes_its_neighbors_along() {
        let mut table = NeighborTable::default();
        table.need(key(9), 0);
        table.seen((InterfaceId(2), Ipv4Addr::new(10, 0, 0, 9).into()), MAC, 0);
        assert_eq!(table.retain(|(interface, _), _| interface != InterfaceId(1)), 1);
        assert!(!table.is_resolving());
        assert_eq!(table.iter().count(), 1);
        assert_eq!(table.tick(u64::MAX / 2).actions.len(), 1);
    }
}
