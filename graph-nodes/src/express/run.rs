//! [`Run`]: neighbouring packets that have a counter in common, counted there at once.

/// So many packets of the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<T> {
    pub(super) of: T,
    pub(super) packets: u64,
}

impl<T: PartialEq> Run<T> {
    /// None so far.
    pub(super) fn of(of: T) -> Self {
        Self { of, packets: 0 }
    }

    /// Takes one more in; false if it is not of the same.
    #[inline(always)]
    pub(super) fn add(&mut self, of: T) -> bool {
        let same = self.of == of;
        self.packets += u64::from(same);
        same
    }
}
