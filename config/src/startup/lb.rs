//! Reads `[lb]` and `[[no-match]]`.

use super::Statement;
use super::network::{Interface, network};
use super::table::{Problems, Table};
use crate::value;
use crate::{
    Command, Family, FlowTimeout, FlowTimeouts, IdleTime, LbConf, LbNoMatch, Problem, Spanned,
    defaults,
};

const KEYS: [&str; 24] = [
    "ip4-src-address",
    "ip6-src-address",
    "buckets",
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
    "hash-key-file",
    "tunnel-ttl",
    "tunnel-dscp",
    "tunnel-ecn",
    "tunnel-df",
    "too-big",
    "gue-port",
    "ip4-src-entropy",
    "ip6-src-entropy",
    "no-match",
    "vip",
];

/// The section `[lb]`.
pub(super) fn section<'a>(root: &Table<'a>) -> Option<Table<'a>> {
    root.table("lb", "[lb]", &KEYS)
}

/// How long flows live.
pub(super) fn timeouts(table: &Table<'_>) -> FlowTimeouts {
    let mut timeouts = FlowTimeouts::default();
    for of in FlowTimeout::ALL {
        let seconds = table.integer(of.word(), &defaults::TIMEOUT_S_RANGE);
        timeouts.set(*of, seconds.map(|seconds| seconds.map(IdleTime::Seconds)));
    }
    timeouts
}

/// Reads the settings of `[lb]`.
pub(super) fn conf(table: &Table<'_>) -> Option<Statement> {
    let buckets = table.integer("buckets", &defaults::BUCKETS_RANGE);
    let entropy = |key, family| table.parsed(key, |t| value::src_entropy(t, key, family));
    let conf = LbConf {
        ip4_src_address: table.parsed("ip4-src-address", |t| value::ip4(t, "ip4-src-address")),
        ip6_src_address: table.parsed("ip6-src-address", |t| value::ip6(t, "ip6-src-address")),
        buckets: buckets.and_then(|n| value::buckets(n).map_err(|p| table.note(p)).ok()),
        timeouts: timeouts(table),
        hash_key_file: table.parsed("hash-key-file", |t| value::file(t, "hash key")),
        tunnel_ttl: table.integer("tunnel-ttl", &defaults::TUNNEL_TTL_RANGE),
        tunnel_dscp: table.worded("tunnel-dscp", value::tunnel_dscp),
        tunnel_ecn: table.parsed("tunnel-ecn", |t| value::choice(t, "tunnel-ecn")),
        tunnel_df: table.parsed("tunnel-df", |t| value::choice(t, "tunnel-df")),
        too_big: table.parsed("too-big", |t| value::choice(t, "too-big")),
        gue_port: table.integer("gue-port", &defaults::PORT_RANGE),
        ip4_src_entropy: entropy("ip4-src-entropy", Family::Ip4),
        ip6_src_entropy: entropy("ip6-src-entropy", Family::Ip6),
        no_match: table.parsed("no-match", |t| value::choice(t, "no-match")),
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

/// Reads every `[[no-match]]`.
pub(super) fn no_match(root: &Table<'_>, problems: &Problems) -> Vec<Statement> {
    let tables = root.tables("no-match", "[[no-match]]", &["prefix", "policy"]);
    let mut seen: Vec<Spanned<crate::Prefix>> = Vec::new();
    let mut statements = Vec::new();
    for table in tables {
        let prefix = table.required("prefix", |t| network(t, "prefix"));
        let policy = table.required("policy", |t| value::choice(t, "policy"));
        let Some(prefix) = prefix else { continue };
        if let Some(first) = seen.iter().find(|first| **first == prefix) {
            let reason = format!("the policy of {prefix} is given twice");
            problems.note(Problem::new(prefix.span, reason).with_related(first.span, "first here"));
        }
        seen.push(prefix);
        if policy.is_some() {
            let command = Command::LbNoMatch(LbNoMatch { prefix, policy });
            statements.push(Statement { command, span: table.span });
        }
    }
    statements
}
