//! [`Ones`]: the packets of a group that a number has bits for.

/// The places of a number's ones, from the low end on.
pub(super) struct Ones(pub(super) u32);

impl Iterator for Ones {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let place = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(place)
    }
}
