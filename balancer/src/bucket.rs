//! One bucket of a sticky table: four entries in one cache line.

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

const _: () = assert!(size_of::<Bucket>() == 64 && align_of::<Bucket>() == 64);

impl Bucket {
    pub(crate) const fn new() -> Self {
        Self {
            keys: [const { AtomicU64::new(0) }; WAYS],
            values: [const { AtomicU64::new(0) }; WAYS],
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
