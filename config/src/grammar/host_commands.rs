//! The forms of the commands that are not about load balancing.

use super::form::{Form, Kind, Opt, Slot};
use super::words::Words;
use crate::value;
use crate::{Command, Ping, Problem, defaults};

const INTERFACE: Slot = Slot { label: "<interface>", kind: Kind::Interface };
const ADDRESS: Slot = Slot { label: "<address>", kind: Kind::Address };
const HOP: Slot = Slot { label: "<address>|<interface>", kind: Kind::Interface };
const PREFIX: Slot = Slot { label: "<address>/<length>", kind: Kind::Address };
const MAC: Slot = Slot { label: "<mac>", kind: Kind::Word };
const NUMBER: Slot = Slot { label: "<n>", kind: Kind::Number };
const BYTES: Slot = Slot { label: "<bytes>", kind: Kind::Number };
const WORD: Slot = Slot { label: "<word>", kind: Kind::Word };
const FILE: Slot = Slot { label: "<file>", kind: Kind::File };

/// A form of the path alone.
const fn plain(
    path: &'static [&'static str],
    summary: &'static str,
    build: fn(&Words<'_>) -> Result<Command, Problem>,
) -> Form {
    Form { path, usage: "", summary, leading: &[], required: 0, options: &[], rest: None, build }
}

/// The host commands.
pub(super) const FORMS: &[Form] = &[
    Form {
        path: &["set", "interface", "state"],
        usage: "<interface> (up|down)",
        summary: "turn an interface on or off",
        leading: &[INTERFACE, Slot { label: "up|down", kind: Kind::Choice(&["up", "down"]) }],
        required: 2,
        options: &[],
        rest: None,
        build: interface_state,
    },
    Form {
        path: &["set", "interface", "mtu"],
        usage: "[packet] <bytes> <interface>",
        summary: "the largest IP packet an interface carries",
        leading: &[BYTES, INTERFACE],
        required: 2,
        options: &[Opt::Flag("packet")],
        rest: None,
        build: interface_mtu,
    },
    Form {
        path: &["set", "interface", "ip", "address"],
        usage: "[del] <interface> <address>/<length>",
        summary: "an interface's own address and connected subnet",
        leading: &[INTERFACE, PREFIX],
        required: 2,
        options: &[Opt::Flag("del")],
        rest: None,
        build: interface_address,
    },
    Form {
        path: &["ip", "route"],
        usage: "[add|del] <address>/<length> via (<address> [<interface>]|<interface>)",
        summary: "add or delete a route",
        leading: &[PREFIX],
        required: 1,
        options: &[Opt::Flag("add"), Opt::Flag("del"), Opt::Value("via", HOP)],
        rest: Some(INTERFACE),
        build: route,
    },
    Form {
        path: &["set", "ip", "neighbor"],
        usage: "[del] <interface> <address> <mac> [static]",
        summary: "add or delete a neighbour",
        leading: &[INTERFACE, ADDRESS, MAC],
        required: 2,
        options: &[Opt::Flag("del"), Opt::Flag("static")],
        rest: None,
        build: neighbor,
    },
    Form {
        path: &["ping"],
        usage: "<address> [source <interface>] [size <bytes>] [interval <s>] [repeat <n>]",
        summary: "send ICMP echo requests",
        leading: &[ADDRESS],
        required: 1,
        options: &[
            Opt::Value("source", INTERFACE),
            Opt::Value("size", BYTES),
            Opt::Value("interval", Slot { label: "<seconds>", kind: Kind::Number }),
            Opt::Value("repeat", NUMBER),
        ],
        rest: None,
        build: ping,
    },
    Form {
        path: &["exec"],
        usage: "<file>",
        summary: "run the commands of a file, read by the daemon",
        leading: &[FILE],
        required: 1,
        options: &[],
        rest: None,
        build: |words| {
            let file = value::file(words.required(0)?, "command file")?;
            Ok(Command::Exec { file })
        },
    },
    Form {
        path: &["trace", "add"],
        usage: "<node> <n>",
        summary: "trace the next n packets through an input node",
        leading: &[Slot { label: "<node>", kind: Kind::Node }, NUMBER],
        required: 2,
        options: &[],
        rest: None,
        build: trace_add,
    },
    plain(&["clear", "trace"], "forget the traces", |_| Ok(Command::ClearTrace)),
    plain(&["clear", "runtime"], "restart the node statistics", |_| Ok(Command::ClearRuntime)),
    plain(&["clear", "errors"], "restart the error counters", |_| Ok(Command::ClearErrors)),
    plain(&["clear", "interfaces"], "restart the interface counters", |_| {
        Ok(Command::ClearInterfaces)
    }),
    Form {
        path: &["help"],
        usage: "[<word> ...]",
        summary: "the commands that begin with these words; so does a line ending in `?`",
        leading: &[],
        required: 0,
        options: &[],
        rest: Some(WORD),
        build: |words| {
            let topic = words.rest().iter().map(|t| t.text.to_owned()).collect();
            Ok(Command::Help { topic })
        },
    },
    Form {
        path: &["comment"],
        usage: "[<word> ...]",
        summary: "do nothing; so does a line that begins with `#`",
        leading: &[],
        required: 0,
        options: &[],
        rest: Some(WORD),
        build: |_| Ok(Command::Blank),
    },
    plain(&["quit"], "end the session", |_| Ok(Command::Quit)),
];

fn interface_state(words: &Words<'_>) -> Result<Command, Problem> {
    Ok(Command::SetInterfaceState {
        interface: value::name(words.required(0)?, "interface name")?,
        up: value::state(words.required(1)?)?.value,
    })
}

fn interface_mtu(words: &Words<'_>) -> Result<Command, Problem> {
    Ok(Command::SetInterfaceMtu {
        mtu: value::number(words.required(0)?, "mtu", &defaults::MTU_RANGE)?,
        interface: value::name(words.required(1)?, "interface name")?,
    })
}

fn interface_address(words: &Words<'_>) -> Result<Command, Problem> {
    Ok(Command::SetInterfaceIpAddress {
        interface: value::name(words.required(0)?, "interface name")?,
        address: value::interface_address(words.required(1)?)?,
        del: words.flag("del").is_some(),
    })
}

fn route(words: &Words<'_>) -> Result<Command, Problem> {
    let del = words.flag("del");
    if let (Some(_), Some(span)) = (words.flag("add"), del) {
        return Err(Problem::new(span, "add and del are mutually exclusive"));
    }
    let prefix = value::prefix(words.required(0)?, "route prefix")?.map(|p| p.network());
    let hop = words.values("via").next();
    if hop.is_none() && del.is_none() {
        return Err(words.missing("via <address>"));
    }
    let (via, through) = match hop {
        None => (None, None),
        Some(token) if value::looks_like_an_address(token.text) => {
            (Some(value::host_address(token, "next hop")?), None)
        }
        Some(token) => (None, Some(value::name(token, "interface name")?)),
    };
    let interface = match (words.rest(), via) {
        ([], _) => through,
        (&[token], Some(_)) => Some(value::name(token, "interface name")?),
        (&[token], None) | (&[_, token, ..], _) => {
            let reason = format!("unknown input `{}`", token.text);
            return Err(words.unknown_as(token, reason));
        }
    };
    if let Some(via) = via {
        value::check_hop(prefix.value, via, interface.is_some() || del.is_some())?;
    }
    Ok(Command::IpRoute { prefix, via, interface, del: del.is_some() })
}

fn neighbor(words: &Words<'_>) -> Result<Command, Problem> {
    let del = words.flag("del").is_some();
    let mac = words.leading(2).map(value::mac).transpose()?;
    if mac.is_none() && !del {
        return Err(words.missing("<mac>"));
    }
    Ok(Command::SetIpNeighbor {
        interface: value::name(words.required(0)?, "interface name")?,
        address: value::host_address(words.required(1)?, "neighbor address")?,
        mac,
        is_static: words.flag("static").is_some(),
        del,
    })
}

fn ping(words: &Words<'_>) -> Result<Command, Problem> {
    let size = words.value("size", |t| value::number(t, "size", &defaults::PING_SIZE_RANGE))?;
    let interval = words
        .value("interval", |t| value::millis(t, "interval", &defaults::PING_INTERVAL_MS_RANGE))?;
    let repeat =
        words.value("repeat", |t| value::number(t, "repeat", &defaults::PING_REPEAT_RANGE))?;
    Ok(Command::Ping(Ping {
        address: value::host_address(words.required(0)?, "address")?,
        source: words.value("source", |t| value::name(t, "interface name"))?,
        size: size.map(|n| n.value),
        interval_ms: interval.map(|n| n.value),
        repeat: repeat.map(|n| n.value),
    }))
}

fn trace_add(words: &Words<'_>) -> Result<Command, Problem> {
    Ok(Command::TraceAdd {
        node: value::name(words.required(0)?, "node name")?,
        count: value::number(words.required(1)?, "the packet count", &defaults::TRACE_COUNT_RANGE)?,
    })
}
