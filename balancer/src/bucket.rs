//! One bucket of a sticky table: four entries in one cache line.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use std::hint::select_unpredictable;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::flow_key::{FlowKey, Wanted};
use crate::flow_value::FlowValue;
#[cfg(all(not(loom), target_feature = "avx2"))]
use crate::flow_value::{EXPIRY_TO_TOP, STATE_BITS};
use crate::side_cells::{Cell, SideCells};

/// Entries in a bucket.
pub(crate) const WAYS: usize = 4;

/// How often an entry is read again that changes meanwhile.
const READ_ATTEMPTS: usize = 4;

/// A position for another flow in a bucket, or none. In one byte, as bursts have many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room(u8);

impl Room {
    /// There is none.
    pub const NONE: Self = Self(WAYS as u8);

    /// Whether there is one.
    #[inline(always)]
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.0 < Self::NONE.0
    }

    #[inline(always)]
    pub(crate) fn way(self) -> Option<usize> {
        self.is_any().then_some(usize::from(self.0))
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::NONE
    }
}

/// Keys first, so that four can be compared at once; a bucket is exactly one cache line.
///
/// One thread writes, any thread reads. A writer that replaces a key frees the value before and
/// gives the new value another sequence; a reader takes value, key, value and believes only values of
/// one sequence, so it never joins the key of one flow with the value of another. The cell of an
/// entry is a part of its key and is written and read where the key is.
#[repr(C, align(64))]
#[derive(Debug)]
#[cfg_attr(not(loom), derive(zerocopy::FromBytes))]
pub(crate) struct Bucket {
    keys: [AtomicU64; WAYS],
    values: [AtomicU64; WAYS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64 && align_of::<Bucket>() == 64);

impl Bucket {
    /// An empty bucket; all zero bytes are one as well.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self {
            keys: std::array::from_fn(|_| AtomicU64::new(0)),
            values: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The key word in a position, for the writer; meaningless when the value is free.
    #[inline(always)]
    pub(crate) fn word(&self, way: usize) -> u64 {
        self.keys[way].load(Ordering::Relaxed)
    }

    /// The positions with this key word as bits, for the writer; some may be free. No branch
    /// depends on where it is, which differs from flow to flow.
    #[cfg(all(not(loom), target_feature = "avx2"))]
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn ways(&self, word: u64) -> u32 {
        use std::arch::x86_64::{
            __m256i, _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_load_si256,
            _mm256_movemask_pd, _mm256_set1_epi64x,
        };
        // SAFETY: the instructions are there, or this is not compiled. The keys are 32 bytes at the
        // start of a bucket, which is aligned to 64; only the table's owner writes keys, and it is
        // the one who calls this, so nobody writes meanwhile.
        unsafe {
            let keys = _mm256_load_si256(self.keys.as_ptr().cast::<__m256i>());
            let equal = _mm256_cmpeq_epi64(keys, _mm256_set1_epi64x(word as i64));
            _mm256_movemask_pd(_mm256_castsi256_pd(equal)) as u32
        }
    }

    /// The same without AVX2, and for the model checker.
    #[cfg(any(loom, not(target_feature = "avx2")))]
    pub(crate) fn ways(&self, word: u64) -> u32 {
        (0..WAYS).fold(0, |ways, way| ways | u32::from(self.word(way) == word) << way)
    }

    /// A position for another flow, for the writer: the first that is free, else the first that has
    /// expired.
    #[inline(always)]
    pub(crate) fn room(&self, now_s: u32) -> Room {
        let (free, live) = self.free_and_live(now_s);
        // Without branches, as nobody can tell which it is.
        let ways = select_unpredictable(free != 0, free, !live);
        Room((ways | 1 << WAYS).trailing_zeros() as u8)
    }

    /// The positions that are free, as bits, and those that have not expired, of which some may be
    /// free. Without branches, as [`ways`](Self::ways).
    #[cfg(all(not(loom), target_feature = "avx2"))]
    #[inline]
    #[allow(unsafe_code)]
    fn free_and_live(&self, now_s: u32) -> (u32, u32) {
        use std::arch::x86_64::{
            __m256i, _mm256_and_si256, _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_cmpgt_epi64,
            _mm256_load_si256, _mm256_movemask_pd, _mm256_set1_epi64x, _mm256_setzero_si256,
            _mm256_slli_epi64, _mm256_sub_epi64,
        };
        let now = i64::from(now_s as u16) << 48;
        // SAFETY: the instructions are there, or this is not compiled. The values are 32 bytes in the
        // second half of a bucket, which is aligned to 64; only the table's owner writes values, and
        // it is the one who calls this, so nobody writes meanwhile.
        unsafe {
            let values = _mm256_load_si256(self.values.as_ptr().cast::<__m256i>());
            let states = _mm256_and_si256(values, _mm256_set1_epi64x(STATE_BITS as i64));
            let free = _mm256_cmpeq_epi64(states, _mm256_setzero_si256());
            // At the top what is left, modulo 2^16 s; what is below it makes no whole second.
            let expiry = _mm256_slli_epi64::<EXPIRY_TO_TOP>(values);
            let left = _mm256_sub_epi64(expiry, _mm256_set1_epi64x(now));
            let live = _mm256_cmpgt_epi64(left, _mm256_set1_epi64x((1 << 48) - 1));
            let bits = |ways| _mm256_movemask_pd(_mm256_castsi256_pd(ways)) as u32;
            (bits(free), bits(live))
        }
    }

    /// The same without AVX2, and for the model checker.
    #[cfg(any(loom, not(target_feature = "avx2")))]
    fn free_and_live(&self, now_s: u32) -> (u32, u32) {
        (0..WAYS).fold((0, 0), |(free, live), way| {
            let value = self.value(way);
            (
                free | u32::from(value.is_free()) << way,
                live | u32::from(value.is_live(now_s)) << way,
            )
        })
    }

    /// The value in a position, for the writer.
    #[inline(always)]
    pub(crate) fn value(&self, way: usize) -> FlowValue {
        FlowValue::from_word(self.values[way].load(Ordering::Relaxed))
    }

    /// Changes the value of the flow in a position. Only for the writer.
    #[inline(always)]
    pub(crate) fn set_value(&self, way: usize, value: FlowValue) {
        // Release, as a reader may meet the flow by this value first and needs the key then.
        self.values[way].store(value.word(), Ordering::Release);
    }
}

/// A bucket with the cells of its entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) cells: &'a SideCells,
    /// The number of the bucket's first cell.
    pub(crate) first_cell: usize,
}

impl Entries<'_> {
    /// What is wanted, for any thread.
    pub(crate) fn read<W: Wanted>(&self, wanted: &W) -> Option<W::Found> {
        let Bucket { keys, values } = self.bucket;
        keys.iter().zip(values).enumerate().find_map(|(way, (word, value))| {
            if word.load(Ordering::Relaxed) != wanted.word() {
                return None;
            }
            let before = FlowValue::from_word(value.load(Ordering::Acquire));
            if before.is_free() {
                return None;
            }
            let word = word.load(Ordering::Relaxed);
            let found = wanted.judge(before, || self.cells.load(self.first_cell + way));
            // Whoever sees a new key or cell above sees below that the old value was freed.
            fence(Ordering::Acquire);
            // Acquire, as a flow that has left is to be found where it went before.
            let after = value.load(Ordering::Acquire);
            let after = FlowValue::from_word(after);
            // The same flow, though it may have changed its state or expiry meanwhile.
            let is_same = !after.is_free() && after.sequence() == before.sequence();
            found.filter(|_| is_same && word == wanted.word())
        })
    }

    /// The key and value in a position, for any thread; `None` when it is free or is being written.
    pub(crate) fn entry(&self, way: usize) -> Option<(FlowKey, FlowValue)> {
        let Bucket { keys, values } = self.bucket;
        // A packet of the flow may renew the value at any time, hardly ever several times in a row.
        (0..READ_ATTEMPTS)
            .find_map(|_| {
                let before = FlowValue::from_word(values[way].load(Ordering::Acquire));
                let word = keys[way].load(Ordering::Relaxed);
                let load = || self.cells.load(self.first_cell + way);
                let key = FlowKey::from_entry(word, before, load);
                fence(Ordering::Acquire);
                let same = before.word() == values[way].load(Ordering::Relaxed);
                same.then_some((key, before))
            })
            .filter(|(_, value)| !value.is_free())
    }

    /// The position of what is wanted, for the writer.
    #[inline]
    pub(crate) fn find<W: Wanted>(&self, wanted: &W) -> Option<(usize, W::Found)> {
        (0..WAYS).find_map(|way| {
            if self.bucket.word(way) != wanted.word() {
                return None;
            }
            let value = self.bucket.value(way);
            if value.is_free() {
                return None;
            }
            Some((way, wanted.judge(value, || self.cells.load(self.first_cell + way))?))
        })
    }

    /// The cell of a position, for the writer; meaningless when its value says that it has none.
    #[inline]
    pub(crate) fn cell(&self, way: usize) -> Cell {
        self.cells.load(self.first_cell + way)
    }

    /// The key in a position, for the writer; meaningless when the value is free.
    pub(crate) fn key(&self, way: usize) -> FlowKey {
        let load = || self.cells.load(self.first_cell + way);
        FlowKey::from_entry(self.bucket.word(way), self.bucket.value(way), load)
    }

    /// Puts another flow into a position. Only for the writer.
    #[inline(always)]
    pub(crate) fn replace(&self, way: usize, key: &FlowKey, value: FlowValue) {
        let value = value.with_cell(key.cell().is_some());
        let Bucket { keys, values } = self.bucket;
        values[way].store(FlowValue::free(value.sequence()).word(), Ordering::Relaxed);
        fence(Ordering::Release);
        keys[way].store(key.word(), Ordering::Relaxed);
        if let Some(cell) = key.cell() {
            self.cells.store(self.first_cell + way, cell);
        }
        values[way].store(value.word(), Ordering::Release);
    }

    /// Moves the flow in a position of another bucket here, into a vacant position. Only for the
    /// writer.
    ///
    /// There are two of it before there is one: whoever looks into both buckets finds it, except in
    /// the moment when it is not here yet as he looks here and not there any more as he looks there.
    pub(crate) fn adopt(&self, way: usize, source: &Entries<'_>, from: usize) {
        let (key, value) = (source.key(from), source.bucket.value(from));
        let sequence = self.bucket.value(way).sequence().wrapping_add(1);
        self.replace(way, &key, value.with_sequence(sequence));
        source.bucket.set_value(from, FlowValue::free(value.sequence()));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::application_server::AsId;
    use crate::tcp_state::FlowState;

    /// Each way free, live or expired, around the wrap of expiry.
    #[test]
    fn room_is_free_or_else_expired() {
        let id = AsId::new((1 << 20) - 1).unwrap();
        for (now_s, mixed) in [0u32, 39, 65_535, 65_536, u32::MAX]
            .into_iter()
            .flat_map(|now_s| (0..5usize.pow(WAYS as u32)).map(move |mixed| (now_s, mixed)))
        {
            let values: [FlowValue; WAYS] = std::array::from_fn(|way| {
                let expiry = |left: i32| now_s.wrapping_add_signed(left) as u16;
                let occupied = |left, sequence| {
                    FlowValue::new(id, 255, FlowState::Other, expiry(left), sequence)
                };
                match mixed / 5usize.pow(way as u32) % 5 {
                    0 => FlowValue::free(0x7fff),
                    1 => occupied(1, 0),
                    2 => occupied(32_767, 0x7fff),
                    3 => occupied(0, 0x7fff),
                    _ => occupied(-32_768, 0),
                }
            });
            let keys = std::array::from_fn(|_| AtomicU64::new(0));
            let bucket = Bucket { keys, values: values.map(|value| AtomicU64::new(value.word())) };
            let free = values.iter().position(|value| value.is_free());
            let expired = values.iter().position(|value| !value.is_live(now_s));
            assert_eq!(bucket.room(now_s).way(), free.or(expired), "{values:?} {now_s}");
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::application_server::AsId;
    use crate::flow_tuple::FlowTuple;
    use crate::instance_key::InstanceKey;
    use crate::tcp_state::FlowState;
    use crate::vip::VipId;
    use loom::sync::Arc;
    use std::net::Ipv4Addr;

    struct Table {
        bucket: Bucket,
        cells: SideCells,
    }

    impl Table {
        fn new() -> Arc<Self> {
            Arc::new(Self { bucket: Bucket::new(), cells: SideCells::new(WAYS).unwrap() })
        }

        fn entries(&self) -> Entries<'_> {
            Entries { bucket: &self.bucket, cells: &self.cells, first_cell: 0 }
        }
    }

    fn value(n: u16) -> FlowValue {
        FlowValue::new(AsId::new(u32::from(n)).unwrap(), 0, FlowState::Udp, 0, n)
    }

    fn exact(n: u16) -> (FlowKey, FlowValue) {
        (FlowKey::exact(Ipv4Addr::LOCALHOST, n, VipId::new(0).unwrap()), value(n))
    }

    /// All have the same key word; only the cells tell them apart.
    fn full(n: u16) -> (FlowKey, FlowValue) {
        let tuple = FlowTuple {
            src: Ipv4Addr::UNSPECIFIED,
            dst: Ipv4Addr::from(u32::from(n)),
            src_port: 7,
            dst_port: n,
            protocol: 6,
        };
        let instance = InstanceKey::from_bytes([1; 32]);
        (FlowKey::full(&instance, &tuple, VipId::new(0).unwrap()), value(n).with_cell(true))
    }

    /// In every interleaving and with every reordering that the orderings allow, a reader gets a
    /// flow's own AS or nothing. Run by `./test.sh loom`.
    fn a_reader_gets_a_flow_s_own_value_or_none(flows: [(FlowKey, FlowValue); 2]) {
        // One question at a time: two in a row would square what there is to try.
        for (key, value) in flows {
            loom::model(move || {
                let table = Table::new();
                table.entries().replace(0, &flows[0].0, flows[0].1);
                let writer = {
                    let table = Arc::clone(&table);
                    loom::thread::spawn(move || {
                        table.bucket.set_value(0, flows[0].1.refreshed(FlowState::Udp, 9));
                        table.entries().replace(0, &flows[1].0, flows[1].1);
                    })
                };
                if let Some(read) = table.entries().read(&key) {
                    assert_eq!(read.as_id(), value.as_id());
                }
                writer.join().unwrap();
                assert_eq!(table.entries().read(&flows[1].0), Some(flows[1].1));
                assert_eq!(table.entries().read(&flows[0].0), None);
            });
        }
    }

    /// The same for a flow that is moved to make place for another, and for the other.
    fn a_reader_gets_the_value_of_a_flow_that_moves_or_none(flows: [(FlowKey, FlowValue); 2]) {
        for (key, value) in flows {
            loom::model(move || {
                let tables = [Table::new(), Table::new()];
                tables[0].entries().replace(0, &flows[0].0, flows[0].1);
                let writer = {
                    let [from, to] = tables.clone();
                    loom::thread::spawn(move || {
                        to.entries().adopt(0, &from.entries(), 0);
                        from.entries().replace(0, &flows[1].0, flows[1].1);
                    })
                };
                let read = tables.iter().find_map(|table| table.entries().read(&key));
                if let Some(read) = read {
                    assert_eq!(read.as_id(), value.as_id());
                }
                writer.join().unwrap();
                let as_id = |at: usize, flow: usize| {
                    tables[at].entries().read(&flows[flow].0).map(FlowValue::as_id)
                };
                assert_eq!(as_id(1, 0), Some(flows[0].1.as_id()));
                assert_eq!(as_id(0, 1), Some(flows[1].1.as_id()));
                assert_eq!((as_id(0, 0), as_id(1, 1)), (None, None));
            });
        }
    }

    /// A flow that moves to another table is found at every moment by whoever looks into the old one
    /// first.
    fn a_flow_that_leaves_a_table_is_never_missed((key, value): (FlowKey, FlowValue)) {
        loom::model(move || {
            let tables = [Table::new(), Table::new()];
            tables[0].entries().replace(0, &key, value);
            let writer = {
                let [old, new] = tables.clone();
                loom::thread::spawn(move || {
                    new.entries().replace(0, &key, value.with_sequence(7));
                    old.bucket.set_value(0, FlowValue::free(value.sequence()));
                })
            };
            let read = tables.iter().find_map(|table| table.entries().read(&key));
            assert_eq!(read.map(FlowValue::as_id), Some(value.as_id()));
            writer.join().unwrap();
        });
    }

    #[test]
    fn by_words_of_flows_that_leave_a_table() {
        a_flow_that_leaves_a_table_is_never_missed(exact(1));
    }

    #[test]
    fn by_cells_of_flows_that_leave_a_table() {
        a_flow_that_leaves_a_table_is_never_missed(full(1));
    }

    #[test]
    fn by_words_of_flows_that_move() {
        a_reader_gets_the_value_of_a_flow_that_moves_or_none([1, 2].map(exact));
    }

    #[test]
    fn by_cells_of_flows_that_move() {
        a_reader_gets_the_value_of_a_flow_that_moves_or_none([1, 2].map(full));
    }

    #[test]
    fn by_words() {
        a_reader_gets_a_flow_s_own_value_or_none([1, 2].map(exact));
    }

    #[test]
    fn by_cells() {
        a_reader_gets_a_flow_s_own_value_or_none([1, 2].map(full));
    }

    #[test]
    fn by_cells_after_words() {
        a_reader_gets_a_flow_s_own_value_or_none([exact(1), full(2)]);
    }

    #[test]
    fn by_words_after_cells() {
        a_reader_gets_a_flow_s_own_value_or_none([full(1), exact(2)]);
    }
}
