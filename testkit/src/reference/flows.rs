//! Flows: a map from who to which AS, with a time of death. No buckets, no eviction, no epochs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::config::Timeouts;
use super::frame::tcp_flag::{ACK, FIN, RST, SYN};
use super::ip::TCP;
use super::service::VipKey;
use super::upper::Tuple;

/// What a flow goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// A VIP.
    Vip(VipKey),
    /// An AS's own address and target port, not translated.
    Direct,
}

/// One client's conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    /// Where it goes.
    pub goal: Goal,
    /// As the client's packets have it.
    pub tuple: Tuple,
}

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// UDP and protocols without connections.
    Datagrams,
    /// Only SYNs (without ACK) of the client were seen.
    HalfOpen,
    /// The client answered.
    Established,
    /// A FIN or RST was seen from either side.
    Closing,
}

/// One flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its AS.
    pub server: IpAddr,
    /// How often that AS had been flushed when the flow began.
    pub flushes: u32,
    /// Where it stands.
    pub state: State,
    /// First second in which it is dead.
    pub dies_s: u32,
}

/// The state after one packet of protocol `protocol` with `flags` (TCP only) of the client, for a
/// flow that was in `before` (`None` for a new one).
pub fn after_client(before: Option<State>, protocol: u8, flags: u8) -> State {
    if protocol != TCP {
        return State::Datagrams;
    }
    if flags & (FIN | RST) != 0 {
        return State::Closing;
    }
    match before {
        Some(State::Closing) => State::Closing,
        Some(State::Established) => State::Established,
        _ if flags & (SYN | ACK) == SYN => State::HalfOpen,
        _ => State::Established,
    }
}

/// The state after one packet of the server.
pub fn after_server(before: State, protocol: u8, flags: u8) -> State {
    if protocol == TCP && flags & (FIN | RST) != 0 { State::Closing } else { before }
}

/// How long a flow lives in this state without a packet, in seconds.
pub fn lifetime_s(state: State, timeouts: &Timeouts) -> u32 {
    match state {
        State::Datagrams | State::HalfOpen => timeouts.timeout_s,
        State::Established => timeouts.established_s,
        State::Closing => timeouts.closing_s,
    }
}

/// All flows.
pub type Flows = BTreeMap<FlowKey, Flow>;
