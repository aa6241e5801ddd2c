//! Flows: a map from who to which AS, with a time of death. No buckets, no eviction, no epochs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::config::Timeouts;
use super::frame::tcp_flag::{ACK, FIN, RST, SYN};
use super::ip::{TCP, UDP};
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
    /// UDP.
    Datagrams,
    /// Protocols that are neither TCP nor UDP.
    Other,
    /// TCP, as `COLUMNS` calls it.
    Tcp(&'static str),
}

impl State {
    /// True once a FIN or RST was seen, until a SYN.
    pub fn is_closing(self) -> bool {
        matches!(self, Self::Tcp("FW" | "TW" | "CL" | "CW" | "LA"))
    }
}

/// IPVS's states of TCP; `NO` is that of nobody.
const COLUMNS: &str = "NO ES SS SR FW TW CL CW LA LI SA";

/// A flag, and by the state before: the state after a packet with it. The first flag that a packet
/// has decides.
type Table = [(u8, &'static str); 4];

/// The client's packets, where the server's pass too.
const INPUT: Table = [
    (RST, "CL CL CL SR CL CL CL CL LA LI SR"),
    (SYN, "SR ES ES SR SR SR SR SR SR SR SR"),
    (FIN, "CL CW SS TW TW TW CL CW LA LI TW"),
    (ACK, "ES ES SS ES FW TW CL CW CL LI ES"),
];

/// The server's packets.
const OUTPUT: Table = [
    (RST, "CL CL SS CL CL TW CL CL CL CL CL"),
    (SYN, "SS ES SS SR SS SS SS SS SS LI SR"),
    (FIN, "TW FW SS TW FW TW CL TW LA LI TW"),
    (ACK, "ES ES SS ES FW TW CL CW LA ES ES"),
];

/// The client's packets, where nothing else is seen.
const INPUT_ONLY: Table = [
    (RST, "CL CL CL SR CL CL CL CL LA LI CL"),
    (SYN, "SR ES ES SR SR SR SR SR SR SR SR"),
    (FIN, "CL FW SS TW FW TW CL CW LA LI TW"),
    (ACK, "ES ES SS ES FW TW CL CW CL LI ES"),
];

fn follow(table: &Table, before: &'static str, flags: u8) -> &'static str {
    match table.iter().find(|(flag, _)| flags & flag != 0) {
        Some((_, row)) => {
            let column = COLUMNS.split(' ').position(|state| state == before);
            row.split(' ').nth(column.expect("a state")).expect("a row of all states")
        }
        // Nobody sends such packets: they make nothing, and end nothing.
        None if before == "NO" => "CL",
        None => before,
    }
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
/// flow that was in `before` (`None` for a new one). `answered` says that the server's packets pass
/// as well.
pub fn after_client(before: Option<State>, protocol: u8, flags: u8, answered: bool) -> State {
    let table = if answered { &INPUT } else { &INPUT_ONLY };
    match (protocol, before) {
        (TCP, Some(State::Tcp(before))) => State::Tcp(follow(table, before, flags)),
        (TCP, _) => State::Tcp(follow(table, "NO", flags)),
        (UDP, _) => State::Datagrams,
        _ => State::Other,
    }
}

/// The state after one packet of the server.
pub fn after_server(before: State, flags: u8) -> State {
    match before {
        State::Tcp(before) => State::Tcp(follow(&OUTPUT, before, flags)),
        other => other,
    }
}

/// How long a flow lives in this state without a packet, in seconds.
pub fn lifetime_s(state: State, timeouts: &Timeouts) -> u32 {
    match state {
        State::Datagrams => timeouts.udp_s,
        State::Other => timeouts.other_s,
        State::Tcp("ES") => timeouts.established_s,
        State::Tcp("FW") => timeouts.fin_wait_s,
        State::Tcp("CW" | "LA") => timeouts.close_wait_s,
        State::Tcp("TW") => timeouts.time_wait_s,
        State::Tcp("CL") => timeouts.close_s,
        State::Tcp(_) => timeouts.syn_s,
    }
}

/// All flows.
pub type Flows = BTreeMap<FlowKey, Flow>;
