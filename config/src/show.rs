//! What `show` can show.

use std::net::IpAddr;

use crate::{Family, Prefix, Spanned, VipKey};

/// The operand of a `show` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// `show lb`
    Lb,
    /// `show lb vips [verbose]`
    LbVips {
        /// Counters and ASs too.
        verbose: bool,
    },
    /// `show lb as [<vip-prefix> [protocol tcp|udp port <n>]]`
    LbAs {
        /// The VIP asked for. A key without ports stands for every VIP of the prefix.
        vip: Option<VipKey>,
    },
    /// `show lb flow <source> <port> <vip> <port> tcp|udp|<protocol>`
    LbFlow(FlowQuery),
    /// `show lb balance`
    LbBalance,
    /// `show lb flows [vip <vip-prefix> [protocol tcp|udp port <n>]] [as <address>] …`
    LbFlows(FlowsQuery),
    /// `show lb no-match`
    LbNoMatch,
    /// `show interface [<interface> …]`; no name is every interface.
    Interface {
        /// The interfaces asked for.
        names: Vec<Spanned<String>>,
    },
    /// `show interface address [<interface> …]`
    InterfaceAddress {
        /// The interfaces asked for.
        names: Vec<Spanned<String>>,
    },
    /// `show hardware-interfaces [brief|verbose] [<interface> …]`
    HardwareInterfaces {
        /// How much to print.
        detail: HardwareDetail,
        /// The interfaces asked for.
        names: Vec<Spanned<String>>,
    },
    /// `show ip fib [summary] [<address>[/<length>]]`, `show ip6 fib …`
    Fib {
        /// Which forwarding table; an address in `query` is of this family.
        family: Family,
        /// Which part of it.
        query: FibQuery,
    },
    /// `show ip neighbors [<interface>]`, `show ip6 neighbors …`
    Neighbors {
        /// IPv4 (ARP) or IPv6 (neighbour discovery).
        family: Family,
        /// The interface asked for.
        interface: Option<Spanned<String>>,
    },
    /// `show ipip tunnel`
    IpipTunnel,
    /// `show version [verbose]`
    Version {
        /// Compiler, DPDK and process as well.
        verbose: bool,
    },
    /// `show threads`
    Threads,
    /// `show runtime [verbose]`
    Runtime {
        /// Nodes that were never called too.
        verbose: bool,
    },
    /// `show errors`
    Errors,
    /// `show buffers`
    Buffers,
    /// `show trace [max <n>]`
    Trace {
        /// Packets per thread; `None` is [`crate::defaults::SHOW_TRACE_MAX`].
        max: Option<u32>,
    },
    /// `show events`
    Events,
    /// `show running-config`
    RunningConfig,
}

/// How much `show hardware-interfaces` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HardwareDetail {
    /// One line an interface.
    Brief,
    /// VPP's usual block.
    #[default]
    Normal,
    /// Every statistic too.
    Verbose,
}

/// Which part of the FIB to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibQuery {
    /// Every entry.
    All,
    /// The number of entries of each prefix length.
    Summary,
    /// With an address: the entry that a packet to it would use. With a prefix: exactly that one
    /// (host bits cleared).
    Entry {
        /// The address or prefix.
        prefix: Spanned<Prefix>,
        /// Was it written as a bare address?
        longest_match: bool,
    },
}

/// The flows that `show lb flows` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowsQuery {
    /// Those of a VIP. A key without ports stands for every VIP of the prefix.
    pub vip: Option<VipKey>,
    /// Those of an AS.
    pub server: Option<Spanned<IpAddr>>,
    /// Those of clients of a prefix, host bits cleared.
    pub client: Option<Spanned<Prefix>>,
    /// Most flows of a page; `None` is [`crate::defaults::FLOWS_LIMIT`].
    pub limit: Option<Spanned<u32>>,
    /// Where the page begins; `None` is at the first.
    pub cursor: Option<Spanned<FlowsCursor>>,
}

/// A place in the sticky tables, where a page of `show lb flows` ended: `<thread>:<entry>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowsCursor {
    /// The worker's thread, from 1.
    pub thread: u16,
    /// Entry of its table, from 0.
    pub entry: u32,
}

impl std::fmt::Display for FlowsCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.thread, self.entry)
    }
}

/// The flow that `show lb flow` asks about, as the client's packets have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowQuery {
    /// The client's address.
    pub source: Spanned<IpAddr>,
    /// The client's port, host byte order; 0 for protocols without ports.
    pub source_port: Spanned<u16>,
    /// The address the client uses, of the same family.
    pub destination: Spanned<IpAddr>,
    /// The port the client uses, host byte order; 0 for protocols without ports.
    pub destination_port: Spanned<u16>,
    /// IP protocol number.
    pub protocol: Spanned<u8>,
}
