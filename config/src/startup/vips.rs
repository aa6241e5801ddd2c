//! Reads `[[vip]]`.

use std::collections::HashMap;
use std::net::IpAddr;

use toml::de::DeValue;

use super::Statement;
use super::lb::timeouts;
use super::network::{Interface, network};
use super::table::{Problems, Table, Value, article};
use crate::value::{self, Token};
use crate::vip_rules::{check_as_of_vip, check_vip};
use crate::{
    Admin, Command, Encap, LbAs, LbVipAdd, Prefix, Problem, Span, Spanned, VipKey, VipPort,
    defaults,
};

/// One AS of a VIP.
struct Server {
    address: Spanned<IpAddr>,
    weight: Option<Spanned<u8>>,
    encap: Option<Spanned<Encap>>,
    dscp: Option<Spanned<u8>>,
    admin: Option<Spanned<Admin>>,
}

/// One `[[vip]]`.
struct Vip {
    vip: LbVipAdd,
    servers: Vec<Server>,
    /// Protocol or port is there but could not be read, so `vip.key` is not what was meant.
    key_failed: bool,
    /// Something is there but could not be read, so that what follows from it is not known.
    failed: bool,
    span: Span,
}

const KEYS: [&str; 24] = [
    "prefix",
    "protocol",
    "port",
    "encap",
    "dscp",
    "type",
    "node-port",
    "target-port",
    "new-len",
    "src-ip-sticky",
    "scheduler",
    "mss",
    "timeout",
    "udp-timeout",
    "other-timeout",
    "tcp-syn-timeout",
    "tcp-established-timeout",
    "tcp-closing-timeout",
    "tcp-fin-wait-timeout",
    "tcp-close-wait-timeout",
    "tcp-time-wait-timeout",
    "tcp-close-timeout",
    "name",
    "as",
];

/// Reads every `[[vip]]`, which may be called `[[lb.vip]]`, with its ASs.
pub(super) fn vips(
    root: &Table<'_>,
    lb: Option<&Table<'_>>,
    interfaces: &[Interface],
    problems: &Problems,
) -> Vec<Statement> {
    let mut tables = root.tables("vip", "[[vip]]", &KEYS);
    tables.extend(lb.into_iter().flat_map(|lb| lb.tables("vip", "[[lb.vip]]", &KEYS)));
    let vips: Vec<Vip> = tables.iter().filter_map(|table| vip(table, problems)).collect();
    check_pairs(&vips, problems);
    check_servers(&vips, interfaces, problems);
    vips.into_iter().flat_map(statements).collect()
}

fn vip(table: &Table<'_>, problems: &Problems) -> Option<Vip> {
    let prefix = table.required("prefix", |t| network(t, "vip prefix"));
    let protocol = table.parsed("protocol", |t| value::choice(t, "protocol"));
    let ports = table.worded("port", |t| value::ports(t, "port"));
    let encap = table.parsed("encap", |t| value::choice(t, "encap"));
    let dscp = table.integer("dscp", &defaults::DSCP_RANGE);
    let service_type = table.parsed("type", |t| value::choice(t, "type"));
    let node_port = table.integer("node-port", &defaults::PORT_RANGE);
    let target_port = table.worded("target-port", |t| value::ports(t, "target-port"));
    let new_len = table.integer("new-len", &defaults::NEW_LEN_RANGE);
    let new_len = new_len.and_then(|n| problems.keep(value::new_flow_length(n)));
    let src_ip_sticky = table.flag("src-ip-sticky").is_some_and(|flag| flag.value);
    let scheduler = table.parsed("scheduler", |t| value::choice(t, "scheduler"));
    let mss = table.worded("mss", value::mss);
    let name = table.parsed("name", |t| value::name(t, "name"));
    let servers = table.array("as", "[\"192.168.1.1\"]");
    let servers: Vec<Server> = servers.into_iter().filter_map(|v| server(v, problems)).collect();
    let port = match (protocol, ports) {
        (Some(protocol), Some(ports)) => Some(VipPort { protocol, ports }),
        _ => None,
    };
    note_half_a_key(table);
    let key_failed = port.is_none() && table.value("protocol").or(table.value("port")).is_some();
    let failed = key_failed
        || table.failed("encap", &encap)
        || table.failed("dscp", &dscp)
        || table.failed("type", &service_type);

    let key = VipKey { prefix: prefix?, port };
    let vip = LbVipAdd {
        key,
        encap,
        dscp,
        service_type,
        node_port,
        target_port,
        new_len,
        src_ip_sticky,
        scheduler,
        mss,
        timeouts: timeouts(table),
        name,
    };
    if !failed {
        check_vip(&vip).into_iter().for_each(|problem| problems.note(problem));
    }
    Some(Vip { vip, servers, key_failed, failed, span: table.span })
}

/// Protocol and port come together or not at all. A key that is there but wrong has been noted
/// already.
fn note_half_a_key(table: &Table<'_>) {
    let (span, reason, hint) = match (table.key_span("protocol"), table.key_span("port")) {
        (Some(span), None) => (span, "protocol without a port", "add `port = <n>`"),
        (None, Some(span)) => {
            (span, "port without a protocol", "add `protocol = \"tcp\"` or `\"udp\"`")
        }
        _ => return,
    };
    table.note(Problem::new(span, reason).with_hint(hint));
}

/// An AS is `"address"` or `{ address = "…", weight = …, … }`.
fn server(value: Value<'_>, problems: &Problems) -> Option<Server> {
    let address = |token| value::host_address(token, "as address");
    match value.get_ref() {
        DeValue::String(text) => {
            let address = problems.keep(address(Token { text, span: value.span().into() }))?;
            Some(Server { address, weight: None, encap: None, dscp: None, admin: None })
        }
        DeValue::Table(_) => {
            let keys = ["address", "weight", "encap", "dscp", "admin"];
            let table = Table::of_value("an AS", value, &keys, problems)?;
            let weight = table.integer("weight", &defaults::WEIGHT_RANGE);
            let encap = table.parsed("encap", |t| value::choice(t, "encap"));
            let dscp = table.integer("dscp", &defaults::DSCP_RANGE);
            let admin = table.parsed("admin", |t| value::choice(t, "admin"));
            let address = table.required("address", address)?;
            Some(Server { address, weight, encap, dscp, admin })
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
    let mut by_prefix: HashMap<Prefix, Vec<&Vip>> = HashMap::new();
    let mut by_node_port = HashMap::new();
    let mut by_name: HashMap<&str, Span> = HashMap::new();
    for this in vips {
        let Vip { vip, key_failed, span, .. } = this;
        let key = vip.key;
        let earlier = by_prefix.entry(key.prefix.value).or_default();
        let clash = earlier
            .iter()
            .find(|first| !(*key_failed || first.key_failed) && first.vip.key.conflicts(&key));
        if let Some(Vip { vip: first, .. }) = clash {
            let reason = if first.key == key {
                format!("the VIP {key} is given twice")
            } else {
                format!("the ports of the VIP {key} overlap those of {}", first.key)
            };
            let related = first.key.prefix.span;
            problems
                .note(Problem::new(key.prefix.span, reason).with_related(related, "first here"));
        }
        earlier.push(this);
        if let Some(port) = vip.node_port() {
            let protocol = vip.key.port.map(|port| port.protocol.value.word());
            let named = (key.prefix.family(), protocol, port);
            let first = *by_node_port.entry(named).or_insert(key.prefix.span);
            if first != key.prefix.span {
                let span = vip.node_port.map_or(key.prefix.span, |port| port.span);
                let reason = format!("two VIPs have the node port {port}");
                problems.note(Problem::new(span, reason).with_related(first, "the first"));
            }
        }
        if let Some(name) = &vip.name {
            let first = *by_name.entry(&name.value).or_insert(*span);
            if first != *span {
                problems.note(
                    Problem::new(name.span, format!("two VIPs are called `{name}`"))
                        .with_related(first, "the first"),
                );
            }
        }
    }
}

/// Notes ASs that cannot be.
fn check_servers(vips: &[Vip], interfaces: &[Interface], problems: &Problems) {
    let mut by_prefix: HashMap<Prefix, &LbVipAdd> = HashMap::new();
    for Vip { vip, .. } in vips {
        by_prefix.entry(vip.key.prefix.value).or_insert(vip);
    }
    for Vip { vip, servers, failed, .. } in vips {
        let mut listed: HashMap<IpAddr, Span> = HashMap::new();
        for Server { address, encap, dscp, .. } in servers {
            let first = *listed.entry(address.value).or_insert(address.span);
            if first != address.span {
                let reason = format!("the AS {address} is listed twice");
                problems.note(Problem::new(address.span, reason).with_related(first, "first here"));
            }
            let broken = match failed {
                true => Vec::new(),
                false => check_as_of_vip(vip, *address, *encap, *dscp),
            };
            if !broken.is_empty() {
                broken.into_iter().for_each(|problem| problems.note(problem));
                continue;
            }
            if let Some(other) = by_prefix.get(&Prefix::host(address.value)) {
                let reason = format!("the AS {address} is the address of the VIP {}", other.key);
                problems.note(
                    Problem::new(address.span, reason)
                        .with_related(other.key.prefix.span, "the VIP")
                        .with_hint("an AS needs an address of its own"),
                );
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

/// The VIP, then its ASs: one command for each run of the same settings, then those to be drained.
fn statements(vip: Vip) -> Vec<Statement> {
    let key = vip.vip.key;
    let mut statements = vec![Statement { command: Command::LbVipAdd(vip.vip), span: vip.span }];
    let settings = |s: &Server| (s.weight, s.encap, s.dscp);
    let mut push = |run: &[Server], (weight, encap, dscp), admin| {
        let addresses: Vec<_> = run.iter().map(|s| s.address).collect();
        let span = Span::new(
            addresses.first().map_or(0, |a| a.span.start),
            addresses.last().map_or(0, |a| a.span.end),
        );
        let (del, flush) = (false, false);
        let command = LbAs { vip: key, addresses, weight, encap, dscp, admin, del, flush };
        statements.push(Statement { command: Command::LbAs(command), span });
    };
    for run in vip.servers.chunk_by(|a, b| settings(a) == settings(b)) {
        let Some(settings) = run.first().map(settings) else { continue };
        push(run, settings, None);
    }
    for run in vip.servers.chunk_by(|a, b| a.admin == b.admin) {
        let admin = run.first().and_then(|server| server.admin);
        let Some(admin) = admin.filter(|admin| admin.value != Admin::Up) else { continue };
        push(run, (None, None, None), Some(admin));
    }
    statements
}
