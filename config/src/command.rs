//! The one type that every way of configuring Sluice ends in.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::{
    Debug, Family, LbAs, LbConf, LbNoMatch, LbVipAdd, LbVipUpdate, MacAddress, NoMatch, Prefix,
    Show, Span, Spanned, SubInterface, VipKey,
};

/// One command: a CLI line, a line of an `exec` file, or a statement of the TOML file.
///
/// Values that can be wrong for the running model (an interface that does not exist, an AS that
/// is already there) carry their [`crate::Span`], so that an executor can point at the word. What
/// can be judged from the words alone has been judged when a `Command` exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An empty line or a comment.
    Blank,
    /// `lb conf …`
    LbConf(LbConf),
    /// `lb vip <prefix> …`
    LbVipAdd(LbVipAdd),
    /// `lb vip <prefix> … update`
    LbVipUpdate(LbVipUpdate),
    /// `lb vip <prefix> … del`
    LbVipDel(VipKey),
    /// `lb as <prefix> … <address> …`
    LbAs(LbAs),
    /// `lb flush vip <prefix> …`
    LbFlushVip(VipKey),
    /// `test lb flowtable flush`: the flows of all VIPs, as VPP's debugging command does.
    LbFlushAll,
    /// `lb no-match <prefix> drop|rst|icmp|punt|del`
    LbNoMatch(LbNoMatch),
    /// `lb set interface nat4|nat6 in <interface> … [del]`
    LbSetInterfaceNat {
        /// nat4 or nat6.
        family: Family,
        /// The interfaces that face the ASs, at least one.
        interfaces: Vec<Spanned<String>>,
        /// Turn it off.
        del: bool,
    },
    /// `create ipip tunnel src <address> dst <address> [instance <n>]`: an interface called
    /// `ipip<instance>`.
    CreateIpipTunnel {
        /// Our end of the tunnel.
        source: Spanned<IpAddr>,
        /// The other end, of the same family.
        destination: Spanned<IpAddr>,
        /// The number in its name, 0..=16383; `None` is the lowest that is free.
        instance: Option<Spanned<u32>>,
    },
    /// `delete ipip tunnel <interface>`
    DeleteIpipTunnel {
        /// The tunnel interface.
        interface: Spanned<String>,
    },
    /// `create sub-interfaces <interface> <id> …`
    CreateSubInterface(SubInterface),
    /// `delete sub-interface <interface>`
    DeleteSubInterface {
        /// The sub-interface.
        interface: Spanned<String>,
    },
    /// `set interface state <interface> up|down`
    SetInterfaceState {
        /// The interface.
        interface: Spanned<String>,
        /// Up or down.
        up: bool,
    },
    /// `set interface mtu [packet] <bytes> <interface>`
    SetInterfaceMtu {
        /// The interface.
        interface: Spanned<String>,
        /// Largest IP packet, bytes.
        mtu: Spanned<u16>,
    },
    /// `set interface ip address [del] <interface> <address>/<length>`
    SetInterfaceIpAddress {
        /// The interface.
        interface: Spanned<String>,
        /// Its own address with the length of the connected subnet.
        address: Spanned<Prefix>,
        /// Remove instead of add.
        del: bool,
    },
    /// `ip route add|del <prefix> via <next hop> [<interface>]`, or `… via <interface>`
    IpRoute {
        /// Destination, host bits cleared.
        prefix: Spanned<Prefix>,
        /// Next hop; absent on a tunnel, which has only one other end. With `del` and neither hop
        /// nor interface, whatever is there is meant.
        via: Option<Spanned<IpAddr>>,
        /// Outgoing interface; `None` is found from the connected subnets. Always there when the
        /// next hop is link-local.
        interface: Option<Spanned<String>>,
        /// Remove instead of add.
        del: bool,
    },
    /// `set ip neighbor [del] <interface> <address> <mac> [static]`
    SetIpNeighbor {
        /// The interface.
        interface: Spanned<String>,
        /// The neighbour's IP address.
        address: Spanned<IpAddr>,
        /// Its Ethernet address; absent only with `del`.
        mac: Option<Spanned<MacAddress>>,
        /// Never ages.
        is_static: bool,
        /// Remove instead of add.
        del: bool,
    },
    /// `ping <address> [source <interface>] [size <bytes>] [interval <s>] [repeat <n>]`
    Ping(Ping),
    /// `wait drained <vip-prefix> … <address> [timeout <s>]`: `sluicectl` waits, the daemon does not.
    WaitDrained(WaitDrained),
    /// `exec <file>`: run the commands of a file on the daemon's machine.
    Exec {
        /// The file.
        file: Spanned<PathBuf>,
    },
    /// `reload [<file>] [confirm <seconds>]`: the configuration becomes that of a TOML file.
    Reload {
        /// The file, on the daemon's machine; `None` is the one it was started with.
        file: Option<Spanned<PathBuf>>,
        /// Undo it unless `confirm` follows within so many seconds.
        confirm_s: Option<Spanned<u32>>,
    },
    /// `reload cancel`: undo a reload that waits for `confirm`.
    ReloadCancel,
    /// `confirm`: keep what a reload has made.
    Confirm,
    /// `diff [<file>]`: what `reload` would change.
    Diff {
        /// The file, on the daemon's machine; `None` is the one it was started with.
        file: Option<Spanned<PathBuf>>,
    },
    /// `save [<file>]`: write the running configuration as TOML.
    Save {
        /// The file, on the daemon's machine; `None` is the one it was started with.
        file: Option<Spanned<PathBuf>>,
    },
    /// `trace add <node> <n>`
    TraceAdd {
        /// An input node.
        node: Spanned<String>,
        /// How many more packets to trace.
        count: Spanned<u32>,
    },
    /// `clear trace`
    ClearTrace,
    /// `clear runtime`
    ClearRuntime,
    /// `clear errors`
    ClearErrors,
    /// `clear interfaces`
    ClearInterfaces,
    /// `debug …`
    Debug(Debug),
    /// `show … [json]`
    Show {
        /// What to show.
        show: Show,
        /// Print the body of the matching `GET /v1/…` instead of text.
        json: bool,
    },
    /// `help [<word> …]`, or any line that ends in `?`.
    Help {
        /// The words before the question mark.
        topic: Vec<String>,
    },
    /// `quit`: ends an interactive session or a script.
    Quit,
}

/// The operands of `ping`. `None` stands for the default in [`crate::defaults`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Whom to ask.
    pub address: Spanned<IpAddr>,
    /// Use this interface's address as the source.
    pub source: Option<Spanned<String>>,
    /// ICMP payload, bytes.
    pub size: Option<u16>,
    /// Time between requests, milliseconds. The CLI takes seconds with up to three decimals.
    pub interval_ms: Option<u32>,
    /// How many requests.
    pub repeat: Option<u32>,
}

/// The operands of `wait drained`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitDrained {
    /// The VIP.
    pub vip: VipKey,
    /// Its AS.
    pub server: Spanned<IpAddr>,
    /// How long at most, seconds; `None` is for ever.
    pub timeout_s: Option<Spanned<u32>>,
}

impl Command {
    /// Does this command change the model, as opposed to reading it or clearing counters?
    pub fn is_configuration(&self) -> bool {
        match self {
            Command::LbConf(_)
            | Command::LbVipAdd(_)
            | Command::LbVipUpdate(_)
            | Command::LbVipDel(_)
            | Command::LbAs(_)
            | Command::LbFlushVip(_)
            | Command::LbFlushAll
            | Command::LbNoMatch(_)
            | Command::LbSetInterfaceNat { .. }
            | Command::CreateIpipTunnel { .. }
            | Command::DeleteIpipTunnel { .. }
            | Command::CreateSubInterface(_)
            | Command::DeleteSubInterface { .. }
            | Command::SetInterfaceState { .. }
            | Command::SetInterfaceMtu { .. }
            | Command::SetInterfaceIpAddress { .. }
            | Command::IpRoute { .. }
            | Command::SetIpNeighbor { .. } => true,
            Command::Blank
            | Command::Ping(_)
            | Command::WaitDrained(_)
            | Command::Exec { .. }
            | Command::Reload { .. }
            | Command::ReloadCancel
            | Command::Confirm
            | Command::Diff { .. }
            | Command::Save { .. }
            | Command::TraceAdd { .. }
            | Command::ClearTrace
            | Command::ClearRuntime
            | Command::ClearErrors
            | Command::ClearInterfaces
            | Command::Debug(_)
            | Command::Show { .. }
            | Command::Help { .. }
            | Command::Quit => false,
        }
    }

    /// Does this command leave everything as it is? It may then be run by whoever may only read.
    /// Commands that read files of the daemon's machine, send packets or clear counters do not.
    pub fn only_reads(&self) -> bool {
        // Whatever is not known here is taken for a change.
        matches!(self, Command::Blank | Command::Show { .. } | Command::Help { .. } | Command::Quit)
    }

    /// Is this one of the commands that are about the configuration as a whole: `reload`, `confirm`,
    /// `diff`, `save`?
    pub fn is_change(&self) -> bool {
        matches!(
            self,
            Command::Reload { .. }
                | Command::ReloadCancel
                | Command::Confirm
                | Command::Diff { .. }
                | Command::Save { .. }
        )
    }

    /// The configuration file that the command names, which is opened by the daemon.
    pub fn configuration_file(&mut self) -> Option<&mut PathBuf> {
        match self {
            Command::Reload { file, .. } | Command::Diff { file } | Command::Save { file } => {
                file.as_mut().map(|file| &mut file.value)
            }
            _ => None,
        }
    }

    /// Where the command asks for packets to be handed to the kernel, which takes a `[punt] tap`.
    pub fn punts(&self) -> Option<Span> {
        let policy = match self {
            Command::LbConf(conf) => conf.no_match,
            Command::LbNoMatch(no_match) => no_match.policy,
            _ => None,
        };
        policy.filter(|policy| policy.value == NoMatch::Punt).map(|policy| policy.span)
    }
}
