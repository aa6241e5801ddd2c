//! One bucket of a sticky table: four entries in one cache line.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::flow_key::FlowKey;
use crate::flow_value::FlowValue;

/// Entries in a bucket.
pub(crate) const WAYS: usize = 4;

/// Keys first, so that four can be compared at once; a bucket is exactly one cache line.
///
/// One thread writes, any thread reads. A writer that replaces a key frees the value before and
/// gives the new value another sequence; a reader takes value, key, value and believes only an
/// unchanged value, so it never joins the key of one flow with the value of another.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Bucket {
    keys: [AtomicU64; WAYS],
    values: [AtomicU64; WAYS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64 && align_of::<Bucket>() == 64);

impl Bucket {
    pub(crate) fn new() -> Self {
        Self {
            keys: std::array::from_fn(|_| AtomicU64::new(0)),
            values: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The value of a flow, for any thread.
    pub(crate) fn read(&self, key: FlowKey) -> Option<FlowValue> {
        self.keys.iter().zip(&self.values).find_map(|(word, value)| {
            if word.load(Ordering::Relaxed) != key.word() {
                return None;
            }
            let before = value.load(Ordering::Acquire);
            let word = word.load(Ordering::Relaxed);
            // Whoever sees a new key here sees below that the old value was freed.
            fence(Ordering::Acquire);
            let after = value.load(Ordering::Relaxed);
            let value = FlowValue::from_word(before);
            (before == after && word == key.word() && matches(key, value)).then_some(value)
        })
    }

    /// The position and value of a flow, for the writer.
    pub(crate) fn find(&self, key: FlowKey) -> Option<(usize, FlowValue)> {
        (0..WAYS).find_map(|way| {
            if self.keys[way].load(Ordering::Relaxed) != key.word() {
                return None;
            }
            let value = self.value(way);
            matches(key, value).then_some((way, value))
        })
    }

    /// The key word in a position, for the writer; meaningless when the value is free.
    pub(crate) fn word(&self, way: usize) -> u64 {
        self.keys[way].load(Ordering::Relaxed)
    }

    /// The value in a position, for the writer.
    pub(crate) fn value(&self, way: usize) -> FlowValue {
        FlowValue::from_word(self.values[way].load(Ordering::Relaxed))
    }

    /// Changes the value of the flow in a position. Only for the writer.
    pub(crate) fn set_value(&self, way: usize, value: FlowValue) {
        // Release, as a reader may meet the flow by this value first and needs the key then.
        self.values[way].store(value.word(), Ordering::Release);
    }

    /// Puts another flow into a position. Only for the writer.
    pub(crate) fn replace(&self, way: usize, key: FlowKey, value: FlowValue) {
        self.values[way].store(FlowValue::free(value.sequence()).word(), Ordering::Relaxed);
        fence(Ordering::Release);
        self.keys[way].store(key.word(), Ordering::Relaxed);
        self.values[way].store(value.word(), Ordering::Release);
    }
}

/// Whether an entry whose key word is `key`'s belongs to it.
fn matches(key: FlowKey, value: FlowValue) -> bool {
    !value.is_free() && (!key.is_direct() || value.as_id().get() == key.tag())
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::application_server::AsId;
    use crate::tcp_state::FlowState;
    use crate::vip::VipId;
    use loom::sync::Arc;
    use std::net::Ipv4Addr;

    fn flow(n: u16) -> (FlowKey, FlowValue) {
        let as_id = AsId::new(u32::from(n)).unwrap();
        let key = FlowKey::vip(Ipv4Addr::LOCALHOST, n, VipId::new(0).unwrap());
        (key, FlowValue::new(as_id, 0, FlowState::Udp, 0, n))
    }

    /// In every interleaving and with every reordering that the orderings allow, a reader gets a
    /// flow's own AS or nothing. Run with `RUSTFLAGS="--cfg loom"`.
    #[test]
    fn a_reader_gets_a_flow_s_own_value_or_none() {
        loom::model(|| {
            let bucket = Arc::new(Bucket::new());
            let flows = [1, 2].map(flow);
            bucket.replace(0, flows[0].0, flows[0].1);
            let writer = {
                let bucket = Arc::clone(&bucket);
                loom::thread::spawn(move || {
                    bucket.set_value(0, flows[0].1.refreshed(FlowState::Udp, 9));
                    bucket.replace(0, flows[1].0, flows[1].1);
                })
            };
            for (key, value) in flows {
                if let Some(read) = bucket.read(key) {
                    assert_eq!(read.as_id(), value.as_id());
                }
            }
            writer.join().unwrap();
            assert_eq!(bucket.read(flows[1].0), Some(flows[1].1));
            assert_eq!(bucket.read(flows[0].0), None);
        });
    }
}
