//! The forms of the `show` commands. Every one takes `json`.

use std::net::IpAddr;

use super::form::{Form, Kind, Opt, Slot};
use super::vip_commands::{PORT, PROTOCOL, VIP_PREFIX, vip_key, vip_key_of};
use super::words::Words;
use crate::value;
use crate::{
    Command, Family, FibQuery, FlowQuery, FlowsQuery, HardwareDetail, Prefix, Problem, Protocol,
    Show, Spanned, defaults,
};

const INTERFACE: Slot = Slot { label: "<interface>", kind: Kind::Interface };
const JSON: &[Opt] = &[Opt::Flag("json")];
const VERBOSE: &[Opt] = &[Opt::Flag("verbose"), Opt::Flag("json")];

const ADDRESS: Slot = Slot { label: "<address>", kind: Kind::Address };
const PORT_NUMBER: Slot = Slot { label: "<port>", kind: Kind::Number };
const FIB_ENTRY: Slot = Slot { label: "<address>[/<length>]", kind: Kind::Address };
const FIB: &[Opt] = &[Opt::Flag("summary"), Opt::Flag("json")];

/// A form with options only.
const fn show(
    path: &'static [&'static str],
    usage: &'static str,
    summary: &'static str,
    options: &'static [Opt],
    build: fn(&Words<'_>) -> Result<Command, Problem>,
) -> Form {
    Form { path, usage, summary, leading: &[], required: 0, options, rest: None, build }
}

/// The same form, with interface names after it.
const fn of_interfaces(form: Form) -> Form {
    Form { rest: Some(INTERFACE), ..form }
}

/// The `show` commands.
pub(super) const FORMS: &[Form] = &[
    show(&["show", "lb"], "[json]", "settings and table usage", JSON, |w| Ok(shown(w, Show::Lb))),
    show(&["show", "lb", "vips"], "[verbose] [json]", "the VIPs", VERBOSE, |w| {
        Ok(shown(w, Show::LbVips { verbose: verbose(w) }))
    }),
    Form {
        leading: &[VIP_PREFIX],
        ..show(
            &["show", "lb", "as"],
            "[<vip-prefix> [protocol (tcp|udp) port (<n>|<a>-<b>)]] [json]",
            "the ASs of every VIP, or of one",
            &[PROTOCOL, PORT, Opt::Flag("json")],
            application_servers,
        )
    },
    Form {
        leading: &[
            ADDRESS,
            PORT_NUMBER,
            ADDRESS,
            PORT_NUMBER,
            Slot { label: "tcp|udp|<protocol>", kind: Kind::Choice(&["tcp", "udp"]) },
        ],
        required: 5,
        ..show(
            &["show", "lb", "flow"],
            "<source> <port> <vip> <port> (tcp|udp|<protocol>) [json]",
            "which AS a flow goes to, and why",
            JSON,
            flow,
        )
    },
    show(&["show", "lb", "balance"], "[json]", "where every packet went", JSON, |w| {
        Ok(shown(w, Show::LbBalance))
    }),
    show(
        &["show", "lb", "flows"],
        "[vip <vip-prefix> [protocol (tcp|udp) port (<n>|<a>-<b>)]] [as <address>] \
         [client <prefix>] [limit <n>] [cursor <thread>:<n>] [json]",
        "the flows that workers know, by pages",
        &[
            Opt::Value("vip", VIP_PREFIX),
            PROTOCOL,
            PORT,
            Opt::Value("as", ADDRESS),
            Opt::Value("client", Slot { label: "<prefix>", kind: Kind::Address }),
            Opt::Value("limit", Slot { label: "<n>", kind: Kind::Number }),
            Opt::Value("cursor", Slot { label: "<thread>:<n>", kind: Kind::Number }),
            Opt::Flag("json"),
        ],
        flows,
    ),
    show(&["show", "lb", "no-match"], "[json]", "policies for unknown ports", JSON, |w| {
        Ok(shown(w, Show::LbNoMatch))
    }),
    of_interfaces(show(
        &["show", "interface"],
        "[<interface> ...] [json]",
        "state and counters of interfaces",
        JSON,
        |w| Ok(shown(w, Show::Interface { names: names(w)? })),
    )),
    of_interfaces(show(
        &["show", "interface", "address"],
        "[<interface> ...] [json]",
        "addresses of interfaces",
        JSON,
        |w| Ok(shown(w, Show::InterfaceAddress { names: names(w)? })),
    )),
    of_interfaces(show(
        &["show", "hardware-interfaces"],
        "[brief|verbose] [<interface> ...] [json]",
        "the devices behind the interfaces",
        &[Opt::Flag("brief"), Opt::Flag("verbose"), Opt::Flag("detail"), Opt::Flag("json")],
        hardware,
    )),
    Form {
        leading: &[FIB_ENTRY],
        ..show(
            &["show", "ip", "fib"],
            "[summary] [<address>[/<length>]] [json]",
            "the IPv4 forwarding table",
            FIB,
            |w| fib(w, Family::Ip4),
        )
    },
    Form {
        leading: &[FIB_ENTRY],
        ..show(
            &["show", "ip6", "fib"],
            "[summary] [<address>[/<length>]] [json]",
            "the IPv6 forwarding table",
            FIB,
            |w| fib(w, Family::Ip6),
        )
    },
    Form {
        leading: &[INTERFACE],
        ..show(&["show", "ip", "neighbors"], "[<interface>] [json]", "the ARP table", JSON, |w| {
            neighbors(w, Family::Ip4)
        })
    },
    Form {
        leading: &[INTERFACE],
        ..show(
            &["show", "ip6", "neighbors"],
            "[<interface>] [json]",
            "the IPv6 neighbours",
            JSON,
            |w| neighbors(w, Family::Ip6),
        )
    },
    show(&["show", "ipip", "tunnel"], "[json]", "the tunnels", JSON, |w| {
        Ok(shown(w, Show::IpipTunnel))
    }),
    show(&["show", "version"], "[verbose] [json]", "version and build", VERBOSE, |w| {
        Ok(shown(w, Show::Version { verbose: verbose(w) }))
    }),
    show(&["show", "threads"], "[json]", "threads and their CPUs", JSON, |w| {
        Ok(shown(w, Show::Threads))
    }),
    show(&["show", "runtime"], "[verbose] [json]", "clocks of each node", VERBOSE, |w| {
        Ok(shown(w, Show::Runtime { verbose: verbose(w) }))
    }),
    show(&["show", "errors"], "[json]", "why packets were dropped", JSON, |w| {
        Ok(shown(w, Show::Errors))
    }),
    show(&["show", "buffers"], "[json]", "packet buffers in use", JSON, |w| {
        Ok(shown(w, Show::Buffers))
    }),
    show(
        &["show", "trace"],
        "[max <n>] [json]",
        "traced packets",
        &[Opt::Value("max", Slot { label: "<n>", kind: Kind::Number }), Opt::Flag("json")],
        |w| {
            let max =
                w.value("max", |t| value::number(t, "max", &defaults::SHOW_TRACE_MAX_RANGE))?;
            Ok(shown(w, Show::Trace { max: max.map(|n| n.value) }))
        },
    ),
    show(&["show", "events"], "[json]", "what happened to ASs", JSON, |w| {
        Ok(shown(w, Show::Events))
    }),
    show(&["show", "running-config"], "[json]", "the configuration as commands", JSON, |w| {
        Ok(shown(w, Show::RunningConfig))
    }),
];

fn shown(words: &Words<'_>, show: Show) -> Command {
    Command::Show { show, json: words.flag("json").is_some() }
}

fn verbose(words: &Words<'_>) -> bool {
    words.flag("verbose").is_some()
}

fn names(words: &Words<'_>) -> Result<Vec<Spanned<String>>, Problem> {
    words.rest().iter().map(|&t| value::name(t, "interface name")).collect()
}

fn hardware(words: &Words<'_>) -> Result<Command, Problem> {
    let verbose = words.flag("verbose").or(words.flag("detail"));
    let detail = match (words.flag("brief"), verbose) {
        (Some(_), Some(span)) => {
            return Err(Problem::new(span, "brief and verbose are mutually exclusive"));
        }
        (Some(_), None) => HardwareDetail::Brief,
        (None, Some(_)) => HardwareDetail::Verbose,
        (None, None) => HardwareDetail::Normal,
    };
    Ok(shown(words, Show::HardwareInterfaces { detail, names: names(words)? }))
}

fn application_servers(words: &Words<'_>) -> Result<Command, Problem> {
    let asked = words.leading(0).is_some()
        || words.values("protocol").chain(words.values("port")).next().is_some();
    let vip = asked.then(|| vip_key(words)).transpose()?;
    Ok(shown(words, Show::LbAs { vip }))
}

fn flow(words: &Words<'_>) -> Result<Command, Problem> {
    let port = |index, noun| value::number(words.required(index)?, noun, &(0..=u16::MAX));
    let query = FlowQuery {
        source: value::address(words.required(0)?, "source address")?,
        source_port: port(1, "the source port")?,
        destination: value::address(words.required(2)?, "vip address")?,
        destination_port: port(3, "the destination port")?,
        protocol: value::ip_protocol(words.required(4)?)?,
    };
    let (source, destination) = (query.source, query.destination);
    if Family::of(source.value) != Family::of(destination.value) {
        let family = Family::of(source.value);
        let reason = format!("both addresses have one family: the source {source} is {family}");
        return Err(Problem::new(destination.span, reason));
    }
    let has_ports = Protocol::ALL.iter().any(|p| p.number() == query.protocol.value);
    let ports = [query.source_port, query.destination_port];
    if let Some(port) = ports.into_iter().find(|port| port.value != 0 && !has_ports) {
        let reason = format!("protocol {} is balanced without ports", query.protocol);
        return Err(Problem::new(port.span, reason).with_hint("write 0 for both ports"));
    }
    Ok(shown(words, Show::LbFlow(query)))
}

fn flows(words: &Words<'_>) -> Result<Command, Problem> {
    let vip = words.values("vip").next().map(|prefix| vip_key_of(prefix, words)).transpose()?;
    let of_vip =
        ["protocol", "port"].into_iter().find_map(|word| Some((word, words.values(word).next()?)));
    if let (None, Some((word, value))) = (vip, of_vip) {
        return Err(Problem::new(value.span, format!("{word} without a VIP"))
            .with_hint("write `vip <vip-prefix> protocol (tcp|udp) port <n>`"));
    }
    Ok(shown(
        words,
        Show::LbFlows(FlowsQuery {
            vip,
            server: words.value("as", |t| value::address(t, "as address"))?,
            client: words.value("client", value::client_prefix)?,
            limit: words
                .value("limit", |t| value::number(t, "limit", &defaults::FLOWS_LIMIT_RANGE))?,
            cursor: words.value("cursor", value::flows_cursor)?,
        }),
    ))
}

fn neighbors(words: &Words<'_>, family: Family) -> Result<Command, Problem> {
    let interface = words.leading(0).map(|t| value::name(t, "interface name")).transpose()?;
    Ok(shown(words, Show::Neighbors { family, interface }))
}

fn fib(words: &Words<'_>, family: Family) -> Result<Command, Problem> {
    let query = match (words.leading(0), words.flag("summary")) {
        (None, None) => FibQuery::All,
        (None, Some(_)) => FibQuery::Summary,
        (Some(token), Some(_)) => {
            return Err(Problem::new(token.span, "summary counts all prefixes")
                .with_hint("leave the address out"));
        }
        (Some(token), None) => match token.text.parse::<IpAddr>() {
            Ok(address) => FibQuery::Entry {
                prefix: Spanned::new(Prefix::host(address), token.span),
                longest_match: true,
            },
            Err(_) => FibQuery::Entry {
                prefix: value::prefix(token, "prefix")?.map(|p| p.network()),
                longest_match: false,
            },
        },
    };
    if let FibQuery::Entry { prefix, .. } = query
        && prefix.family() != family
    {
        let other = if family == Family::Ip4 { "show ip6 fib" } else { "show ip fib" };
        let reason = format!("this is the {family} table, without {}", prefix.address());
        return Err(Problem::new(prefix.span, reason).with_hint(format!("write `{other}`")));
    }
    Ok(shown(words, Show::Fib { family, query }))
}
