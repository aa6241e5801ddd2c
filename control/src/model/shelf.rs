//! [`Shelf`]: things by index, cheap to copy and to compare with an earlier copy.
//!
//! A transaction works on a copy of the model. With ten thousand VIPs, a copy of a map with one
//! reference each would cost more than all that a command does; here it costs one reference for
//! each 64, and what two copies have in common is passed over when they are compared.

use std::sync::Arc;

/// Things that share a part of the memory.
const BAY: usize = 64;

type Bay<T> = [Option<Arc<T>>; BAY];

/// Things by index; indices are dense, from 0.
#[derive(Debug)]
pub struct Shelf<T> {
    bays: Vec<Arc<Bay<T>>>,
    len: usize,
}

/// A thing that two shelves have not in common: what the one has there and what the other.
pub type Difference<'a, T> = (u32, Option<&'a Arc<T>>, Option<&'a Arc<T>>);

impl<T> Clone for Shelf<T> {
    fn clone(&self) -> Self {
        Self { bays: self.bays.clone(), len: self.len }
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { bays: Vec::new(), len: 0 }
    }
}

fn place(index: u32) -> (usize, usize) {
    (index as usize / BAY, index as usize % BAY)
}

impl<T> Shelf<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more than the highest index in use.
    pub fn end(&self) -> usize {
        let last = |bay: &Arc<Bay<T>>| bay.iter().rposition(Option::is_some);
        let highest = self.bays.iter().enumerate().rev();
        highest.filter_map(|(bay, things)| Some(bay * BAY + last(things)? + 1)).next().unwrap_or(0)
    }

    /// The thing with this index.
    pub fn get(&self, index: u32) -> Option<&Arc<T>> {
        let (bay, at) = place(index);
        self.bays.get(bay)?[at].as_ref()
    }

    /// Puts in a thing, takes out (`None`), or replaces; returns what was there.
    pub fn set(&mut self, index: u32, thing: Option<Arc<T>>) -> Option<Arc<T>> {
        let (bay, at) = place(index);
        if thing.is_none() && self.get(index).is_none() {
            return None;
        }
        while self.bays.len() <= bay {
            self.bays.push(Arc::new([const { None }; BAY]));
        }
        let slot = &mut Arc::make_mut(&mut self.bays[bay])[at];
        self.len += usize::from(thing.is_some());
        let before = std::mem::replace(slot, thing);
        self.len -= usize::from(before.is_some());
        before
    }

    /// All, by index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<T>)> {
        let slots = self.bays.iter().flat_map(|bay| bay.iter());
        slots.enumerate().filter_map(|(index, slot)| Some((index as u32, slot.as_ref()?)))
    }

    /// All, by index.
    pub fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.bays.iter().flat_map(|bay| bay.iter().flatten())
    }

    /// The lowest free index from `least` on.
    pub fn free(&self, least: u32) -> u32 {
        let (first, at) = place(least);
        for (number, bay) in self.bays.iter().enumerate().skip(first) {
            let from = if number == first { at } else { 0 };
            if let Some(free) = bay[from..].iter().position(Option::is_none) {
                return (number * BAY + from + free) as u32;
            }
        }
        (self.bays.len() * BAY).max(least as usize) as u32
    }

    /// What differs between an earlier copy and this one: index, what was there, what is.
    pub fn since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = Difference<'a, T>> {
        let bays = self.bays.len().max(earlier.bays.len());
        let pairs = (0..bays).map(|bay| (bay, earlier.bays.get(bay), self.bays.get(bay)));
        pairs.filter(|(_, old, new)| !same(*old, *new)).flat_map(|(bay, old, new)| {
            (0..BAY).filter_map(move |at| {
                let [old, new] = [old, new].map(|bay| bay.and_then(|bay| bay[at].as_ref()));
                (!same(old, new)).then_some(((bay * BAY + at) as u32, old, new))
            })
        })
    }
}

impl<T: Clone> Shelf<T> {
    /// The thing with this index, writable; a copy of its own from here on.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (bay, at) = place(index);
        // Looked up first: what is not there needs no copy.
        self.get(index)?;
        Arc::make_mut(self.bays.get_mut(bay)?)[at].as_mut().map(Arc::make_mut)
    }
}

fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn behaves_as_a_map_and_tells_what_changed(
            first in prop::collection::vec((0_u32..200, prop::option::of(0_u8..9)), 0..60),
            then in prop::collection::vec((0_u32..200, prop::option::of(0_u8..9)), 0..20),
        ) {
            let (mut shelf, mut map) = (Shelf::default(), BTreeMap::new());
            let apply = |shelf: &mut Shelf<u8>, map: &mut BTreeMap<u32, u8>, steps: Vec<_>| {
                for (index, value) in steps {
                    let before: Option<Arc<u8>> = shelf.set(index, Option::map(value, Arc::new));
                    let known = match value {
                        Some(value) => map.insert(index, value),
                        None => map.remove(&index),
                    };
                    assert_eq!(before.map(|before| *before), known);
                }
            };
            apply(&mut shelf, &mut map, first);
            let (earlier, before) = (shelf.clone(), map.clone());
            apply(&mut shelf, &mut map, then);
            let list: Vec<_> = shelf.iter().map(|(index, value)| (index, **value)).collect();
            prop_assert_eq!(&list, &map.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!((shelf.len(), shelf.is_empty()), (map.len(), map.is_empty()));
            prop_assert_eq!(shelf.values().map(|v| **v).sum::<u8>(), map.values().sum::<u8>());
            let free = (1..).find(|index| !map.contains_key(index));
            prop_assert_eq!(Some(shelf.free(1)), free);
            prop_assert_eq!(shelf.end() as u32, map.keys().max().map_or(0, |index| index + 1));
            // Every change is told; what is told twice the same was put there anew.
            let told: BTreeMap<_, _> = shelf.since(&earlier).map(|(at, a, b)| (at, (a.map(|v| **v), b.map(|v| **v)))).collect();
            for index in 0..200 {
                let (old, new) = (before.get(&index).copied(), map.get(&index).copied());
                prop_assert_eq!(earlier.get(index).map(|v| **v), old);
                match told.get(&index) {
                    Some(pair) => prop_assert_eq!(*pair, (old, new)),
                    None => prop_assert_eq!(old, new),
                }
            }
        }
    }

    #[test]
    fn what_copies_share_is_passed_over() {
        let mut shelf = Shelf::default();
        (0..1000).for_each(|index| drop(shelf.set(index, Some(Arc::new(index)))));
        let earlier = shelf.clone();
        *shelf.get_mut(500).unwrap() = 7;
        assert_eq!(shelf.get_mut(5000), None);
        let told: Vec<_> =
            shelf.since(&earlier).map(|(at, a, b)| (at, **a.unwrap(), **b.unwrap())).collect();
        assert_eq!(told, [(500, 500, 7)]);
        let shared = shelf.bays.iter().zip(&earlier.bays).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), 1000_usize.div_ceil(BAY) - 1);
    }
}
