//! The counters that VPP keeps for each VIP, by its names.

/// A per-VIP packet counter, in VPP's order (`show lb vips verbose`).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VipCounter {
    /// A packet of a flow that had an entry.
    Existing,
    /// The packet that made a flow's entry.
    First,
    /// A packet forwarded by the new-flow table alone, as its sticky buckets were full.
    Untracked,
    /// A packet that no AS could take.
    NoServer,
}

impl VipCounter {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// All, in VPP's order.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Existing, Self::First, Self::Untracked, Self::NoServer];

    /// VPP's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Existing => "packet from existing sessions",
            Self::First => "first session packet",
            Self::Untracked => "untracked packet",
            Self::NoServer => "no server configured",
        }
    }

    /// The index into an array of [`COUNT`](Self::COUNT) counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
