//! Sticky tables that outlive the daemon: in files, and what is still of use in them.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::address::Address;
use crate::application_server::AsId;
use crate::bucket::{Entries, WAYS};
use crate::flow_key::{FlowKey, is_direct_word};
use crate::flow_tuple::FlowTuple;
use crate::huge_memory::HugeMemory;
use crate::instance_key::InstanceKey;
use crate::side_cells::Cell;
use crate::sticky::StickyTable;
use crate::sticky_owner::{StickyOwner, is_alive};
use crate::vip::VipId;

/// The files of a table, on tmpfs or hugetlbfs. Each may be empty: it then becomes as long as it
/// has to be. Only one process may have them.
#[derive(Clone, Copy, Debug)]
pub struct TableFiles<'a> {
    /// Of 64 bytes a bucket.
    pub buckets: &'a File,
    /// Of 160 bytes a bucket: the 5-tuples of flows whose key is more than a word.
    pub cells: &'a File,
}

/// Words in a file of tmpfs or hugetlbfs, which are there after the process.
#[derive(Debug)]
pub struct FileWords(HugeMemory<AtomicU64>);

impl FileWords {
    /// The first words of a file; one that is shorter gets longer, with zeros.
    ///
    /// # Errors
    ///
    /// When the file is longer, on a disk, or there is not the room.
    pub fn map(file: &File, words: usize) -> io::Result<Self> {
        HugeMemory::in_file(file, words).map(Self)
    }
}

impl Deref for FileWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0
    }
}

/// What became of the entries of a table that another process has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// They count from now on.
    pub kept: u64,
    /// Their time was over.
    pub expired: u64,
    /// Of an AS that there is not, or ended by a flush.
    pub dead: u64,
    /// What they say makes no sense: not written to the end, or not by us.
    pub torn: u64,
    /// The flow has another entry: one that was just being moved.
    pub duplicate: u64,
}

impl Stock {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            kept: self.kept + other.kept,
            expired: self.expired + other.expired,
            dead: self.dead + other.dead,
            torn: self.torn + other.torn,
            duplicate: self.duplicate + other.duplicate,
        }
    }
}

/// What is wrong with an entry.
enum Fault {
    Expired,
    Dead,
    Torn,
    Duplicate,
}

impl StickyOwner {
    /// Counts the entries that were left in a table's files, and frees those that are of no use.
    /// `owner_of` gives the VIP and the epoch of an AS. To be called once, before anything else.
    ///
    /// The time grows with the buckets and the flows: `cargo bench -p benches --bench balancer --
    /// stock` says how much a flow takes.
    pub fn take_stock(
        &mut self,
        now_s: u32,
        owner_of: impl Fn(AsId) -> Option<(VipId, u8)>,
    ) -> Stock {
        let mut stock = Stock::default();
        let table = Arc::clone(self.table());
        for index in 0..table.buckets() as u32 {
            let entries = table.entries(index);
            for way in 0..WAYS {
                let value = entries.bucket.value(way);
                if value.is_free() {
                    continue;
                }
                // Freeing takes it off the count, wrong ones too.
                let direct = is_direct_word(entries.bucket.word(way));
                table.live_flows().enter(value.as_id(), direct);
                let count = match fault(&table, &entries, (index, way), now_s, &owner_of) {
                    None => {
                        self.note_stray(entries.bucket.word(way), index);
                        stock.kept += 1;
                        continue;
                    }
                    Some(Fault::Expired) => &mut stock.expired,
                    Some(Fault::Dead) => &mut stock.dead,
                    Some(Fault::Torn) => &mut stock.torn,
                    Some(Fault::Duplicate) => &mut stock.duplicate,
                };
                *count += 1;
                self.free(entries.bucket, way);
            }
        }
        self.counted = true;
        stock
    }

    /// A [`sweep`](Self::sweep) that frees entries too whose flow is in one of `others`: of a table
    /// that only serves until its flows have gone elsewhere.
    pub fn sweep_followed(
        &mut self,
        budget_buckets: usize,
        now_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
        others: &[Arc<StickyTable>],
    ) -> usize {
        self.sweep_those(budget_buckets, |entries, way| {
            let (word, value) = (entries.bucket.word(way), entries.bucket.value(way));
            let key = entries.key(way);
            let is_current = |value: crate::FlowValue| is_alive(word, value, now_s, &epoch_of);
            !is_current(value)
                || others.iter().any(|other| other.lookup(&key, now_s).is_some_and(is_current))
        })
    }
}

/// Why an entry is of no use. Those before it in the table were looked at already.
fn fault(
    table: &StickyTable,
    entries: &Entries<'_>,
    (index, way): (u32, usize),
    now_s: u32,
    owner_of: &impl Fn(AsId) -> Option<(VipId, u8)>,
) -> Option<Fault> {
    let (word, value) = (entries.bucket.word(way), entries.bucket.value(way));
    let pair = table.buckets_of(word);
    let direct = is_direct_word(word);
    let cell = value.has_cell().then(|| entries.cell(way));
    let fits = match &cell {
        Some(cell) => cell_fits(table.instance(), word, cell),
        None => !direct,
    };
    if ![pair.first, pair.second].contains(&index) || !value.has_state() || !fits {
        return Some(Fault::Torn);
    }
    if !direct {
        match owner_of(value.as_id()) {
            None => return Some(Fault::Dead),
            Some((vip, _)) if u64::from(vip.get()) != word & 0xffff => return Some(Fault::Torn),
            Some((_, epoch)) if epoch != value.epoch() => return Some(Fault::Dead),
            Some(_) => {}
        }
    }
    if !value.is_live(now_s) {
        return Some(Fault::Expired);
    }
    let key = entries.key(way);
    let is_before = |bucket: u32, other: usize| (bucket, other) < (index, way);
    let twice = [pair.first, pair.second].into_iter().any(|bucket| {
        let entries = table.entries(bucket);
        (0..WAYS).any(|other| {
            is_before(bucket, other)
                && !entries.bucket.value(other).is_free()
                && entries.key(other) == key
        })
    });
    twice.then_some(Fault::Duplicate)
}

/// Whether a cell belongs to a key word: the word has a hash of what is in the cell.
fn cell_fits(instance: &InstanceKey, word: u64, cell: &Cell) -> bool {
    let v6 = cell_word::<Ipv6Addr>(instance, word, cell);
    let is_v4 = [cell.client, cell.address].iter().all(|bits| *bits <= u128::from(u32::MAX));
    word == v6 || is_v4 && word == cell_word::<Ipv4Addr>(instance, word, cell)
}

/// The key word of a cell's flow, of the VIP that `word` names.
fn cell_word<A: Address>(instance: &InstanceKey, word: u64, cell: &Cell) -> u64 {
    let tuple = FlowTuple {
        src: A::from_bits(cell.client),
        dst: A::from_bits(cell.address),
        src_port: cell.client_port,
        dst_port: cell.port,
        protocol: cell.protocol,
    };
    match VipId::new(word as u32 & 0xffff) {
        Some(vip) => FlowKey::end_word(instance, tuple.src, tuple.src_port, vip),
        None => FlowKey::direct(instance, &tuple).word(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_value::FlowValue;
    use crate::sticky_owner::NewEntry;
    use crate::tcp_state::FlowState;
    use std::path::PathBuf;

    /// Files of this test's own, removed with it.
    struct Scratch([(PathBuf, File); 2]);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(["buckets", "cells"].map(|kind| {
                let name = format!("/dev/shm/sluice-stock-{}-{name}-{kind}", std::process::id());
                let mut options = File::options();
                let file = options.read(true).write(true).create(true).truncate(true).open(&name);
                (name.into(), file.unwrap())
            }))
        }

        fn open(&self) -> StickyOwner {
            let files = TableFiles { buckets: &self.0[0].1, cells: &self.0[1].1 };
            StickyOwner::in_files(16, &files, instance(), SERVERS).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            self.0.iter().for_each(|(path, _)| drop(std::fs::remove_file(path)));
        }
    }

    const SERVERS: usize = 16;
    const NOW: u32 = 1000;

    fn instance() -> InstanceKey {
        InstanceKey::from_bytes([9; 32])
    }

    /// ASs 1 to 9 are of VIP 3 and have epoch 7.
    fn owner_of(id: AsId) -> Option<(VipId, u8)> {
        (1..10).contains(&id.get()).then(|| (VipId::new(3).unwrap(), 7))
    }

    /// Flows of every kind.
    fn key(n: u16) -> FlowKey {
        let vip = VipId::new(3).unwrap();
        let client = Ipv4Addr::new(10, 0, 0, 1);
        let v4 = FlowTuple {
            src: client,
            dst: Ipv4Addr::new(20, 0, 0, 1),
            src_port: n,
            dst_port: 80,
            protocol: 6,
        };
        let v6 = FlowTuple {
            src: Ipv6Addr::from(0x2001_0db8 << 96 | 7),
            dst: Ipv6Addr::from(0x2001_0db9 << 96 | 1),
            src_port: n,
            dst_port: 80,
            protocol: 17,
        };
        match n % 7 {
            0 => FlowKey::exact(client, n, vip),
            1 => FlowKey::tag(&instance(), &v4, vip),
            2 => FlowKey::full(&instance(), &v4, vip),
            3 => FlowKey::full(&instance(), &v6, vip),
            4 => FlowKey::direct(&instance(), &v4),
            6 => FlowKey::end(&instance(), &v6, vip),
            _ => FlowKey::direct(&instance(), &v6),
        }
    }

    fn insert(owner: &mut StickyOwner, key: &FlowKey, server: u32, epoch: u8, timeout_s: u32) {
        let direct = key.is_direct();
        let as_id = AsId::new(if direct { 0 } else { server }).unwrap();
        let entry = NewEntry {
            as_id,
            epoch: if direct { 0 } else { epoch },
            state: FlowState::Established,
            expiry_tick: (NOW + timeout_s) as u16,
        };
        let epoch_of = |id| owner_of(id).map(|(_, epoch)| epoch);
        owner.insert(key, entry, NOW, epoch_of).unwrap();
    }

    #[test]
    fn flows_of_every_kind_are_there_for_the_next_and_counted() {
        let scratch = Scratch::new("kept");
        let mut owner = scratch.open();
        let none = AsId::new(15).unwrap();
        assert!(!owner.with_flows().include(none), "the files are new");
        (0..30).for_each(|n| insert(&mut owner, &key(n), 1 + u32::from(n) % 9, 7, 100));
        let counts = |table: &StickyTable| -> Vec<u32> {
            let live = table.live_flows();
            let by_server = (0..SERVERS as u32).map(|n| live.of(AsId::new(n).unwrap()));
            by_server.chain([live.direct(), live.used()]).collect()
        };
        let before = counts(owner.table());
        let values: Vec<_> = (0..30).map(|n| owner.lookup(&key(n), NOW).unwrap()).collect();
        drop(owner);
        let mut owner = scratch.open();
        assert_eq!(owner.used(), 0, "not counted yet");
        assert!(owner.with_flows().include(none), "who knows");
        let stock = owner.take_stock(NOW + 50, owner_of);
        assert!(!owner.with_flows().include(none));
        assert_eq!(stock, Stock { kept: 30, ..Stock::default() });
        assert_eq!(counts(owner.table()), before);
        for (n, value) in values.iter().enumerate() {
            assert_eq!(owner.lookup(&key(n as u16), NOW + 50), Some(*value), "flow {n}");
        }
        // Time goes on.
        assert_eq!(owner.lookup(&key(0), NOW + 100), None);
    }

    #[test]
    fn what_is_over_is_freed_and_not_counted() {
        let scratch = Scratch::new("over");
        let mut owner = scratch.open();
        insert(&mut owner, &key(0), 1, 7, 100);
        insert(&mut owner, &key(6), 1, 7, 10);
        insert(&mut owner, &key(4), 0, 0, 10);
        insert(&mut owner, &key(2), 2, 6, 100);
        insert(&mut owner, &key(14), 11, 7, 100);
        drop(owner);
        let mut owner = scratch.open();
        let stock = owner.take_stock(NOW + 50, owner_of);
        assert_eq!(stock, Stock { kept: 1, expired: 2, dead: 2, ..Stock::default() });
        let live = owner.table().live_flows();
        assert_eq!((live.of(AsId::new(1).unwrap()), live.used(), live.direct()), (1, 1, 0));
        assert_eq!(owner.lookup(&key(0), NOW + 50).unwrap().as_id().get(), 1);
    }

    /// Everything about an entry that can be wrong: each is freed, and its neighbours stay.
    #[test]
    fn torn_entries_are_dropped() {
        type Damage = fn(&Entries<'_>, usize);
        fn other_word(entries: &Entries<'_>, way: usize) {
            let value = entries.bucket.value(way);
            let word = entries.bucket.word(way) ^ 1 << 40;
            entries.replace(way, &FlowKey::of_word::<Ipv4Addr>(word, None), value);
        }
        fn other_cell(entries: &Entries<'_>, way: usize) {
            let cell = Cell { client_port: 1, ..entries.cell(way) };
            entries.cells.store(entries.first_cell + way, &cell);
        }
        fn no_cell(entries: &Entries<'_>, way: usize) {
            entries.bucket.set_value(way, entries.bucket.value(way).with_cell(false));
        }
        fn a_cell(entries: &Entries<'_>, way: usize) {
            entries.bucket.set_value(way, entries.bucket.value(way).with_cell(true));
        }
        // (the flow, what is done to it)
        let cases: [(u16, Damage); 6] = [
            (0, other_word),
            (2, other_cell),
            (3, other_cell),
            (6, other_cell),
            (4, no_cell),
            (1, a_cell),
        ];
        for (n, damage) in cases {
            let scratch = Scratch::new("torn");
            let mut owner = scratch.open();
            (0..7).for_each(|n| insert(&mut owner, &key(n), 1, 7, 100));
            let (slot, _) = owner.find(&key(n)).unwrap();
            let entries = owner.table().entries(slot.bucket());
            let way = (0..WAYS).find(|way| entries.key(*way) == key(n)).unwrap();
            damage(&entries, way);
            drop(owner);
            let mut owner = scratch.open();
            let stock = owner.take_stock(NOW, owner_of);
            assert_eq!(stock, Stock { kept: 6, torn: 1, ..Stock::default() }, "flow {n}");
            assert_eq!(owner.used(), 6);
            let found = (0..7).filter(|m| owner.lookup(&key(*m), NOW).is_some()).count();
            assert_eq!(found, 6, "flow {n}");
        }
    }

    /// An AS of another VIP than the key says.
    #[test]
    fn an_entry_of_two_vips_is_torn() {
        let scratch = Scratch::new("vips");
        let mut owner = scratch.open();
        insert(&mut owner, &key(0), 1, 7, 100);
        drop(owner);
        let of_another = |_| Some((VipId::new(4).unwrap(), 7));
        let stock = scratch.open().take_stock(NOW, of_another);
        assert_eq!(stock, Stock { torn: 1, ..Stock::default() });
    }

    /// The process died between the two steps in which an entry moves.
    #[test]
    fn a_flow_that_is_there_twice_is_there_once() {
        for n in 0..7 {
            let scratch = Scratch::new("twice");
            let mut owner = scratch.open();
            insert(&mut owner, &key(n), 1, 7, 100);
            let (slot, value) = owner.find(&key(n)).unwrap();
            let pair = owner.table().bucket_of(&key(n));
            let other = if pair.first == slot.bucket() { pair.second } else { pair.first };
            let sequence = value.sequence().wrapping_add(1);
            let copy: FlowValue = value.with_sequence(sequence);
            owner.table().entries(other).replace(3, &key(n), copy);
            drop(owner);
            let mut owner = scratch.open();
            let stock = owner.take_stock(NOW, owner_of);
            assert_eq!(stock, Stock { kept: 1, duplicate: 1, ..Stock::default() });
            assert_eq!(owner.used(), 1);
            let (slot, _) = owner.find(&key(n)).unwrap();
            owner.remove(slot);
            assert_eq!(owner.find(&key(n)), None);
        }
    }

    /// A table that serves until its flows are elsewhere.
    #[test]
    fn flows_that_are_elsewhere_leave() {
        let scratch = Scratch::new("elsewhere");
        let mut orphan = scratch.open();
        (0..12).for_each(|n| insert(&mut orphan, &key(n), 1, 7, 100));
        let mut own = StickyOwner::new(16, instance(), SERVERS).unwrap();
        (0..6).for_each(|n| insert(&mut own, &key(n), 2, 7, 200));
        // Of no use there: the orphan's stays.
        insert(&mut own, &key(6), 2, 6, 200);
        let epoch_of = |id| owner_of(id).map(|(_, epoch)| epoch);
        let others = [Arc::clone(own.table())];
        assert_eq!(orphan.sweep_followed(16, NOW, epoch_of, &others), 6);
        assert_eq!(orphan.used(), 6);
        assert!((6..12).all(|n| orphan.lookup(&key(n), NOW).is_some()));
        assert_eq!(orphan.sweep_followed(16, NOW + 100, epoch_of, &others), 6);
        assert_eq!(orphan.used(), 0);
    }
}
