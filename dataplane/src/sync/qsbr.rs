//! Publication of immutable values with quiescent-state-based reclamation.
//!
//! Control publishes; each worker reads the present value once per turn and, between turns, when
//! it holds no reference, stores the version it has seen. A retired value is dropped by control, on
//! control's thread, once every reader has reported a version at least as new as its successor's.
//! A read costs one acquire load, a quiescent point one load and one release store.
//!
//! Why it is right: `publish` stores the pointer before the version. A reader that reports version
//! *v* has loaded *v* with acquire order after its last use of an older value, so its next load of
//! the pointer yields the value of *v* or a newer one.

use super::{Arc, AtomicPtr, AtomicU64, Ordering};

/// What a reader that does not take part (not started, or dropped) reports.
const OFFLINE: u64 = u64::MAX;

struct Shared<T> {
    current: AtomicPtr<T>,
    version: AtomicU64,
    /// The version each reader has reported.
    seen: Box<[crossbeam::utils::CachePadded<AtomicU64>]>,
}

/// The writing side; control owns it.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    retired: Vec<(u64, *mut T)>,
    /// Readers not handed out yet.
    unclaimed: usize,
}

// SAFETY: the raw pointers are owned boxes of `T`, dropped on whichever thread owns the publisher,
// and readers on other threads get `&T`.
unsafe impl<T: Send + Sync> Send for Publisher<T> {}

impl<T: Send + Sync> Publisher<T> {
    /// Publishes `value` as version 1 to `readers` readers.
    pub fn new(value: Box<T>, readers: usize) -> Self {
        let seen =
            (0..readers).map(|_| crossbeam::utils::CachePadded::new(AtomicU64::new(OFFLINE)));
        let shared = Shared {
            current: AtomicPtr::new(Box::into_raw(value)),
            version: AtomicU64::new(1),
            seen: seen.collect(),
        };
        Self { shared: Arc::new(shared), retired: Vec::new(), unclaimed: readers }
    }

    /// The next reader, or `None` when all are handed out.
    pub fn reader(&mut self) -> Option<Reader<T>> {
        let slot = self.unclaimed.checked_sub(1)?;
        self.unclaimed = slot;
        // Online from here on: nothing published from now on is reclaimed under this reader.
        self.shared.seen[slot].store(self.shared.version.load(Ordering::Acquire), Ordering::SeqCst);
        Some(Reader { shared: Arc::clone(&self.shared), slot })
    }

    /// The present value.
    pub fn current(&self) -> &T {
        // SAFETY: only `publish` and `drop`, both `&mut self`, retire the present value.
        unsafe { &*self.shared.current.load(Ordering::Acquire) }
    }

    /// The number of the present value, from 1.
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// The version that every reader has reported at least: what it takes up next is that or newer.
    pub fn adopted(&self) -> u64 {
        let seen = self.shared.seen.iter().map(|seen| seen.load(Ordering::SeqCst));
        seen.min().unwrap_or(OFFLINE)
    }

    /// Makes `value` the present one and drops whatever no reader can still hold.
    pub fn publish(&mut self, value: Box<T>) {
        let old = self.shared.current.swap(Box::into_raw(value), Ordering::SeqCst);
        let version = self.shared.version.load(Ordering::Relaxed) + 1;
        self.shared.version.store(version, Ordering::SeqCst);
        self.retired.push((version, old));
        self.reclaim();
    }

    /// Drops retired values that every reader has left; returns how many are still held.
    pub fn reclaim(&mut self) -> usize {
        let oldest = self.adopted();
        self.retired.retain(|(version, value)| {
            if *version > oldest {
                return true;
            }
            // SAFETY: the box came from `publish`; every reader has reported the version that
            // replaced it, so none holds or can obtain a reference to it.
            drop(unsafe { Box::from_raw(*value) });
            false
        });
        self.retired.len()
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        let online = self.shared.seen.iter().any(|s| s.load(Ordering::SeqCst) != OFFLINE);
        if online {
            // A reader outlives us (a worker that would not stop): leaking is the safe choice.
            return;
        }
        for (_, value) in self.retired.drain(..) {
            // SAFETY: no reader is online, so nobody holds a reference.
            drop(unsafe { Box::from_raw(value) });
        }
        // SAFETY: as above; the present value is dropped once, here.
        drop(unsafe { Box::from_raw(self.shared.current.load(Ordering::SeqCst)) });
    }
}

/// The reading side; one worker owns it.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    slot: usize,
}

// SAFETY: a reader hands out `&T` on its thread only, and `T` is `Sync`.
unsafe impl<T: Send + Sync> Send for Reader<T> {}

impl<T: Send + Sync> Reader<T> {
    /// The present value. The borrow ends before [`Self::quiesce`] can be called.
    #[inline]
    pub fn current(&self) -> &T {
        // SAFETY: the value is not dropped before this reader reports a newer version, which takes
        // `&mut self` and hence the end of this borrow.
        unsafe { &*self.shared.current.load(Ordering::Acquire) }
    }

    /// Reports that no reference is held. Call it between turns.
    #[inline]
    pub fn quiesce(&mut self) {
        let version = self.shared.version.load(Ordering::Acquire);
        self.shared.seen[self.slot].store(version, Ordering::Release);
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.shared.seen[self.slot].store(OFFLINE, Ordering::SeqCst);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counted<'a>(u32, &'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_held_value_is_dropped_only_after_the_quiescent_point() {
        let drops = AtomicUsize::new(0);
        let mut publisher = Publisher::new(Box::new(Counted(1, &drops)), 1);
        let mut reader = publisher.reader().unwrap();
        assert!(publisher.reader().is_none());
        let held = reader.current();
        publisher.publish(Box::new(Counted(2, &drops)));
        assert_eq!((held.0, drops.load(Ordering::SeqCst)), (1, 0));
        assert_eq!((publisher.version(), publisher.adopted()), (2, 1));
        reader.quiesce();
        assert_eq!((publisher.version(), publisher.adopted()), (2, 2));
        assert_eq!(publisher.reclaim(), 0);
        assert_eq!((reader.current().0, drops.load(Ordering::SeqCst)), (2, 1));
        drop(reader);
        drop(publisher);
        assert_eq!(drops.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn threads_never_see_a_dropped_value() {
        // Each value is a pair of equal numbers; a use after free would show unequal ones.
        let mut publisher = Publisher::new(Box::new((0_u64, 0_u64)), 2);
        let readers: Vec<_> = (0..2).map(|_| publisher.reader().unwrap()).collect();
        std::thread::scope(|scope| {
            for mut reader in readers {
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 20_000 {
                        let (a, b) = *reader.current();
                        assert!(a == b && a >= last);
                        last = a;
                        reader.quiesce();
                    }
                });
            }
            for n in 1..=20_000 {
                publisher.publish(Box::new((n, n)));
            }
        });
        assert_eq!(publisher.reclaim(), 0);
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::cell::UnsafeCell;

    use super::*;

    /// Readers read the cell and its drop writes it, so that loom reports a drop under a reader.
    struct Watched(UnsafeCell<u32>);

    // SAFETY: that no write races with a read is what the model checks.
    unsafe impl Sync for Watched {}

    impl Watched {
        fn boxed(value: u32) -> Box<Self> {
            Box::new(Self(UnsafeCell::new(value)))
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            self.0.with_mut(|_| ());
        }
    }

    /// The protocol of sticky tables that replace others: control publishes a snapshot that has the
    /// new table (2), waits until all workers have adopted it, and only then tells one to use it.
    /// Whoever learns of what is in the new table has a snapshot with it.
    #[test]
    fn what_is_announced_is_known_to_all_before_anybody_uses_it() {
        use loom::sync::atomic::AtomicBool;
        let mut model = loom::model::Builder::new();
        // With three threads, every interleaving is too many; few errors take more changes than these.
        model.preemption_bound = Some(3);
        model.check(|| {
            let mut publisher = Publisher::new(Watched::boxed(1), 2);
            let [mut one, mut other] = [0, 1].map(|_| publisher.reader().unwrap());
            let request = Arc::new(AtomicBool::new(false));
            let used = Arc::new(AtomicBool::new(false));
            let first = {
                let (request, used) = (Arc::clone(&request), Arc::clone(&used));
                loom::thread::spawn(move || {
                    one.quiesce();
                    // The mailbox.
                    if request.load(Ordering::Acquire) {
                        used.store(true, Ordering::Release);
                    }
                })
            };
            let second = loom::thread::spawn(move || {
                // A packet about a flow in the table arrives, before this turn begins.
                let is_used = used.load(Ordering::Acquire);
                // SAFETY: nobody writes a value that a reader can reach; loom checks it.
                let value = other.current().0.with(|value| unsafe { *value });
                assert!(!is_used || value == 2);
                other.quiesce();
            });
            publisher.publish(Watched::boxed(2));
            if publisher.adopted() >= publisher.version() {
                request.store(true, Ordering::Release);
            }
            first.join().unwrap();
            second.join().unwrap();
        });
    }

    #[test]
    fn no_reader_ever_holds_a_reclaimed_value() {
        loom::model(|| {
            let mut publisher = Publisher::new(Watched::boxed(1), 1);
            let mut reader = publisher.reader().unwrap();
            let worker = loom::thread::spawn(move || {
                for _ in 0..2 {
                    // SAFETY: nobody writes a value that a reader can reach; loom checks it.
                    let value = reader.current().0.with(|value| unsafe { *value });
                    assert!(value == 1 || value == 2);
                    reader.quiesce();
                }
            });
            publisher.publish(Watched::boxed(2));
            publisher.reclaim();
            worker.join().unwrap();
            assert_eq!(publisher.reclaim(), 0);
        });
    }
}
