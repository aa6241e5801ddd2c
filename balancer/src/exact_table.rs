//! A small immutable hash table from non-zero 64-bit words to indices.
//!
//! Open addressing at no more than half load, 16 bytes a slot: a miss looks at one cache line
//! nearly always. What is in the table comes from configuration, so the hash needs no key.

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// 0 in an empty cell.
    word: u64,
    value: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct ExactTable {
    cells: Box<[Cell]>,
    /// 64 less the binary logarithm of the number of cells.
    shift: u32,
}

impl ExactTable {
    /// The table of these pairs; of equal words the first stays.
    pub(crate) fn new(pairs: impl ExactSizeIterator<Item = (u64, u32)>) -> Self {
        let cells = (pairs.len() * 2).next_power_of_two().max(2);
        let mut table =
            Self { cells: vec![Cell::default(); cells].into(), shift: 64 - cells.trailing_zeros() };
        for (word, value) in pairs {
            debug_assert_ne!(word, 0);
            let position = table.position(word);
            let cell = &mut table.cells[position];
            if cell.word == 0 {
                *cell = Cell { word, value };
            }
        }
        table
    }

    /// The index of a word.
    pub(crate) fn get(&self, word: u64) -> Option<u32> {
        let cell = self.cells[self.position(word)];
        (cell.word == word).then_some(cell.value)
    }

    /// The cell of a word, or the empty one where it would be.
    fn position(&self, word: u64) -> usize {
        let product = u128::from(word) * 0x9e37_79b9_7f4a_7c15;
        let hash = (product as u64) ^ ((product >> 64) as u64);
        let mut position = (hash >> self.shift) as usize;
        // At most half of the cells are occupied.
        while self.cells[position].word != 0 && self.cells[position].word != word {
            position = (position + 1) & (self.cells.len() - 1);
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        for count in [0u64, 1, 2, 3, 100, 5000] {
            let table = ExactTable::new(
                (0..count).map(|n| ((n + 1) << 16 | 6, n as u32)).collect::<Vec<_>>().into_iter(),
            );
            for n in 0..count {
                assert_eq!(table.get((n + 1) << 16 | 6), Some(n as u32));
                assert_eq!(table.get((n + 1) << 16 | 17), None);
            }
        }
    }

    #[test]
    fn regular_words_do_not_cluster() {
        let words: Vec<u64> = (0..10_000).map(|n| (0x0a00_0000 + n) << 32 | 80 << 16 | 6).collect();
        let table = ExactTable::new(words.iter().enumerate().map(|(n, &word)| (word, n as u32)));
        let longest = table.cells.split(|cell| cell.word == 0).map(<[_]>::len).max();
        assert!(longest < Some(100), "{longest:?}");
    }
}
