//! What `show` can show.

use crate::{Prefix, Spanned};

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
    /// `show lb as`
    LbAs,
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
    /// `show ip fib [summary] [<address>[/<length>]]`
    IpFib(FibQuery),
    /// `show ip neighbors [<interface>]`
    IpNeighbors {
        /// The interface asked for.
        interface: Option<Spanned<String>>,
    },
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
