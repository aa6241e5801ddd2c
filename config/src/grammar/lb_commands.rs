//! The forms of the `lb` commands that are not about one VIP.

use super::form::{Form, Kind, Opt, Slot};
use super::words::Words;
use crate::choice::Choice;
use crate::value;
use crate::{
    Command, Family, FlowTimeouts, LbConf, LbNoMatch, NoMatch, Problem, Spanned, TooBig, TunnelDf,
    TunnelEcn, defaults,
};

const ADDRESS: Slot = Slot { label: "<address>", kind: Kind::Address };
const PREFIX: Slot = Slot { label: "<prefix>", kind: Kind::VipPrefix };
const ENTROPY: Slot = Slot { label: "<prefix>|off", kind: Kind::Address };
const NUMBER: Slot = Slot { label: "<n>", kind: Kind::Number };
pub(super) const SECONDS: Slot =
    Slot { label: "<seconds>|default", kind: Kind::Choice(&["default"]) };
const INTERFACE: Slot = Slot { label: "<interface>", kind: Kind::Interface };
const POLICY: Slot = Slot { label: "drop|rst|icmp|punt", kind: Kind::Choice(NoMatch::NAMES) };
const NAT_OPTIONS: &[Opt] = &[Opt::Many("in", INTERFACE), Opt::Flag("del")];

/// A keyword whose value is a word of `T`.
const fn choice<T: Choice>(word: &'static str, label: &'static str) -> Opt {
    Opt::Value(word, Slot { label, kind: Kind::Choice(T::NAMES) })
}

/// `lb conf`, `lb no-match`, `lb set interface`.
pub(super) const FORMS: &[Form] = &[
    Form {
        path: &["lb", "conf"],
        usage: "[ip4-src-address <addr>] [ip6-src-address <addr>] [buckets <n>] \
                [buckets-log2 <n>] [timeout <s>] [udp-timeout <s>] [other-timeout <s>] \
                [tcp-syn-timeout <s>] [tcp-established-timeout <s>] [tcp-closing-timeout <s>] \
                [tcp-fin-wait-timeout <s>] [tcp-close-wait-timeout <s>] \
                [tcp-time-wait-timeout <s>] [tcp-close-timeout <s>] \
                [hash-key-file <file>] [tunnel-ttl <1-255>] \
                [tunnel-dscp (copy|<0-63>)] [tunnel-ecn (rfc6040|zero)] \
                [tunnel-df (copy|set|clear)] [too-big (drop|fragment)] [gue-port <n>] \
                [ip4-src-entropy (<prefix>|off)] [ip6-src-entropy (<prefix>|off)] \
                [no-match (drop|rst|icmp|punt)]",
        summary: "settings of the load balancer",
        leading: &[],
        required: 0,
        options: &[
            Opt::Value("ip4-src-address", ADDRESS),
            Opt::Value("ip6-src-address", ADDRESS),
            Opt::Value("buckets", NUMBER),
            Opt::Value("buckets-log2", NUMBER),
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
            Opt::Value("hash-key-file", Slot { label: "<file>", kind: Kind::File }),
            Opt::Value("tunnel-ttl", NUMBER),
            Opt::Value("tunnel-dscp", Slot { label: "copy|<0-63>", kind: Kind::Choice(&["copy"]) }),
            choice::<TunnelEcn>("tunnel-ecn", "rfc6040|zero"),
            choice::<TunnelDf>("tunnel-df", "copy|set|clear"),
            choice::<TooBig>("too-big", "drop|fragment"),
            Opt::Value("gue-port", NUMBER),
            Opt::Value("ip4-src-entropy", ENTROPY),
            Opt::Value("ip6-src-entropy", ENTROPY),
            Opt::Value("no-match", POLICY),
        ],
        rest: None,
        build: conf,
    },
    Form {
        path: &["lb", "no-match"],
        usage: "<prefix> (drop|rst|icmp|punt|del)",
        summary: "what packets to unknown ports of VIP addresses in a prefix get",
        leading: &[PREFIX, POLICY],
        required: 1,
        options: &[Opt::Flag("del")],
        rest: None,
        build: no_match,
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
    let entropy =
        |word: &'static str, family| words.value(word, |t| value::src_entropy(t, word, family));
    let ttl = &defaults::TUNNEL_TTL_RANGE;
    Ok(Command::LbConf(LbConf {
        ip4_src_address: words.value("ip4-src-address", |t| value::ip4(t, "ip4-src-address"))?,
        ip6_src_address: words.value("ip6-src-address", |t| value::ip6(t, "ip6-src-address"))?,
        buckets: buckets(words)?,
        timeouts: timeouts(words)?,
        hash_key_file: words.value("hash-key-file", |t| value::file(t, "hash key"))?,
        tunnel_ttl: words.value("tunnel-ttl", |t| value::number(t, "tunnel-ttl", ttl))?,
        tunnel_dscp: words.value("tunnel-dscp", value::tunnel_dscp)?,
        tunnel_ecn: words.value("tunnel-ecn", |t| value::choice(t, "tunnel-ecn"))?,
        tunnel_df: words.value("tunnel-df", |t| value::choice(t, "tunnel-df"))?,
        too_big: words.value("too-big", |t| value::choice(t, "too-big"))?,
        gue_port: words.value("gue-port", |t| value::port(t, "gue-port"))?,
        ip4_src_entropy: entropy("ip4-src-entropy", Family::Ip4)?,
        ip6_src_entropy: entropy("ip6-src-entropy", Family::Ip6)?,
        no_match: words.value("no-match", |t| value::choice(t, "no-match"))?,
    }))
}

/// How long flows live.
pub(super) fn timeouts(words: &Words<'_>) -> Result<FlowTimeouts, Problem> {
    FlowTimeouts::read(|of| words.value(of.word(), |t| value::idle_time(t, of.word())))
}

fn buckets(words: &Words<'_>) -> Result<Option<Spanned<u32>>, Problem> {
    let buckets = words.value("buckets", |t| {
        value::buckets(value::number(t, "buckets", &defaults::BUCKETS_RANGE)?)
    })?;
    let log2 = words.value("buckets-log2", |t| {
        value::number(t, "buckets-log2", &defaults::BUCKETS_LOG2_RANGE)
    })?;
    match (buckets, log2) {
        (Some(_), Some(log2)) => {
            Err(Problem::new(log2.span, "buckets and buckets-log2 say the same thing")
                .with_hint("give one of them"))
        }
        (buckets, log2) => Ok(buckets.or(log2.map(|n| n.map(|n| 1 << n)))),
    }
}

fn no_match(words: &Words<'_>) -> Result<Command, Problem> {
    let prefix = value::prefix(words.required(0)?, "prefix")?.map(|p| p.network());
    let policy = words.leading(1).map(|t| value::choice(t, "policy")).transpose()?;
    let del = words.flag("del").is_some();
    if policy.is_none() && !del {
        return Err(words.missing("drop|rst|icmp|punt"));
    }
    // As with `lb vip`: the line that made it, with `del` added, takes it away.
    Ok(Command::LbNoMatch(LbNoMatch { prefix, policy: policy.filter(|_| !del) }))
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
