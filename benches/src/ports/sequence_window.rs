//! [`SequenceWindow`]: which packets of a numbered stream have come back.

/// Numbers that are remembered one by one, below the highest that was seen.
const WINDOW: u64 = 1 << 20;
const WORDS: usize = (WINDOW / 64) as usize;

/// Counts packets that came, each once.
#[derive(Clone, Debug)]
pub struct SequenceWindow {
    /// One bit for each number of the window.
    seen: Vec<u64>,
    /// One more than the highest number seen.
    next: u64,
    received: u64,
    duplicates: u64,
    reordered: u64,
    late: u64,
}

impl Default for SequenceWindow {
    fn default() -> Self {
        let seen = vec![0; WORDS];
        Self { seen, next: 0, received: 0, duplicates: 0, reordered: 0, late: 0 }
    }
}

impl SequenceWindow {
    fn slot(number: u64) -> (usize, u64) {
        let at = number % WINDOW;
        ((at / 64) as usize, 1 << (at % 64))
    }

    /// A packet came.
    #[inline]
    pub fn see(&mut self, number: u64) {
        if number >= self.next {
            self.advance(number + 1);
        } else if self.next - number > WINDOW {
            self.late += 1;
            return;
        } else {
            let (word, bit) = Self::slot(number);
            if self.seen[word] & bit != 0 {
                self.duplicates += 1;
                return;
            }
            self.reordered += 1;
        }
        let (word, bit) = Self::slot(number);
        self.seen[word] |= bit;
        self.received += 1;
    }

    /// Makes `next` the end of the window.
    #[inline]
    fn advance(&mut self, next: u64) {
        if next - self.next >= WINDOW {
            self.seen.fill(0);
        } else {
            for number in self.next..next {
                let (word, bit) = Self::slot(number);
                self.seen[word] &= !bit;
            }
        }
        self.next = next;
    }

    /// Different packets that came.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that came once more.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets that came after one with a higher number.
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Packets more than a million numbers behind the highest: too old to know whether they are
    /// duplicates, and counted as lost.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Of `sent` packets, those that did not come.
    pub fn lost(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(numbers: impl IntoIterator<Item = u64>) -> SequenceWindow {
        let mut window = SequenceWindow::default();
        numbers.into_iter().for_each(|number| window.see(number));
        window
    }

    #[test]
    fn packets_in_order_are_all_there() {
        let window = window(0..3 * WINDOW);
        assert_eq!((window.received(), window.lost(3 * WINDOW)), (3 * WINDOW, 0));
        assert_eq!((window.duplicates(), window.reordered(), window.late()), (0, 0, 0));
    }

    #[test]
    fn gaps_are_losses_wherever_they_are() {
        let window = window((0..1000).filter(|number| number % 10 != 9));
        assert_eq!((window.received(), window.lost(1000)), (900, 100));
        // Nothing came: all is lost.
        assert_eq!(SequenceWindow::default().lost(7), 7);
    }

    #[test]
    fn duplicates_do_not_hide_losses() {
        let window = window([0, 1, 1, 1, 3, 3]);
        assert_eq!((window.received(), window.duplicates(), window.lost(4)), (3, 3, 1));
    }

    #[test]
    fn packets_out_of_order_are_received() {
        let window = window([0, 3, 1, 2, 4]);
        assert_eq!((window.received(), window.reordered(), window.lost(5)), (5, 2, 0));
    }

    #[test]
    fn a_long_gap_forgets_what_was_before() {
        let far = 5 * WINDOW + 3;
        let mut window = window([0, 1, far]);
        window.see(2);
        assert_eq!((window.received(), window.late()), (3, 1));
        // Inside the window, and not seen before, although its slot was once used.
        window.see(far - WINDOW + 1);
        window.see(far - WINDOW + 1);
        assert_eq!((window.received(), window.duplicates(), window.reordered()), (4, 1, 1));
    }

    #[test]
    fn slots_are_used_anew_after_a_round() {
        let mut window = window(0..WINDOW);
        // The number one round later has the slot of 0, which was not seen.
        window.see(WINDOW + 1);
        window.see(WINDOW);
        assert_eq!((window.received(), window.duplicates()), (WINDOW + 2, 0));
    }
}
