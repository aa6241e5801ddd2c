//! How many flows each AS has in one sticky table.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::application_server::AsId;

/// Counts written by the table's owner alone, readable by all: the number of entries for each AS,
/// including those that expired and were not swept yet.
#[derive(Debug)]
pub struct LiveFlows {
    by_server: Box<[AtomicU32]>,
    totals: Totals,
}

/// On a line of its own: peers read `direct` for each new flow.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Totals {
    used: AtomicU32,
    direct: AtomicU32,
    beginnings: AtomicU32,
}

/// The only writer needs no locked instruction.
#[inline(always)]
fn add(count: &AtomicU32, delta: u32) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(delta), Ordering::Relaxed);
}

impl LiveFlows {
    pub(crate) fn new(servers_max: usize) -> Self {
        Self {
            by_server: (0..servers_max).map(|_| AtomicU32::new(0)).collect(),
            totals: Totals::default(),
        }
    }

    /// The flows of an AS.
    #[must_use]
    pub fn of(&self, as_id: AsId) -> u32 {
        self.by_server.get(as_id.index()).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// All entries in use, direct flows included.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.totals.used.load(Ordering::Relaxed)
    }

    /// The direct flows, which go past a VIP and count for no AS.
    #[must_use]
    pub fn direct(&self) -> u32 {
        self.totals.direct.load(Ordering::Relaxed)
    }

    /// How often an AS that had no flow got one, modulo 2^32.
    #[must_use]
    pub fn beginnings(&self) -> u32 {
        self.totals.beginnings.load(Ordering::Relaxed)
    }

    /// Which ASs have flows.
    #[inline(always)]
    pub(crate) fn with_flows(&self) -> WithFlows<'_> {
        WithFlows(&self.by_server)
    }

    /// How many ASs can be counted.
    #[must_use]
    pub fn servers_max(&self) -> usize {
        self.by_server.len()
    }

    /// Counts one more entry, of an AS or direct. Only for the owner.
    #[inline(always)]
    pub(crate) fn enter(&self, as_id: AsId, direct: bool) {
        let before = self.count(as_id, direct, 1);
        if before == 0 && !direct {
            add(&self.totals.beginnings, 1);
        }
    }

    /// For loops over new entries. Only for the owner.
    #[inline(always)]
    pub(crate) fn tally(&self) -> Tally<'_> {
        Tally { by_server: &self.by_server, totals: &self.totals, entered: 0 }
    }

    /// Counts one entry less. Only for the owner.
    pub(crate) fn leave(&self, as_id: AsId, direct: bool) {
        self.count(as_id, direct, u32::MAX);
    }

    /// Returns how many of the same there were before.
    #[inline(always)]
    fn count(&self, as_id: AsId, direct: bool, delta: u32) -> u32 {
        add(&self.totals.used, delta);
        let count =
            if direct { Some(&self.totals.direct) } else { self.by_server.get(as_id.index()) };
        let Some(count) = count else { return 1 };
        let before = count.load(Ordering::Relaxed);
        count.store(before.wrapping_add(delta), Ordering::Relaxed);
        before
    }
}

/// Counts entries of ASs, none of which is direct, close at hand: how many are in use all at once.
#[derive(Debug)]
#[must_use = "it has to come to its end"]
pub(crate) struct Tally<'a> {
    by_server: &'a [AtomicU32],
    totals: &'a Totals,
    /// So many more are in use.
    entered: u32,
}

impl Tally<'_> {
    /// Counts an entry of an AS in the place of one of another AS, or, if that is not `used`, of none.
    /// Without branches, as nobody can tell which of both it is.
    #[inline(always)]
    pub(crate) fn replace(&mut self, (before, used): (AsId, bool), as_id: AsId) {
        let left = u32::from(used);
        self.entered += 1 - left;
        if let Some(count) = self.by_server.get(before.index()) {
            add(count, left.wrapping_neg());
        }
        if let Some(count) = self.by_server.get(as_id.index()) {
            // Hardly ever.
            if count.load(Ordering::Relaxed) == 0 {
                add(&self.totals.beginnings, 1);
            }
            add(count, 1);
        }
    }

    /// All are counted.
    #[inline(always)]
    pub(crate) fn end(self) {
        add(&self.totals.used, self.entered);
    }
}

/// Which ASs may have flows in a worker's table, for a loop over packets: a flow of any other need not
/// be looked for.
#[derive(Clone, Copy, Debug)]
pub struct WithFlows<'a>(&'a [AtomicU32]);

impl WithFlows<'_> {
    /// All may have some.
    pub const ALL: Self = Self(&[]);

    /// Whether an AS may have flows, expired ones included.
    #[inline(always)]
    #[must_use]
    pub fn include(&self, as_id: AsId) -> bool {
        self.0.get(as_id.index()).is_none_or(|count| count.load(Ordering::Relaxed) != 0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{FlowKey, FlowState, InstanceKey, NewEntry, StickyOwner, VipId};

    fn server(number: u32) -> AsId {
        AsId::new(number).unwrap()
    }

    fn begin(owner: &mut StickyOwner, port: u16, number: u32) {
        let key = FlowKey::exact(Ipv4Addr::LOCALHOST, port, VipId::new(0).unwrap());
        let (as_id, state) = (server(number), FlowState::Established);
        let entry = NewEntry { as_id, epoch: 0, state, expiry_tick: 10 };
        owner.insert(&key, entry, 0, |_| Some(0)).unwrap();
    }

    #[test]
    fn ass_without_flows_are_known_and_that_they_get_one() {
        let mut owner = StickyOwner::new(16, InstanceKey::from_bytes([5; 32]), 4).unwrap();
        let beginnings = |owner: &StickyOwner| owner.table().live_flows().beginnings();
        let with_flows = |owner: &StickyOwner| -> Vec<bool> {
            (0..5).map(|number| owner.with_flows().include(server(number))).collect()
        };
        assert_eq!(with_flows(&owner), [false, false, false, false, true], "4 is not counted");
        for (port, number, times) in [(1, 1, 1), (2, 1, 1), (3, 3, 2), (2, 2, 3), (1, 1, 4)] {
            begin(&mut owner, port, number);
            assert_eq!(beginnings(&owner), times, "port {port}");
        }
        assert_eq!(with_flows(&owner), [false, true, true, true, true]);
        assert_eq!(owner.sweep(16, 10, |_| Some(0)), 3);
        assert_eq!(with_flows(&owner), [false, false, false, false, true]);
        begin(&mut owner, 1, 1);
        assert_eq!(beginnings(&owner), 5);
        let live = owner.table().live_flows();
        for (before, number, times) in [((1, true), 2, 6), ((2, true), 3, 7), ((3, false), 3, 7)] {
            let (used, mut tally) = (live.used(), live.tally());
            tally.replace((server(before.0), before.1), server(number));
            tally.end();
            assert_eq!(live.used(), used + u32::from(!before.1));
            assert_eq!(
                (beginnings(&owner), live.of(server(before.0)) > 0),
                (times, number == before.0)
            );
        }
    }

    /// What is in the table before is not counted in this one.
    #[test]
    fn all_may_have_flows_while_they_follow() {
        let mut owner = StickyOwner::new(16, InstanceKey::from_bytes([5; 32]), 4).unwrap();
        begin(&mut owner, 1, 1);
        let new = StickyOwner::resized(owner.table(), 32).unwrap();
        owner.replace(Box::new(new));
        assert!((0..4).all(|number| owner.with_flows().include(server(number))));
        while owner.table_before().is_some() {
            owner.follow(8, 0, |_| Some(0));
        }
        let having: Vec<bool> =
            (0..4).map(|number| owner.with_flows().include(server(number))).collect();
        assert_eq!(having, [false, true, false, false]);
    }
}
