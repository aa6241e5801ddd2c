//! [`Directory`]: a map whose copies share what they have in common.
//!
//! As [`Shelf`](super::Shelf), for what is looked up by name: a copy costs one reference for each
//! of 256 parts, and a change copies one part.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

/// Parts of a directory.
const PARTS: usize = 256;

type Part<K, V> = HashMap<K, V>;

/// A map.
#[derive(Clone, Debug)]
pub struct Directory<K, V> {
    parts: Box<[Arc<Part<K, V>>]>,
}

impl<K, V> Default for Directory<K, V> {
    fn default() -> Self {
        let part = Arc::new(Part::new());
        Self { parts: vec![part; PARTS].into() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Directory<K, V> {
    /// The part of a key. What is in a directory comes from the configuration, so the hash needs no
    /// secret.
    fn part(key: &K) -> usize {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        hasher.hash_one(key) as usize % PARTS
    }

    /// What a key stands for.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.parts[Self::part(key)].get(key)
    }

    /// Changes what a key stands for; `None` is nothing, before and after.
    pub fn change(&mut self, key: &K, change: impl FnOnce(Option<V>) -> Option<V>) {
        let part = Arc::make_mut(&mut self.parts[Self::part(key)]);
        if let Some(value) = change(part.remove(key)) {
            part.insert(key.clone(), value);
        }
    }

    /// All keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.parts.iter().flat_map(|part| part.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_part_company_only_where_they_differ() {
        let mut directory = Directory::default();
        (0..1000).for_each(|key: u32| directory.change(&key, |_| Some(key * 2)));
        let earlier = directory.clone();
        directory.change(&7, |value| value.map(|value| value + 1));
        directory.change(&8, |_| None);
        directory.change(&2000, |value| value);
        assert_eq!(
            [7, 8, 9, 2000].map(|key| directory.get(&key).copied()),
            [Some(15), None, Some(18), None]
        );
        assert_eq!([7, 8, 9].map(|key| earlier.get(&key).copied()), [Some(14), Some(16), Some(18)]);
        assert_eq!((directory.keys().count(), earlier.keys().count()), (999, 1000));
        let shared = directory.parts.iter().zip(&earlier.parts).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert!(shared.count() >= PARTS - 3);
    }
}
