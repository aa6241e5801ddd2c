//! Round robin: new flows go to the ASs one after the other, each as often as its weight says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::application_server::AsId;
use crate::maglev;

/// An order of ASs and the one place in it where all workers are.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Spread evenly: an AS of half the weight comes after every second turn of the other.
    order: Arc<[AsId]>,
    /// Goes on when the order changes, so that a change does not start with the first AS again.
    cursor: Arc<AtomicU32>,
}

impl Rotation {
    /// The rotation of these ASs, each with its weight of 1 to 100, in the order given. It goes on
    /// where `previous` is.
    pub(crate) fn new(members: &[(AsId, u8)], previous: Option<&Self>) -> Self {
        let weights: Vec<u8> = members.iter().map(|&(_, weight)| weight).collect();
        let order = maglev::shortest_turns(&weights);
        let cursor = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.cursor));
        Self { order: order.into_iter().map(|at| members[at as usize].0).collect(), cursor }
    }

    /// The AS whose turn it is, if any takes flows.
    #[must_use]
    pub fn next(&self) -> Option<AsId> {
        self.at(self.cursor.load(Ordering::Relaxed) as usize)
    }

    /// How many turns there are before they repeat.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no AS takes flows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Takes a turn and returns its position.
    pub(crate) fn take(&self) -> usize {
        // The order of turns matters, not what else a worker has written.
        self.cursor.fetch_add(1, Ordering::Relaxed) as usize
    }

    /// The AS of a turn; `None` when there is none at all.
    pub(crate) fn at(&self, position: usize) -> Option<AsId> {
        self.order.get(position.checked_rem(self.order.len())?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u8]) -> Vec<(AsId, u8)> {
        weights.iter().enumerate().map(|(n, &w)| (AsId::new(n as u32).unwrap(), w)).collect()
    }

    fn turns(rotation: &Rotation, count: usize) -> Vec<u32> {
        (0..count).map(|_| rotation.at(rotation.take()).unwrap().get()).collect()
    }

    #[test]
    fn equal_weights_take_turns_in_order() {
        for weight in [1, 3, 100] {
            let rotation = Rotation::new(&members(&[weight; 3]), None);
            assert_eq!(rotation.len(), 3);
            assert_eq!(turns(&rotation, 7), [0, 1, 2, 0, 1, 2, 0]);
        }
    }

    #[test]
    fn unequal_weights_are_exact_and_spread() {
        let rotation = Rotation::new(&members(&[100, 50, 25]), None);
        assert_eq!(rotation.len(), 7);
        let taken = turns(&rotation, 700);
        assert_eq!([0, 1, 2].map(|n| taken.iter().filter(|&&t| t == n).count()), [400, 200, 100]);
        // Nobody has to wait for the heavy one to be through with all its turns.
        assert!(taken.windows(4).all(|w| w.iter().any(|&t| t != 0)));
    }

    #[test]
    fn the_cursor_outlives_a_change() {
        let first = Rotation::new(&members(&[100; 3]), None);
        assert_eq!(turns(&first, 4), [0, 1, 2, 0]);
        let second = Rotation::new(&members(&[100; 5]), Some(&first));
        assert_eq!(second.next(), AsId::new(4));
        assert_eq!(turns(&second, 2), [4, 0]);
        assert_eq!(Rotation::new(&[], Some(&second)).next(), None);
    }
}
