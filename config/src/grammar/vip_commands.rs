//! The forms of `lb vip`, `lb as` and `lb flush vip`.

use std::net::IpAddr;

use super::form::{Form, Kind, Opt, Slot};
use super::lb_commands::{SECONDS, timeouts};
use super::words::Words;
use crate::choice::Choice;
use crate::value::{self, Parsed, Token};
use crate::vip_rules::{check_as, check_vip};
use crate::{
    Admin, Command, Encap, LbAs, LbVipAdd, LbVipUpdate, Problem, Protocol, Scheduler, ServiceType,
    Span, Spanned, VipKey, VipPort, WaitDrained, defaults,
};

pub(super) const VIP_PREFIX: Slot = Slot { label: "<vip-prefix>", kind: Kind::VipPrefix };
const ADDRESS: Slot = Slot { label: "<address>", kind: Kind::Address };
const NUMBER: Slot = Slot { label: "<n>", kind: Kind::Number };
const PORTS: Slot = Slot { label: "<n>|<a>-<b>", kind: Kind::Number };
pub(super) const PROTOCOL: Opt =
    Opt::Value("protocol", Slot { label: "tcp|udp", kind: Kind::Choice(Protocol::NAMES) });
pub(super) const PORT: Opt = Opt::Value("port", PORTS);
const DSCP: Opt = Opt::Value("dscp", NUMBER);
const ENCAP: Opt = Opt::Value(
    "encap",
    Slot { label: "gre4|gre6|ipip|gue|l3dsr|dr|nat4|nat6", kind: Kind::Choice(Encap::NAMES) },
);

/// `lb vip`, `lb as`, `lb flush vip`.
pub(super) const FORMS: &[Form] = &[
    Form {
        path: &["lb", "vip"],
        usage: "<vip-prefix> [protocol (tcp|udp) port (<n>|<a>-<b>)] \
                [encap (gre4|gre6|ipip|gue|l3dsr|dr|nat4|nat6)] [dscp <n>] \
                [type (nodeport|clusterip)] [node_port <n>] [target_port (<n>|<c>-<d>)] \
                [new_len <n>] [src_ip_sticky [on|off]] [scheduler (maglev|rr)] \
                [mss (auto|off|<n>)] [timeout <s>] [udp-timeout <s>] [other-timeout <s>] \
                [tcp-syn-timeout <s>] [tcp-established-timeout <s>] [tcp-closing-timeout <s>] \
                [tcp-fin-wait-timeout <s>] [tcp-close-wait-timeout <s>] \
                [tcp-time-wait-timeout <s>] [tcp-close-timeout <s>] [name <word>] [update|del]",
        summary: "add, change or delete a VIP",
        leading: &[VIP_PREFIX],
        required: 1,
        options: &[
            PROTOCOL,
            PORT,
            ENCAP,
            DSCP,
            Opt::Value(
                "type",
                Slot { label: "nodeport|clusterip", kind: Kind::Choice(ServiceType::NAMES) },
            ),
            Opt::Value("node_port", NUMBER),
            Opt::Value("target_port", PORTS),
            Opt::Value("new_len", NUMBER),
            Opt::Switch("src_ip_sticky"),
            Opt::Value(
                "scheduler",
                Slot { label: "maglev|rr", kind: Kind::Choice(Scheduler::NAMES) },
            ),
            Opt::Value("mss", Slot { label: "auto|off|<n>", kind: Kind::Choice(&["auto", "off"]) }),
            Opt::Value("timeout", SECONDS),
            Opt::Value("udp-timeout", SECONDS),
            Opt::Value("other-timeout", SECONDS),
            Opt::Value("tcp-syn-timeout", SECONDS),
            Opt::Value("tcp-established-timeout", SECONDS),
            Opt::Value("tcp-closing-timeout", SECONDS),
            Opt::Value("tcp-fin-wait-timeout", SECONDS),
            Opt::Value("tcp-close-wait-timeout", SECONDS),
            Opt::Value("tcp-time-wait-timeout", SECONDS),
            Opt::Value("tcp-close-timeout", SECONDS),
            Opt::Value("name", Slot { label: "<word>", kind: Kind::Word }),
            Opt::Flag("update"),
            Opt::Flag("del"),
        ],
        rest: None,
        build: vip,
    },
    Form {
        path: &["lb", "as"],
        usage: "<vip-prefix> [protocol (tcp|udp) port (<n>|<a>-<b>)] <address> [<address> [...]] \
                [weight <0-100>] [encap (gre4|gre6|ipip|gue|l3dsr|dr|nat4|nat6)] [dscp <n>] \
                [drain|drain then del|undrain|del] [flush]",
        summary: "add, change, drain or delete ASs of a VIP",
        leading: &[VIP_PREFIX],
        required: 1,
        options: &[
            PROTOCOL,
            PORT,
            Opt::Value("weight", NUMBER),
            ENCAP,
            DSCP,
            Opt::Flag("drain"),
            Opt::Flag("then"),
            Opt::Flag("undrain"),
            Opt::Flag("del"),
            Opt::Flag("flush"),
        ],
        rest: Some(ADDRESS),
        build: application_servers,
    },
    Form {
        path: &["lb", "flush", "vip"],
        usage: "<vip-prefix> [protocol (tcp|udp) port (<n>|<a>-<b>)]",
        summary: "forget the flows of a VIP",
        leading: &[VIP_PREFIX],
        required: 1,
        options: &[PROTOCOL, PORT],
        rest: None,
        build: |words| vip_key(words).map(Command::LbFlushVip),
    },
    Form {
        path: &["wait", "drained"],
        usage: "<vip-prefix> [protocol (tcp|udp) port (<n>|<a>-<b>)] <address> [timeout <s>]",
        summary: "wait until an AS that takes no new flows has none left",
        leading: &[VIP_PREFIX, ADDRESS],
        required: 2,
        options: &[PROTOCOL, PORT, Opt::Value("timeout", NUMBER)],
        rest: None,
        build: wait_drained,
    },
    Form {
        path: &["test", "lb", "flowtable", "flush"],
        usage: "",
        summary: "forget the flows of all VIPs",
        leading: &[],
        required: 0,
        options: &[],
        rest: None,
        build: |_| Ok(Command::LbFlushAll),
    },
];

/// Prefix, protocol and port(s). Protocol and port come together or not at all; port 0 is VPP's
/// other way to say all ports, of every protocol, whichever is written beside it.
pub(super) fn vip_key(words: &Words<'_>) -> Result<VipKey, Problem> {
    vip_key_of(words.required(0)?, words)
}

/// The same, of this prefix.
pub(super) fn vip_key_of(prefix: Token<'_>, words: &Words<'_>) -> Result<VipKey, Problem> {
    let prefix = value::prefix(prefix, "vip prefix")?.map(|p| p.network());
    let protocol = words.value("protocol", |t| value::choice(t, "protocol"))?;
    let ports = words.value("port", |t| match t.text {
        "0" => Ok(Spanned::new(None, t.span)),
        _ => value::ports(t, "port").map(|ports| ports.map(Some)),
    })?;
    let all = ports.is_some_and(|ports| ports.value.is_none());
    let ports = ports.and_then(|ports| Some(Spanned::new(ports.value?, ports.span)));
    let port = match (protocol, ports) {
        _ if all => None,
        (Some(protocol), Some(ports)) => Some(VipPort { protocol, ports }),
        (None, None) => None,
        (None, Some(ports)) => {
            return Err(Problem::new(ports.span, "port without a protocol").with_hint(format!(
                "write `protocol tcp port {ports}` or `protocol udp port {ports}`"
            )));
        }
        (Some(protocol), None) => {
            return Err(Problem::new(protocol.span, "protocol without a port")
                .with_hint(format!("write `protocol {protocol} port <n>`")));
        }
    };
    Ok(VipKey { prefix, port })
}

fn dscp(words: &Words<'_>) -> Result<Option<Spanned<u8>>, Problem> {
    words.value("dscp", |t| value::number(t, "dscp", &defaults::DSCP_RANGE))
}

fn vip(words: &Words<'_>) -> Result<Command, Problem> {
    let given = LbVipUpdate {
        key: vip_key(words)?,
        encap: words.value("encap", |t| value::choice(t, "encap"))?,
        dscp: dscp(words)?,
        service_type: words.value("type", |t| value::choice(t, "type"))?,
        node_port: words.value("node_port", |t| value::port(t, "node_port"))?,
        target_port: words.value("target_port", |t| value::ports(t, "target_port"))?,
        new_len: words.value("new_len", |t| {
            value::new_flow_length(value::number(t, "new_len", &defaults::NEW_LEN_RANGE)?)
        })?,
        src_ip_sticky: words.switch("src_ip_sticky"),
        scheduler: words.value("scheduler", |t| value::choice(t, "scheduler"))?,
        mss: words.value("mss", value::mss)?,
        timeouts: timeouts(words)?,
        name: words.value("name", |t| value::name(t, "name"))?,
    };
    if words.flag("del").is_some() {
        // VPP takes every other word with `del` and ignores it, and so do we: the line that made
        // the VIP, with `del` added, deletes it.
        return Ok(Command::LbVipDel(given.key));
    }
    if let Some(span) = words.flag("update") {
        if given == LbVipUpdate::new(given.key) {
            return Err(Problem::new(span, "update says nothing to change")
                .with_hint("such as `new_len <n> update`"));
        }
        return Ok(Command::LbVipUpdate(given));
    }
    let vip = new_vip(given);
    match check_vip(&vip).into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(Command::LbVipAdd(vip)),
    }
}

/// The VIP that the words make when there is none yet.
fn new_vip(given: LbVipUpdate) -> LbVipAdd {
    LbVipAdd {
        key: given.key,
        encap: given.encap,
        dscp: given.dscp,
        service_type: given.service_type,
        node_port: given.node_port,
        target_port: given.target_port,
        new_len: given.new_len,
        src_ip_sticky: given.src_ip_sticky.is_some_and(|sticky| sticky.value),
        scheduler: given.scheduler,
        mss: given.mss,
        timeouts: given.timeouts,
        name: given.name,
    }
}

fn application_servers(words: &Words<'_>) -> Result<Command, Problem> {
    let vip = vip_key(words)?;
    let (encap, dscp) = (words.value("encap", |t| value::choice(t, "encap"))?, dscp(words)?);
    let mut addresses: Vec<Spanned<IpAddr>> = Vec::new();
    for &token in words.rest() {
        let address = as_address(words, token)?;
        if let Some(problem) = check_as(&vip, address, encap, dscp).into_iter().next() {
            return Err(problem);
        }
        // VPP collapses duplicates.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Problem::new(words.end(), "no AS address provided").with_hint(words.usage()));
    }
    let weight = words.value("weight", |t| value::number(t, "weight", &defaults::WEIGHT_RANGE))?;
    let admin = admin(words)?;
    let del = words.flag("del").is_some() && admin.is_none();
    let alone = admin.map(|admin| admin.words()).or(del.then_some("del"));
    let settings = [
        (
            "weight",
            weight.map(|w| w.span),
            match del {
                true => "`weight 0` keeps the AS without new flows, `del` removes it",
                false => "the weight stays as it is; change it by a command of its own",
            },
        ),
        (
            "encap",
            encap.map(|e| e.span),
            "leave encap out: it goes for ASs however they are reached",
        ),
        ("dscp", dscp.map(|d| d.span), "leave dscp out: it goes for ASs however they are reached"),
        (
            "flush",
            words.flag("flush").filter(|_| admin.is_some_and(|admin| admin.value == Admin::Up)),
            "`flush` ends the flows of these ASs; do that by a command of its own",
        ),
    ];
    for (word, span, instead) in settings {
        if let (Some(span), Some(alone)) = (span, alone) {
            return Err(Problem::new(span, format!("{word} and {alone} are mutually exclusive"))
                .with_hint(instead));
        }
    }
    let flush = words.flag("flush").is_some();
    Ok(Command::LbAs(LbAs { vip, addresses, weight, encap, dscp, admin, del, flush }))
}

/// `drain`, `drain then del` or `undrain`.
fn admin(words: &Words<'_>) -> Result<Option<Spanned<Admin>>, Problem> {
    let [drain, then, undrain, del] =
        ["drain", "then", "undrain", "del"].map(|word| words.flag(word));
    let exclusive = |span, a, b| Problem::new(span, format!("{a} and {b} are mutually exclusive"));
    match (drain, then, undrain, del) {
        (Some(_), _, Some(undrain), _) => Err(exclusive(undrain, "undrain", "drain")),
        (None, Some(then), ..) => Err(Problem::new(then, "`then` without `drain` before it")
            .with_hint("write `drain then del`")),
        (Some(drain), Some(then), None, Some(del))
            if drain.end <= then.start && then.end <= del.start =>
        {
            Ok(Some(Spanned::new(Admin::DrainThenDel, Span::new(drain.start, del.end))))
        }
        (Some(_), Some(then), None, _) => {
            Err(Problem::new(then, "`then` is not between `drain` and `del`")
                .with_hint("write `drain then del`"))
        }
        (Some(_), None, None, Some(del)) => Err(exclusive(del, "del", "drain").with_hint(
            "`del` alone removes the AS and keeps its flows; `drain then del` removes it after its \
             last flow",
        )),
        (None, None, Some(_), Some(del)) => Err(exclusive(del, "del", "undrain")),
        (Some(drain), None, None, None) => Ok(Some(Spanned::new(Admin::Drain, drain))),
        (None, None, Some(undrain), None) => Ok(Some(Spanned::new(Admin::Up, undrain))),
        (None, None, None, _) => Ok(None),
    }
}

fn wait_drained(words: &Words<'_>) -> Result<Command, Problem> {
    let range = &defaults::WAIT_TIMEOUT_S_RANGE;
    Ok(Command::WaitDrained(WaitDrained {
        vip: vip_key(words)?,
        server: value::host_address(words.required(1)?, "as address")?,
        timeout_s: words.value("timeout", |t| value::number(t, "timeout", range))?,
    }))
}

fn as_address(words: &Words<'_>, token: Token<'_>) -> Parsed<IpAddr> {
    if token.text.contains(['.', ':']) {
        return value::host_address(token, "as address");
    }
    Err(words.unknown_as(token, format!("invalid as address: `{}`", token.text)))
}
