//! Reads `[lb]` and `[[vip]]`.

use std::net::IpAddr;

use toml::de::DeValue;

use super::Statement;
use super::network::{Interface, network};
use super::table::{Problems, Table, Value, article};
use crate::value::{self, Token};
use crate::vip_rules::{check_as_of_vip, check_vip};
use crate::{
    Command, Encap, LbAs, LbConf, LbVipAdd, PortRange, Problem, Span, Spanned, VipKey, VipPort,
    defaults,
};

/// One AS of a VIP.
struct Server {
    address: Spanned<IpAddr>,
    weight: Option<Spanned<u8>>,
}

/// One `[[vip]]`.
struct Vip {
    vip: LbVipAdd,
    servers: Vec<Server>,
    /// Protocol or port is there but could not be read, so `vip.key` is not what was meant.
    key_failed: bool,
    span: Span,
}

/// Reads `[lb]`.
pub(super) fn conf(root: &Table<'_>) -> Option<Statement> {
    let keys = [
        "ip4-src-address",
        "ip6-src-address",
        "buckets",
        "timeout",
        "tcp-established-timeout",
        "tcp-closing-timeout",
        "hash-key-file",
    ];
    let table = root.table("lb", "[lb]", &keys)?;
    let timeout = |key| table.integer(key, &defaults::TIMEOUT_S_RANGE);
    let buckets = table.integer("buckets", &defaults::BUCKETS_RANGE);
    let conf = LbConf {
        ip4_src_address: table.parsed("ip4-src-address", |t| value::ip4(t, "ip4-src-address")),
        ip6_src_address: table.parsed("ip6-src-address", |t| value::ip6(t, "ip6-src-address")),
        buckets: buckets.and_then(|n| value::buckets(n).map_err(|p| table.note(p)).ok()),
        timeout_s: timeout("timeout"),
        tcp_established_timeout_s: timeout("tcp-established-timeout"),
        tcp_closing_timeout_s: timeout("tcp-closing-timeout"),
        hash_key_file: table.parsed("hash-key-file", |t| value::file(t, "hash key")),
        ..LbConf::default()
    };
    // `lb conf` without a setting is no command.
    (conf != LbConf::default())
        .then_some(Statement { command: Command::LbConf(conf), span: table.span })
}

/// The `lb set interface` commands of the interfaces.
pub(super) fn nat_statements(interfaces: &[Interface]) -> Vec<Statement> {
    let mut statements = Vec::new();
    for interface in interfaces {
        for &family in &interface.nat {
            let interfaces = vec![interface.name.clone()];
            let command = Command::LbSetInterfaceNat { family, interfaces, del: false };
            statements.push(Statement { command, span: interface.span });
        }
    }
    statements
}

/// Reads every `[[vip]]` with its ASs.
pub(super) fn vips(
    root: &Table<'_>,
    interfaces: &[Interface],
    problems: &Problems,
) -> Vec<Statement> {
    let keys = [
        "prefix",
        "protocol",
        "port",
        "encap",
        "type",
        "target-port",
        "new-len",
        "src-ip-sticky",
        "dscp",
        "name",
        "as",
    ];
    let tables = root.tables("vip", "[[vip]]", &keys);
    let vips: Vec<Vip> = tables.iter().filter_map(|table| vip(table, problems)).collect();
    check_pairs(&vips, problems);
    check_servers(&vips, interfaces, problems);
    vips.into_iter().flat_map(statements).collect()
}

fn vip(table: &Table<'_>, problems: &Problems) -> Option<Vip> {
    let prefix = table.required("prefix", |t| network(t, "vip prefix"));
    let protocol = table.parsed("protocol", |t| value::choice(t, "protocol"));
    let port = table.integer("port", &defaults::PORT_RANGE).map(|port| port.map(PortRange::one));
    let encap = table.parsed("encap", |t| value::choice(t, "encap"));
    let service_type = table.parsed("type", |t| value::choice(t, "type"));
    let target_port = table.integer("target-port", &defaults::PORT_RANGE);
    let target_port = target_port.map(|port| port.map(PortRange::one));
    let new_len = table.integer("new-len", &defaults::NEW_LEN_RANGE);
    let new_len = new_len.and_then(|n| problems.keep(value::new_flow_length(n)));
    let src_ip_sticky = table.flag("src-ip-sticky").is_some_and(|flag| flag.value);
    let dscp = table.integer("dscp", &defaults::DSCP_RANGE);
    let name = table.parsed("name", |t| value::name(t, "name"));
    let servers = table.array("as", "[\"192.168.1.1\"]");
    let servers: Vec<Server> = servers.into_iter().filter_map(|v| server(v, problems)).collect();

    // A key that is there but wrong has been noted already.
    let halves = match (table.key_span("protocol"), table.key_span("port")) {
        (Some(span), None) => Some((span, "protocol without a port", "add `port = <n>`")),
        (None, Some(span)) => {
            Some((span, "port without a protocol", "add `protocol = \"tcp\"` or `\"udp\"`"))
        }
        _ => None,
    };
    if let Some((span, reason, hint)) = halves {
        problems.note(Problem::new(span, reason).with_hint(hint));
    }
    let port = match (protocol, port) {
        (Some(protocol), Some(ports)) => Some(VipPort { protocol, ports }),
        _ => None,
    };
    let key_failed = port.is_none() && table.value("protocol").or(table.value("port")).is_some();
    let encap_failed = encap.is_none() && table.value("encap").is_some();
    let dscp_failed = dscp.is_none() && table.value("dscp").is_some();

    let key = VipKey { prefix: prefix?, port };
    let vip = LbVipAdd {
        encap,
        dscp,
        service_type,
        target_port,
        new_len,
        src_ip_sticky,
        name,
        ..LbVipAdd::new(key)
    };
    if !(key_failed || encap_failed || dscp_failed) {
        let unsupported = crate::unsupported(&Command::LbVipAdd(vip.clone()));
        let mut broken = check_vip(&vip);
        // What else is wrong with an encap that cannot be had is no help.
        if broken.is_empty() || vip.encap() != Encap::Nat4 {
            broken = unsupported.into_iter().collect();
        }
        broken.into_iter().for_each(|problem| problems.note(problem));
    }
    Some(Vip { vip, servers, key_failed, span: table.span })
}

/// An AS is `"address"` or `{ address = "…", weight = … }`.
fn server(value: Value<'_>, problems: &Problems) -> Option<Server> {
    let address = |token| value::host_address(token, "as address");
    match value.get_ref() {
        DeValue::String(text) => {
            let address = problems.keep(address(Token { text, span: value.span().into() }))?;
            Some(Server { address, weight: None })
        }
        DeValue::Table(_) => {
            let table = Table::of_value("an AS", value, &["address", "weight"], problems)?;
            let weight = table.integer("weight", &defaults::WEIGHT_RANGE);
            Some(Server { address: table.required("address", address)?, weight })
        }
        other => {
            let reason = format!("an AS must be a string or a table, not {}", article(other));
            problems.note(
                Problem::new(value.span().into(), reason)
                    .with_hint("\"192.168.1.1\" or { address = \"192.168.1.1\", weight = 50 }"),
            );
            None
        }
    }
}

/// Notes VIPs that cannot be there together.
fn check_pairs(vips: &[Vip], problems: &Problems) {
    for (i, Vip { vip, key_failed, .. }) in vips.iter().enumerate() {
        let (key, prefix) = (vip.key, vip.key.prefix);
        for Vip { vip: first, key_failed: first_failed, .. } in &vips[..i] {
            let reason = if *key_failed || *first_failed {
                continue;
            } else if first.key == key {
                format!("the VIP {key} is given twice")
            } else if first.key.prefix == prefix && (first.key.port.is_none() || key.port.is_none())
            {
                format!("an all-port VIP and a per-port VIP cannot share the prefix {prefix}")
            } else {
                continue;
            };
            let related = first.key.prefix.span;
            problems.note(Problem::new(prefix.span, reason).with_related(related, "first here"));
            break;
        }
        if let Some(name) = &vip.name
            && let Some(first) =
                vips[..i].iter().filter_map(|v| v.vip.name.as_ref()).find(|n| *n == name)
        {
            problems.note(
                Problem::new(name.span, format!("two VIPs are called `{name}`"))
                    .with_related(first.span, "the first"),
            );
        }
    }
}

/// Notes ASs that cannot be.
fn check_servers(vips: &[Vip], interfaces: &[Interface], problems: &Problems) {
    for Vip { vip, servers, .. } in vips {
        for (i, Server { address, .. }) in servers.iter().enumerate() {
            if let Some(first) = servers[..i].iter().find(|s| s.address == *address) {
                let reason = format!("the AS {address} is listed twice");
                problems.note(
                    Problem::new(address.span, reason)
                        .with_related(first.address.span, "first here"),
                );
            }
            let broken = check_as_of_vip(vip, *address, None, None);
            if !broken.is_empty() {
                broken.into_iter().for_each(|problem| problems.note(problem));
                continue;
            }
            let own = interfaces.iter().find_map(|interface| {
                let own = interface.addresses.iter().find(|p| p.address() == address.value)?;
                Some((own.span, &interface.name))
            });
            if let Some((span, name)) = own {
                let reason = format!("the AS {address} is our own address on {name}");
                problems.note(Problem::new(address.span, reason).with_related(span, "it is ours"));
            }
        }
    }
}

/// The VIP, then its ASs: one command for each run of the same weight.
fn statements(vip: Vip) -> Vec<Statement> {
    let key = vip.vip.key;
    let mut statements = vec![Statement { command: Command::LbVipAdd(vip.vip), span: vip.span }];
    for run in vip.servers.chunk_by(|a, b| a.weight == b.weight) {
        let addresses: Vec<_> = run.iter().map(|s| s.address).collect();
        let span = Span::new(
            addresses.first().map_or(0, |a| a.span.start),
            addresses.last().map_or(0, |a| a.span.end),
        );
        let weight = run.first().and_then(|s| s.weight);
        let command =
            LbAs { vip: key, addresses, weight, encap: None, dscp: None, del: false, flush: false };
        statements.push(Statement { command: Command::LbAs(command), span });
    }
    statements
}
