//! Commands written back as the CLI lines that mean them.

use std::fmt::{self, Display, Formatter, Write};

use crate::{
    Command, Family, FibQuery, FlowsQuery, HardwareDetail, LbAs, LbConf, LbNoMatch, LbVipAdd,
    LbVipUpdate, Ping, Show, Spanned, SubInterface, VipKey, WaitDrained, value,
};

/// The canonical line: parsing it gives the command back.
impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Command::LbConf(conf) => conf.fmt(f),
            Command::LbVipAdd(vip) => vip.fmt(f),
            Command::LbVipUpdate(update) => update.fmt(f),
            Command::LbVipDel(key) => write!(f, "lb vip {key} del"),
            Command::LbAs(servers) => servers.fmt(f),
            Command::LbFlushVip(key) => write!(f, "lb flush vip {key}"),
            Command::LbFlushAll => f.write_str("test lb flowtable flush"),
            Command::LbNoMatch(no_match) => no_match.fmt(f),
            Command::LbSetInterfaceNat { family, interfaces, del } => {
                interface_nat(f, *family, interfaces, *del)
            }
            Command::CreateIpipTunnel { source, destination, instance } => {
                write!(f, "create ipip tunnel src {source} dst {destination}")?;
                option(f, "instance", instance)
            }
            Command::DeleteIpipTunnel { interface } => write!(f, "delete ipip tunnel {interface}"),
            Command::CreateSubInterface(sub_interface) => sub_interface.fmt(f),
            Command::DeleteSubInterface { interface } => {
                write!(f, "delete sub-interface {interface}")
            }
            Command::SetInterfaceState { interface, up } => {
                write!(f, "set interface state {interface} {}", if *up { "up" } else { "down" })
            }
            Command::SetInterfaceMtu { interface, mtu } => {
                write!(f, "set interface mtu packet {mtu} {interface}")
            }
            Command::SetInterfaceIpAddress { interface, address, del } => {
                let del = if *del { " del" } else { "" };
                write!(f, "set interface ip address{del} {interface} {address}")
            }
            Command::IpRoute { prefix, via, interface, del } => {
                write!(f, "ip route {} {prefix}", if *del { "del" } else { "add" })?;
                flag(f, "via", via.is_some() || interface.is_some())?;
                word(f, via)?;
                word(f, interface)
            }
            Command::SetIpNeighbor { interface, address, mac, is_static, del } => {
                let del = if *del { " del" } else { "" };
                write!(f, "set ip neighbor{del} {interface} {address}")?;
                word(f, mac)?;
                flag(f, "static", *is_static)
            }
            Command::Ping(ping) => ping.fmt(f),
            Command::WaitDrained(wait) => wait.fmt(f),
            Command::Exec { file } => write!(f, "exec {}", file.display()),
            Command::Reload { file, confirm_s } => {
                f.write_str("reload")?;
                word(f, &path(file))?;
                option(f, "confirm", confirm_s)
            }
            Command::Diff { file } => {
                f.write_str("diff")?;
                word(f, &path(file))
            }
            Command::Save { file } => {
                f.write_str("save")?;
                word(f, &path(file))
            }
            Command::TraceAdd { node, count } => write!(f, "trace add {node} {count}"),
            Command::Debug(debug) => debug.fmt(f),
            Command::Show { show, json } => {
                write!(f, "show {show}")?;
                flag(f, "json", *json)
            }
            Command::Help { topic } => {
                f.write_str("help")?;
                topic.iter().try_for_each(|word| write!(f, " {word}"))
            }
            Command::Blank
            | Command::ReloadCancel
            | Command::Confirm
            | Command::ClearTrace
            | Command::ClearRuntime
            | Command::ClearErrors
            | Command::ClearInterfaces
            | Command::Quit => f.write_str(plain(self)),
        }
    }
}

fn interface_nat(
    f: &mut Formatter<'_>,
    family: Family,
    interfaces: &[Spanned<String>],
    del: bool,
) -> fmt::Result {
    let nat = match family {
        Family::Ip4 => "nat4",
        Family::Ip6 => "nat6",
    };
    write!(f, "lb set interface {nat}")?;
    interfaces.iter().try_for_each(|interface| write!(f, " in {interface}"))?;
    flag(f, "del", del)
}

/// The commands without operands.
fn plain(command: &Command) -> &'static str {
    match command {
        Command::ReloadCancel => "reload cancel",
        Command::Confirm => "confirm",
        Command::ClearTrace => "clear trace",
        Command::ClearRuntime => "clear runtime",
        Command::ClearErrors => "clear errors",
        Command::ClearInterfaces => "clear interfaces",
        Command::Quit => "quit",
        _ => "",
    }
}

fn path(file: &Option<Spanned<std::path::PathBuf>>) -> Option<std::path::Display<'_>> {
    file.as_ref().map(|file| file.display())
}

fn flag(f: &mut Formatter<'_>, name: &str, given: bool) -> fmt::Result {
    if given { write!(f, " {name}") } else { Ok(()) }
}

fn option<T: Display>(f: &mut Formatter<'_>, name: &str, value: &Option<T>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {name} {value}"),
        None => Ok(()),
    }
}

fn word<T: Display>(f: &mut Formatter<'_>, value: &Option<T>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {value}"),
        None => Ok(()),
    }
}

/// As in a command: `10.10.2.2/32 protocol tcp port 8080`.
impl Display for VipKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)?;
        match &self.port {
            Some(port) => write!(f, " protocol {} port {}", port.protocol, port.ports),
            None => Ok(()),
        }
    }
}

/// The canonical CLI line.
impl Display for LbConf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("lb conf")?;
        option(f, "ip4-src-address", &self.ip4_src_address)?;
        option(f, "ip6-src-address", &self.ip6_src_address)?;
        option(f, "buckets", &self.buckets)?;
        self.timeouts.fmt(f)?;
        option(f, "hash-key-file", &self.hash_key_file.as_ref().map(|file| file.display()))?;
        option(f, "tunnel-ttl", &self.tunnel_ttl)?;
        option(f, "tunnel-dscp", &self.tunnel_dscp)?;
        option(f, "tunnel-ecn", &self.tunnel_ecn)?;
        option(f, "tunnel-df", &self.tunnel_df)?;
        option(f, "too-big", &self.too_big)?;
        option(f, "gue-port", &self.gue_port)?;
        option(f, "ip4-src-entropy", &self.ip4_src_entropy)?;
        option(f, "ip6-src-entropy", &self.ip6_src_entropy)?;
        option(f, "no-match", &self.no_match)
    }
}

/// The canonical CLI line.
impl Display for LbVipAdd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "lb vip {}", self.key)?;
        option(f, "encap", &self.encap)?;
        option(f, "dscp", &self.dscp)?;
        option(f, "type", &self.service_type)?;
        option(f, "node_port", &self.node_port)?;
        option(f, "target_port", &self.target_port)?;
        option(f, "new_len", &self.new_len)?;
        flag(f, "src_ip_sticky", self.src_ip_sticky)?;
        option(f, "scheduler", &self.scheduler)?;
        option(f, "mss", &self.mss)?;
        self.timeouts.fmt(f)?;
        option(f, "name", &self.name)
    }
}

/// The canonical CLI line.
impl Display for LbVipUpdate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "lb vip {}", self.key)?;
        option(f, "encap", &self.encap)?;
        option(f, "dscp", &self.dscp)?;
        option(f, "type", &self.service_type)?;
        option(f, "node_port", &self.node_port)?;
        option(f, "target_port", &self.target_port)?;
        option(f, "new_len", &self.new_len)?;
        let sticky = self.src_ip_sticky.map(|sticky| if sticky.value { "on" } else { "off" });
        option(f, "src_ip_sticky", &sticky)?;
        option(f, "scheduler", &self.scheduler)?;
        option(f, "mss", &self.mss)?;
        self.timeouts.fmt(f)?;
        option(f, "name", &self.name)?;
        f.write_str(" update")
    }
}

/// The canonical CLI line.
impl Display for LbNoMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "lb no-match {}", self.prefix)?;
        word(f, &self.policy)?;
        flag(f, "del", self.policy.is_none())
    }
}

/// The canonical CLI line.
impl Display for SubInterface {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "create sub-interfaces {} {} {}", self.parent, self.id, self.tags)
    }
}

/// The canonical CLI line.
impl Display for LbAs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "lb as {}", self.vip)?;
        for address in &self.addresses {
            write!(f, " {address}")?;
        }
        option(f, "weight", &self.weight)?;
        option(f, "encap", &self.encap)?;
        option(f, "dscp", &self.dscp)?;
        word(f, &self.admin.map(|admin| admin.words()))?;
        flag(f, "del", self.del)?;
        flag(f, "flush", self.flush)
    }
}

/// The canonical CLI line.
impl Display for Ping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ping {}", self.address)?;
        option(f, "source", &self.source)?;
        option(f, "size", &self.size)?;
        option(f, "interval", &self.interval_ms.map(value::seconds))?;
        option(f, "repeat", &self.repeat)
    }
}

/// The canonical CLI line.
impl Display for WaitDrained {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "wait drained {} {}", self.vip, self.server)?;
        option(f, "timeout", &self.timeout_s)
    }
}

/// The words after `show lb flows`, each with a blank before it.
impl Display for FlowsQuery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        option(f, "vip", &self.vip)?;
        option(f, "as", &self.server)?;
        option(f, "client", &self.client)?;
        option(f, "limit", &self.limit)?;
        option(f, "cursor", &self.cursor)
    }
}

/// The words after `show`.
impl Display for Show {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Show::Lb => f.write_str("lb"),
            Show::LbVips { verbose } => verbosely(f, "lb vips", *verbose),
            Show::LbAs { vip } => {
                f.write_str("lb as")?;
                word(f, vip)
            }
            Show::LbFlow(flow) => write!(
                f,
                "lb flow {} {} {} {} {}",
                flow.source,
                flow.source_port,
                flow.destination,
                flow.destination_port,
                value::protocol_word(flow.protocol.value)
            ),
            Show::LbBalance => f.write_str("lb balance"),
            Show::LbFlows(query) => write!(f, "lb flows{query}"),
            Show::LbNoMatch => f.write_str("lb no-match"),
            Show::Interface { names } => named(f, "interface", names),
            Show::InterfaceAddress { names } => named(f, "interface address", names),
            Show::HardwareInterfaces { detail, names } => {
                let words = match detail {
                    HardwareDetail::Brief => "hardware-interfaces brief",
                    HardwareDetail::Normal => "hardware-interfaces",
                    HardwareDetail::Verbose => "hardware-interfaces verbose",
                };
                named(f, words, names)
            }
            Show::Fib { family, query } => {
                write!(f, "{} fib", value::ip_word(*family))?;
                match query {
                    FibQuery::All => Ok(()),
                    FibQuery::Summary => f.write_str(" summary"),
                    FibQuery::Entry { prefix, longest_match: true } => {
                        write!(f, " {}", prefix.address())
                    }
                    FibQuery::Entry { prefix, longest_match: false } => write!(f, " {prefix}"),
                }
            }
            Show::Neighbors { family, interface } => {
                write!(f, "{} neighbors", value::ip_word(*family))?;
                word(f, interface)
            }
            Show::IpipTunnel => f.write_str("ipip tunnel"),
            Show::Version { verbose } => verbosely(f, "version", *verbose),
            Show::Threads => f.write_str("threads"),
            Show::Runtime { verbose } => verbosely(f, "runtime", *verbose),
            Show::Errors => f.write_str("errors"),
            Show::Buffers => f.write_str("buffers"),
            Show::Trace { max } => {
                f.write_str("trace")?;
                option(f, "max", max)
            }
            Show::Events => f.write_str("events"),
            Show::RunningConfig => f.write_str("running-config"),
        }
    }
}

fn verbosely(f: &mut Formatter<'_>, words: &str, verbose: bool) -> fmt::Result {
    f.write_str(words)?;
    flag(f, "verbose", verbose)
}

fn named(f: &mut Formatter<'_>, words: &str, names: &[Spanned<String>]) -> fmt::Result {
    f.write_str(words)?;
    names.iter().try_for_each(|name| {
        f.write_char(' ')?;
        name.fmt(f)
    })
}
