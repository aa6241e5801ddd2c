//! [`Dice`]: the same random choices in every run, and mutations made with them.

/// Random numbers (SplitMix64: Steele, Lea, Flood, 2014).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }

    /// Some bytes, changed here and there; at times a part of `other` takes the place of its end.
    pub fn mutated(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.below(256) as u8),
                2 => {
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[self.below(other.len() + 1)..]);
                }
                choice => {
                    let Some(byte) = bytes.get_mut(at) else { continue };
                    *byte = match choice {
                        3 => *byte ^ 1 << self.below(8),
                        4 => [0, 1, 0x7f, 0x80, 0xfe, 0xff][self.below(6)],
                        _ => self.below(256) as u8,
                    };
                }
            }
        }
        bytes
    }
}
