//! A small immutable hash table from words to indices.
//!
//! Open addressing at no more than half load, 16 bytes a slot for 64-bit words: a miss looks at one
//! cache line nearly always. What is in the table comes from configuration, so the hash needs no
//! key.

/// In an empty cell.
const EMPTY: u32 = u32::MAX;

/// What a table can be asked for.
pub(crate) trait Word: Copy + Default + Eq {
    /// All bits folded into 64.
    fn folded(self) -> u64;
}

impl Word for u64 {
    fn folded(self) -> u64 {
        self
    }
}

impl Word for u128 {
    fn folded(self) -> u64 {
        let product = u128::from((self >> 64) as u64) * 0xd1b5_4a32_d192_ed03;
        (self as u64) ^ (product as u64) ^ ((product >> 64) as u64)
    }
}

#[derive(Clone, Copy, Debug)]
struct Cell<W> {
    word: W,
    value: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct ExactTable<W> {
    cells: Box<[Cell<W>]>,
    /// 64 less the binary logarithm of the number of cells.
    shift: u32,
}

impl<W: Word> Default for ExactTable<W> {
    fn default() -> Self {
        Self::new(std::iter::empty())
    }
}

impl<W: Word> ExactTable<W> {
    /// The table of these pairs; of equal words the first stays. No value is `u32::MAX`.
    pub(crate) fn new(pairs: impl ExactSizeIterator<Item = (W, u32)>) -> Self {
        let cells = (pairs.len() * 2).next_power_of_two().max(2);
        let empty = Cell { word: W::default(), value: EMPTY };
        let mut table =
            Self { cells: vec![empty; cells].into(), shift: 64 - cells.trailing_zeros() };
        for (word, value) in pairs {
            debug_assert_ne!(value, EMPTY);
            let position = table.position(word);
            let cell = &mut table.cells[position];
            if cell.value == EMPTY {
                *cell = Cell { word, value };
            }
        }
        table
    }

    /// The index of a word.
    pub(crate) fn get(&self, word: W) -> Option<u32> {
        let cell = self.cells[self.position(word)];
        (cell.value != EMPTY).then_some(cell.value)
    }

    /// The cell of a word, or the empty one where it would be.
    fn position(&self, word: W) -> usize {
        let product = u128::from(word.folded()) * 0x9e37_79b9_7f4a_7c15;
        let hash = (product as u64) ^ ((product >> 64) as u64);
        let mut position = (hash >> self.shift) as usize;
        // At most half of the cells are occupied.
        while self.cells[position].value != EMPTY && self.cells[position].word != word {
            position = (position + 1) & (self.cells.len() - 1);
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds<W: Word>(word: impl Fn(u64) -> W) {
        for count in [0u64, 1, 2, 3, 100, 5000] {
            let table = ExactTable::new(
                (0..count).map(|n| (word(2 * n), n as u32)).collect::<Vec<_>>().into_iter(),
            );
            for n in 0..count {
                assert_eq!(table.get(word(2 * n)), Some(n as u32));
                assert_eq!(table.get(word(2 * n + 1)), None);
            }
        }
    }

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        finds(|n| n);
        finds(|n| n << 16 | 6);
        finds(u128::from);
        finds(|n| 0x2001_0db8 << 96 | u128::from(n) << 64);
    }

    #[test]
    fn regular_words_do_not_cluster() {
        let words: Vec<u64> = (0..10_000).map(|n| (0x0a00_0000 + n) << 32 | 80 << 16 | 6).collect();
        longest_run(&words);
        let words: Vec<u128> = (0..10_000).map(|n| 0x2001_0db8 << 96 | n << 64 | 1).collect();
        longest_run(&words);
        let words: Vec<u128> = (0..10_000).map(|n| 0x2001_0db8 << 96 | n).collect();
        longest_run(&words);
    }

    fn longest_run<W: Word>(words: &[W]) {
        let table = ExactTable::new(words.iter().enumerate().map(|(n, &word)| (word, n as u32)));
        let longest = table.cells.split(|cell| cell.value == EMPTY).map(<[_]>::len).max();
        assert!(longest < Some(100), "{longest:?}");
    }
}
