//! A scenario: a configuration, and what then happens to the box step by step. Steps name things by
//! number, so that any sequence makes sense and shrinks well; a [`Player`](super::player::Player)
//! turns each into the bytes that arrive or the change that an operator makes.

use std::net::Ipv4Addr;

use super::config::Config;
use super::frame::Flaw;

/// A change that control makes between packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds an AS to a VIP (index into [`Config::vips`]), or changes its weight.
    AddServer {
        /// The VIP.
        vip: usize,
        /// The AS.
        server: Ipv4Addr,
        /// 0..=100.
        weight: u8,
    },
    /// Removes an AS.
    RemoveServer {
        /// The VIP.
        vip: usize,
        /// The AS.
        server: Ipv4Addr,
        /// Its flows die too.
        flush: bool,
    },
    /// A neighbour becomes known.
    Learn {
        /// The link.
        interface: u16,
        /// Its address.
        address: Ipv4Addr,
        /// Its Ethernet address.
        mac: [u8; 6],
    },
    /// A neighbour is forgotten.
    Forget {
        /// The link.
        interface: u16,
        /// Its address.
        address: Ipv4Addr,
    },
    /// Administrative state.
    SetUp {
        /// The interface.
        interface: u16,
        /// The new state.
        up: bool,
    },
    /// `lb set interface nat4 in`.
    SetNat4In {
        /// The interface.
        interface: u16,
        /// The new state.
        on: bool,
    },
}

/// A number that picks one thing of however many there are.
pub type Pick = usize;

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client talks to a VIP.
    ToVip {
        /// Client, of [`Config`]'s [`Universe::clients`].
        client: Pick,
        /// Client port, few.
        port: Pick,
        /// VIP.
        vip: Pick,
        /// TCP flags; ignored for UDP.
        flags: u8,
        /// Data bytes.
        len: usize,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// The same with the data arranged so that the translated checksum computes to zero.
    ToVipZeroSum {
        /// As above.
        client: Pick,
        /// As above.
        port: Pick,
        /// As above.
        vip: Pick,
        /// The AS for which it is arranged.
        server: Pick,
    },
    /// A client talks to an AS's own address, on a target port or another.
    ToServer {
        /// Client.
        client: Pick,
        /// Client port.
        port: Pick,
        /// VIP whose AS and target port it is.
        vip: Pick,
        /// Which AS of it.
        server: Pick,
        /// TCP flags.
        flags: u8,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// Whoever got one of the last packets answers it.
    Reply {
        /// Which, counted from the last one.
        back: Pick,
        /// TCP flags.
        flags: u8,
        /// Data bytes.
        len: usize,
        /// Arrange the data for a translated checksum of zero (towards this VIP).
        zero_sum: bool,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// An AS sends from its target port to a client that nobody may know.
    FromServer {
        /// VIP whose AS it is.
        vip: Pick,
        /// Which AS.
        server: Pick,
        /// Client.
        client: Pick,
        /// Client port.
        port: Pick,
        /// TCP flags.
        flags: u8,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// ICMP of any type from a client to any address.
    Icmp {
        /// Client.
        client: Pick,
        /// Destination.
        target: Pick,
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// Bytes behind the checksum.
        len: usize,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// Any protocol from a client to any address.
    Plain {
        /// Client.
        client: Pick,
        /// Destination.
        target: Pick,
        /// Protocol number.
        protocol: u8,
        /// Destination port, if the protocol has ports.
        port: u16,
        /// Data bytes.
        len: usize,
        /// Don't fragment.
        dont_fragment: bool,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// ARP.
    Arp {
        /// Where it arrives.
        interface: Pick,
        /// 1 request, 2 reply.
        operation: u16,
        /// Whose address it tells.
        sender: Pick,
        /// Whose it asks for.
        target: Pick,
        /// To our address instead of all.
        unicast: bool,
        /// Last byte of the sender's Ethernet address; below 3, an address it cannot have.
        mac: u8,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// Any bytes.
    Bytes {
        /// Where they arrive.
        interface: Pick,
        /// Put a good Ethernet header of this type in front.
        ether_type: Option<u16>,
        /// Make version, length and checksum of the IPv4 header right.
        fixed: bool,
        /// The frame or its payload.
        bytes: Vec<u8>,
    },
    /// The last frame arrives again, so many times.
    Repeat(usize),
    /// Time passes, in seconds.
    Wait(u32),
    /// A client goes on with one of its last conversations with a VIP.
    Again {
        /// Which, counted from the last one.
        back: Pick,
        /// TCP flags.
        flags: u8,
        /// Data bytes.
        len: usize,
    },
    /// Flows are counted, and control forgets removed ASs without any.
    Audit,
    /// Control does something.
    AddServer(Pick, Pick, u8),
    /// Control removes the AS that one of the last packets went to, or any.
    RemoveServer(Pick, Pick, bool),
    /// Control learns the neighbour that was last needed, or one of all.
    Learn(Pick, u8),
    /// Control forgets a neighbour.
    Forget(Pick),
    /// Control sets an interface up or down.
    SetUp(Pick, bool),
    /// Control switches nat4-in.
    SetNat4In(Pick, bool),
}

/// A configuration and the hosts around it.
#[derive(Clone, Debug)]
pub struct Universe {
    /// The box.
    pub config: Config,
    /// Hosts that start conversations: the interface they are behind, and their address.
    pub clients: Vec<(u16, Ipv4Addr)>,
    /// Hosts that can be ASs.
    pub servers: Vec<Ipv4Addr>,
    /// Hosts that can be neighbours.
    pub neighbors: Vec<(u16, Ipv4Addr)>,
    /// Other destinations: unrouted, dropped, broadcast, our own…
    pub targets: Vec<Ipv4Addr>,
}

/// Steps in a universe.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where.
    pub universe: Universe,
    /// What.
    pub steps: Vec<Step>,
}

/// What one step comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A frame arrives.
    Receive {
        /// Interface index.
        interface: u16,
        /// From the Ethernet header on.
        frame: Vec<u8>,
    },
    /// The last frame arrives again, so many times.
    Repeat(usize),
    /// Seconds pass.
    Wait(u32),
    /// Flows are counted.
    Audit,
    /// Control changes something.
    Change(Change),
    /// The step has no meaning here.
    Nothing,
}
