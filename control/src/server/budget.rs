//! Memory that all requests together may take.

use std::cell::Cell;
use std::rc::Rc;

/// What a request may take however little is left: ordinary commands always find room.
pub(super) const ALWAYS: usize = 64 * 1024;

/// So many bytes for all.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    limit: usize,
    used: Rc<Cell<usize>>,
}

/// What one request has of it, until dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    taken: usize,
    free: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: Rc::default() }
    }

    /// A share of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), taken: 0, free: ALWAYS }
    }
}

impl Share {
    /// Takes so many more bytes; false, and nothing is taken, if they are not there. One request may
    /// take more than there is if nobody has anything: what is shown has no limit of its own.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        if bytes <= self.free {
            self.free -= bytes;
            return true;
        }
        let used = self.budget.used.get();
        let others = used - self.taken;
        if used.saturating_add(bytes) > self.budget.limit && (others > 0 || self.taken > 0) {
            return false;
        }
        self.budget.used.set(used + bytes);
        self.taken += bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.set(self.budget.used.get() - self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back_and_little_is_always_there() {
        let budget = Budget::new(1000 * ALWAYS);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.grow(999 * ALWAYS));
        assert!(!two.grow(2 * ALWAYS), "more than is left");
        assert!(two.grow(ALWAYS), "a little is");
        assert!(!two.grow(ALWAYS + 1) && two.grow(ALWAYS));
        drop(one);
        assert!(two.grow(900 * ALWAYS));
        assert!(!two.grow(200 * ALWAYS), "nor may one take ever more");
        drop(two);
        assert_eq!(budget.used.get(), 0);
        assert!(budget.share().grow(5000 * ALWAYS), "one big answer, when there is no other");
        assert_eq!(budget.used.get(), 0);
    }
}
