//! One learned neighbour and what is known of its reachability (the states of RFC 4861 §7.3.2, as
//! far as both protocols have use for them).

use dataplane::interface::MacAddress;

/// Requests sent before a neighbour counts as failed, one per [`RETRY_MS`].
pub(super) const TRIES: u8 = 3;
/// Time between requests, in milliseconds.
pub(super) const RETRY_MS: u64 = 1_000;
/// Least time for which a confirmed neighbour counts as reachable, in milliseconds. Up to as much
/// again is added, by address, so that many neighbours are not probed at once.
pub(super) const REACHABLE_MS: u64 = 30_000;
/// Time after a failure in which packets for the neighbour cause no new requests, in milliseconds.
pub(super) const HOLD_DOWN_MS: u64 = 1_000;
/// How often a neighbour that the configuration needs is looked for again, in milliseconds.
pub(super) const SEARCH_MS: u64 = 5_000;

/// What is known of a neighbour at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Requests are on their way, nothing is known.
    Incomplete {
        /// Requests sent.
        tries: u8,
    },
    /// Heard of lately.
    Reachable,
    /// Its address is still used, and a unicast request asks whether it is still right.
    Probe {
        /// Requests sent.
        tries: u8,
    },
    /// Did not answer.
    Failed,
}

impl State {
    /// As `show ip neighbors` and the API name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incomplete { .. } => "incomplete",
            Self::Reachable => "reachable",
            Self::Probe { .. } => "probe",
            Self::Failed => "failed",
        }
    }
}

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its state.
    pub state: State,
    /// Its Ethernet address; present in [`State::Reachable`] and [`State::Probe`].
    pub mac: Option<MacAddress>,
    /// When it was last heard of, in milliseconds; for one never heard of, when it was wanted.
    pub confirmed_ms: u64,
    /// When the state ends, in milliseconds.
    pub due_ms: u64,
    /// The configuration needs it: a router or an AS.
    pub needed: bool,
    /// Its silence has been reported already.
    pub reported: bool,
}
