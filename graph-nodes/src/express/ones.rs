//! [`Ones`]: the packets of a group that a number has bits for.

/// A bit for each packet of a group.
pub(crate) type Bits = u64;

/// So many ones, from this place on.
#[inline(always)]
pub(super) fn row(start: usize, count: usize) -> Bits {
    (((1_u128 << count) - 1) << start) as Bits
}

/// The places of a number's ones, from the low end on.
pub(super) struct Ones(pub(super) Bits);

impl Iterator for Ones {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let place = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_ones_and_no_others() {
        for start in 0..=64 {
            for count in 0..=64 - start {
                let places: Vec<usize> = Ones(row(start, count)).collect();
                assert_eq!(places, (start..start + count).collect::<Vec<_>>());
            }
        }
    }
}
