//! The forms of the `show` commands. Every one takes `json`.

use std::net::IpAddr;

use super::form::{Form, Kind, Opt, Slot};
use super::words::Words;
use crate::value;
use crate::{Command, FibQuery, HardwareDetail, Prefix, Problem, Show, Spanned, defaults};

const INTERFACE: Slot = Slot { label: "<interface>", kind: Kind::Interface };
const JSON: &[Opt] = &[Opt::Flag("json")];
const VERBOSE: &[Opt] = &[Opt::Flag("verbose"), Opt::Flag("json")];

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
    show(&["show", "lb", "as"], "[json]", "the ASs of every VIP", JSON, |w| {
        Ok(shown(w, Show::LbAs))
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
        leading: &[Slot { label: "<address>[/<length>]", kind: Kind::Address }],
        ..show(
            &["show", "ip", "fib"],
            "[summary] [<address>[/<length>]] [json]",
            "the forwarding table",
            &[Opt::Flag("summary"), Opt::Flag("json")],
            fib,
        )
    },
    Form {
        leading: &[INTERFACE],
        ..show(&["show", "ip", "neighbors"], "[<interface>] [json]", "the ARP table", JSON, |w| {
            let interface = w.leading(0).map(|t| value::name(t, "interface name"));
            Ok(shown(w, Show::IpNeighbors { interface: interface.transpose()? }))
        })
    },
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

fn fib(words: &Words<'_>) -> Result<Command, Problem> {
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
    Ok(shown(words, Show::IpFib(query)))
}
