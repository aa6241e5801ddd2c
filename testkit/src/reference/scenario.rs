//! A scenario: a configuration, and what then happens to the box step by step. Steps name things by
//! number, so that any sequence makes sense and shrinks well; a [`Player`](super::player::Player)
//! turns each into the bytes that arrive or the change that an operator makes.

use std::net::IpAddr;

use super::config::{Config, Route, Timeouts};
use super::flaw::{Cut, Flaw};
use super::scope::Scope;
use super::service::{Admin, Server, Vip, VipKey};

/// A change that control makes between packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds an AS to a VIP (index into [`Config::vips`]), or changes its weight.
    AddServer {
        /// The VIP.
        vip: usize,
        /// The AS.
        server: IpAddr,
        /// Its weight, and how it is reached.
        with: Server,
    },
    /// Removes an AS.
    RemoveServer {
        /// The VIP.
        vip: usize,
        /// The AS.
        server: IpAddr,
        /// Its flows die too.
        flush: bool,
    },
    /// An AS drains, or does not any more.
    SetAdmin {
        /// The VIP.
        vip: usize,
        /// The AS.
        server: IpAddr,
        /// Whether it takes new flows.
        admin: Admin,
    },
    /// A neighbour becomes known.
    Learn {
        /// The link.
        interface: u16,
        /// Its address.
        address: IpAddr,
        /// Its Ethernet address.
        mac: [u8; 6],
    },
    /// A neighbour is forgotten.
    Forget {
        /// The link.
        interface: u16,
        /// Its address.
        address: IpAddr,
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
    /// `lb set interface nat6 in`.
    SetNat6In {
        /// The interface.
        interface: u16,
        /// The new state.
        on: bool,
    },
    /// A VIP comes, behind the others.
    AddVip(Vip),
    /// A VIP goes.
    RemoveVip(VipKey),
    /// A VIP's flows live longer or shorter from now on.
    SetTimeouts {
        /// The VIP.
        vip: usize,
        /// `None` as everywhere.
        timeouts: Option<Timeouts>,
    },
    /// A route comes.
    AddRoute(Route),
    /// A route goes.
    RemoveRoute(Route),
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
        /// Which address and port of it.
        within: Pick,
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
    /// A client talks to a node port on one of our addresses.
    ToNodePort {
        /// Client.
        client: Pick,
        /// Client port.
        port: Pick,
        /// VIP.
        vip: Pick,
        /// Our address.
        own: Pick,
        /// TCP flags.
        flags: u8,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// An ICMP error about one of the last packets that the box sent, by who got it or by another.
    ErrorAbout {
        /// Which, counted from the last one.
        back: Pick,
        /// Who says so.
        reporter: Pick,
        /// Which error.
        kind: Pick,
        /// So many bytes of it are quoted.
        quoted: usize,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// An ICMP error to a VIP about what an AS of it would send in one of the last conversations.
    ErrorToVip {
        /// Which, counted from the last one.
        back: Pick,
        /// Who says so.
        reporter: Pick,
        /// Which error.
        kind: Pick,
        /// So many bytes of it are quoted.
        quoted: usize,
        /// What is wrong with what is quoted.
        quote_flaws: Vec<Flaw>,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
    },
    /// Another packet arrives in pieces.
    InPieces(Box<Step>, Cut),
    /// Another packet arrives in a tunnel that ends here.
    InTunnel {
        /// The packet.
        step: Box<Step>,
        /// Which tunnel.
        tunnel: Pick,
        /// DSCP and ECN of the outer header.
        tos: u8,
        /// What is wrong with the whole.
        flaws: Vec<Flaw>,
    },
    /// Neighbour discovery.
    Discovery {
        /// Where it arrives.
        interface: Pick,
        /// 135 solicitation, 136 advertisement.
        kind: u8,
        /// Whose address it tells.
        sender: Pick,
        /// Whose it asks for, or tells of.
        target: Pick,
        /// To an address instead of a group.
        unicast: bool,
        /// Last byte of the sender's Ethernet address; below 3, an address it cannot have.
        mac: u8,
        /// It has an option with that address.
        option: bool,
        /// Flags of an advertisement.
        flags: u8,
        /// 1: it has a code; 2: it ends within the target; 3: its option has no length.
        odd: Pick,
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
    /// Control drains an AS, or ends that.
    SetAdmin(Pick, Pick, Admin),
    /// Control learns the neighbour that was last needed, or one of all.
    Learn(Pick, u8),
    /// Control forgets a neighbour.
    Forget(Pick),
    /// Control sets an interface up or down.
    SetUp(Pick, bool),
    /// Control switches nat4-in.
    SetNat4In(Pick, bool),
    /// Control switches nat6-in.
    SetNat6In(Pick, bool),
    /// Control adds a VIP, unless it is in the way of others.
    AddVip(Box<Vip>),
    /// Control removes a VIP.
    RemoveVip(Pick),
    /// Control changes the timeouts of a VIP.
    SetTimeouts(Pick, Option<Timeouts>),
    /// Control adds a route, unless there is one or it leads nowhere.
    AddRoute(Route),
    /// Control removes a route.
    RemoveRoute(Pick),
    /// Control gives the sticky tables so many buckets, a power of two.
    Resize(u32),
}

/// A configuration and the hosts around it.
#[derive(Clone, Debug)]
pub struct Universe {
    /// What is tested.
    pub scope: Scope,
    /// The box.
    pub config: Config,
    /// Hosts that start conversations: the interface they are behind, and their address.
    pub clients: Vec<(u16, IpAddr)>,
    /// Hosts that can be ASs.
    pub servers: Vec<IpAddr>,
    /// Hosts that can be neighbours.
    pub neighbors: Vec<(u16, IpAddr)>,
    /// Other destinations: unrouted, dropped, broadcast, our own…
    pub targets: Vec<IpAddr>,
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
    /// Several frames arrive, one after the other.
    ReceiveEach(Vec<(u16, Vec<u8>)>),
    /// Seconds pass.
    Wait(u32),
    /// Flows are counted.
    Audit,
    /// Control changes something.
    Change(Change),
    /// The sticky tables get two to this power buckets, which nobody may notice.
    Resize(u32),
    /// The step has no meaning here.
    Nothing,
}
