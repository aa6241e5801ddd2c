//! The forms of the `lb` commands.

use super::form::{Form, Kind, Opt, Slot};
use super::words::Words;
use crate::value::{self, Token};
use crate::vip_rules::{check_as, check_vip};
use crate::{Command, Family, LbAs, LbConf, LbVipAdd, Problem, Spanned, VipKey, VipPort, defaults};

const VIP_PREFIX: Slot = Slot { label: "<vip-prefix>", kind: Kind::VipPrefix };
const ADDRESS: Slot = Slot { label: "<address>", kind: Kind::Address };
const NUMBER: Slot = Slot { label: "<n>", kind: Kind::Number };
const SECONDS: Slot = Slot { label: "<seconds>", kind: Kind::Number };
const INTERFACE: Slot = Slot { label: "<interface>", kind: Kind::Interface };
const PROTOCOL: Opt =
    Opt::Value("protocol", Slot { label: "tcp|udp", kind: Kind::Choice(&["tcp", "udp"]) });
const PORT: Opt = Opt::Value("port", NUMBER);
const NAT_OPTIONS: &[Opt] = &[Opt::Many("in", INTERFACE), Opt::Flag("del")];

/// The `lb` commands.
pub(super) const FORMS: &[Form] = &[
    Form {
        path: &["lb", "conf"],
        usage: "[ip4-src-address <addr>] [ip6-src-address <addr>] [buckets <n>] \
                [buckets-log2 <n>] [timeout <s>] [tcp-established-timeout <s>] \
                [tcp-closing-timeout <s>] [hash-key-file <file>]",
        summary: "settings of the load balancer",
        leading: &[],
        required: 0,
        options: &[
            Opt::Value("ip4-src-address", ADDRESS),
            Opt::Value("ip6-src-address", ADDRESS),
            Opt::Value("buckets", NUMBER),
            Opt::Value("buckets-log2", NUMBER),
            Opt::Value("timeout", SECONDS),
            Opt::Value("tcp-established-timeout", SECONDS),
            Opt::Value("tcp-closing-timeout", SECONDS),
            Opt::Value("hash-key-file", Slot { label: "<file>", kind: Kind::File }),
        ],
        rest: None,
        build: conf,
    },
    Form {
        path: &["lb", "vip"],
        usage: "<vip-prefix> [protocol (tcp|udp) port <n>] [encap (gre6|gre4|l3dsr|nat4|nat6)] \
                [dscp <n>] [type (nodeport|clusterip)] [target_port <n>] [new_len <n>] \
                [src_ip_sticky] [name <word>] [del]",
        summary: "add or delete a VIP",
        leading: &[VIP_PREFIX],
        required: 1,
        options: &[
            PROTOCOL,
            PORT,
            Opt::Value(
                "encap",
                Slot {
                    label: "gre6|gre4|l3dsr|nat4|nat6",
                    kind: Kind::Choice(&["gre6", "gre4", "l3dsr", "nat4", "nat6"]),
                },
            ),
            Opt::Value("dscp", NUMBER),
            Opt::Value(
                "type",
                Slot {
                    label: "nodeport|clusterip",
                    kind: Kind::Choice(&["nodeport", "clusterip"]),
                },
            ),
            Opt::Value("target_port", NUMBER),
            Opt::Value("new_len", NUMBER),
            Opt::Flag("src_ip_sticky"),
            Opt::Value("name", Slot { label: "<word>", kind: Kind::Word }),
            Opt::Flag("del"),
        ],
        rest: None,
        build: vip,
    },
    Form {
        path: &["lb", "as"],
        usage: "<vip-prefix> [protocol (tcp|udp) port <n>] <address> [<address> [...]] \
                [weight <0-100>] [del] [flush]",
        summary: "add, re-weight or delete ASs of a VIP",
        leading: &[VIP_PREFIX],
        required: 1,
        options: &[
            PROTOCOL,
            PORT,
            Opt::Value("weight", NUMBER),
            Opt::Flag("del"),
            Opt::Flag("flush"),
        ],
        rest: Some(ADDRESS),
        build: application_servers,
    },
    Form {
        path: &["lb", "flush", "vip"],
        usage: "<vip-prefix> [protocol (tcp|udp) port <n>]",
        summary: "forget the flows of a VIP",
        leading: &[VIP_PREFIX],
        required: 1,
        options: &[PROTOCOL, PORT],
        rest: None,
        build: |words| vip_key(words).map(Command::LbFlushVip),
    },
    Form {
        path: &["lb", "set", "interface", "nat4"],
        usage: "in <interface> [in <interface> [...]] [del]",
        summary: "translate the replies of nat4 ASs that arrive here",
        leading: &[],
        required: 0,
        options: NAT_OPTIONS,
        rest: None,
        build: |words| interface_nat(words, Family::Ip4),
    },
    Form {
        path: &["lb", "set", "interface", "nat6"],
        usage: "in <interface> [in <interface> [...]] [del]",
        summary: "translate the replies of nat6 ASs that arrive here",
        leading: &[],
        required: 0,
        options: NAT_OPTIONS,
        rest: None,
        build: |words| interface_nat(words, Family::Ip6),
    },
];

fn conf(words: &Words<'_>) -> Result<Command, Problem> {
    if words.is_empty() {
        return Err(words.missing("a setting"));
    }
    let timeout = |word: &'static str| {
        words.value(word, |t| value::number(t, word, &defaults::TIMEOUT_S_RANGE))
    };
    let buckets = words.value("buckets", |t| {
        value::buckets(value::number(t, "buckets", &defaults::BUCKETS_RANGE)?)
    })?;
    let log2 = words.value("buckets-log2", |t| {
        value::number(t, "buckets-log2", &defaults::BUCKETS_LOG2_RANGE)
    })?;
    let buckets = match (buckets, log2) {
        (Some(_), Some(log2)) => {
            return Err(Problem::new(log2.span, "buckets and buckets-log2 say the same thing")
                .with_hint("give one of them"));
        }
        (buckets, log2) => buckets.or(log2.map(|n| n.map(|n| 1 << n))),
    };
    Ok(Command::LbConf(LbConf {
        ip4_src_address: words.value("ip4-src-address", |t| value::ip4(t, "ip4-src-address"))?,
        ip6_src_address: words.value("ip6-src-address", |t| value::ip6(t, "ip6-src-address"))?,
        buckets,
        timeout_s: timeout("timeout")?,
        tcp_established_timeout_s: timeout("tcp-established-timeout")?,
        tcp_closing_timeout_s: timeout("tcp-closing-timeout")?,
        hash_key_file: words.value("hash-key-file", |t| value::file(t, "hash key"))?,
    }))
}

/// Prefix, protocol and port. Protocol and port come together or not at all.
fn vip_key(words: &Words<'_>) -> Result<VipKey, Problem> {
    let prefix = value::prefix(words.required(0)?, "vip prefix")?.map(|p| p.network());
    let protocol = words.value("protocol", value::protocol)?;
    let port = words.value("port", |t| {
        value::port(t, "port").map_err(|problem| match t.text {
            "0" => problem.with_hint("an all-port VIP has neither protocol nor port"),
            _ => problem,
        })
    })?;
    let port = match (protocol, port) {
        (Some(protocol), Some(port)) => Some(VipPort { protocol, port }),
        (None, None) => None,
        (None, Some(port)) => {
            return Err(Problem::new(port.span, "port without a protocol").with_hint(format!(
                "write `protocol tcp port {port}` or `protocol udp port {port}`"
            )));
        }
        (Some(protocol), None) => {
            return Err(Problem::new(protocol.span, "protocol without a port")
                .with_hint(format!("write `protocol {protocol} port <n>`")));
        }
    };
    Ok(VipKey { prefix, port })
}

fn vip(words: &Words<'_>) -> Result<Command, Problem> {
    let vip = LbVipAdd {
        key: vip_key(words)?,
        encap: words.value("encap", value::encap)?,
        dscp: words.value("dscp", |t| value::number(t, "dscp", &defaults::DSCP_RANGE))?,
        service_type: words.value("type", value::service_type)?,
        target_port: words.value("target_port", |t| value::port(t, "target_port"))?,
        new_len: words.value("new_len", |t| {
            value::new_flow_length(value::number(t, "new_len", &defaults::NEW_LEN_RANGE)?)
        })?,
        src_ip_sticky: words.flag("src_ip_sticky").is_some(),
        name: words.value("name", |t| value::name(t, "name"))?,
    };
    if words.flag("del").is_some() {
        // VPP takes every other word with `del` and ignores it, and so do we: the line that made
        // the VIP, with `del` added, deletes it.
        return Ok(Command::LbVipDel(vip.key));
    }
    match check_vip(&vip).into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(Command::LbVipAdd(vip)),
    }
}

fn application_servers(words: &Words<'_>) -> Result<Command, Problem> {
    let vip = vip_key(words)?;
    let mut addresses: Vec<Spanned<std::net::IpAddr>> = Vec::new();
    for &token in words.rest() {
        let address = as_address(words, token)?;
        if let Some(problem) = check_as(&vip.prefix, address) {
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
    let del = words.flag("del");
    if let (Some(weight), Some(_)) = (weight, del) {
        return Err(Problem::new(weight.span, "weight and del are mutually exclusive")
            .with_hint("`weight 0` keeps the AS without new flows, `del` removes it"));
    }
    let flush = words.flag("flush").is_some();
    Ok(Command::LbAs(LbAs { vip, addresses, weight, del: del.is_some(), flush }))
}

fn as_address(words: &Words<'_>, token: Token<'_>) -> crate::value::Parsed<std::net::IpAddr> {
    if token.text.contains(['.', ':']) {
        return value::host_address(token, "as address");
    }
    Err(words.unknown_as(token, format!("invalid as address: `{}`", token.text)))
}

fn interface_nat(words: &Words<'_>, family: Family) -> Result<Command, Problem> {
    let interfaces = words
        .values("in")
        .map(|t| value::name(t, "interface name"))
        .collect::<Result<Vec<_>, _>>()?;
    if interfaces.is_empty() {
        return Err(words.missing("in <interface>"));
    }
    Ok(Command::LbSetInterfaceNat { family, interfaces, del: words.flag("del").is_some() })
}
