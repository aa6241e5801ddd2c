//! Reads `[cpu]`, `[dpdk]` and `[unix]`.

use std::path::PathBuf;

use super::table::{Problems, Table};
use super::{Cpu, Dev, Device, Dpdk, Hugepages, Poll, Unix, Workers, parse_core_list};
use crate::value::{self, Parsed, Token};
use crate::{Problem, Spanned, defaults, grammar};

/// EAL arguments that follow from other keys.
const OWN_EAL_ARGS: [(&str, &str); 14] = [
    ("-l", "set by [cpu]"),
    ("-c", "set by [cpu]"),
    ("--lcores", "set by [cpu]"),
    ("--main-lcore", "set by [cpu]"),
    ("--vdev", "set by [[dpdk.dev]]"),
    ("-a", "set by [[dpdk.dev]]"),
    ("--allow", "set by [[dpdk.dev]]"),
    ("-b", "set by [[dpdk.dev]]"),
    ("--block", "set by [[dpdk.dev]]"),
    ("--no-pci", "set by [[dpdk.dev]]"),
    ("--no-huge", "set by `hugepages`"),
    ("--in-memory", "set by `hugepages`"),
    ("--file-prefix", "chosen for each instance"),
    ("--proc-type", "always primary"),
];

/// Reads `[cpu]`. Without `poll`, workers sleep if every device is fed by the kernel.
pub(super) fn cpu(root: &Table<'_>, devs: &[Dev]) -> Cpu {
    let kernel_fed = devs.iter().all(|dev| dev.device.is_kernel_fed());
    let mut cpu = Cpu {
        main_core: defaults::MAIN_CORE.into(),
        workers: Workers::Count(defaults::WORKERS.into()),
        poll: if kernel_fed { Poll::Adaptive } else { Poll::Busy },
    };
    let keys = ["main-core", "workers", "corelist-workers", "poll"];
    let Some(table) = root.table("cpu", "[cpu]", &keys) else {
        return cpu;
    };
    if let Some(main) = table.integer("main-core", &(0..=defaults::MAX_CPU)) {
        cpu.main_core = main;
    }
    if let Some(poll) = table.parsed("poll", value::poll) {
        cpu.poll = poll.value;
    }
    if let Some(count) = table.integer("workers", &defaults::WORKERS_RANGE) {
        cpu.workers = Workers::Count(count);
    }
    if let Some(cores) = table.parsed("corelist-workers", core_list) {
        if let Some(span) = table.key_span("workers") {
            table.note(
                Problem::new(cores.span, "corelist-workers and workers exclude each other")
                    .with_related(span, "workers is given here")
                    .with_hint("corelist-workers says how many and where: leave workers out"),
            );
        }
        if cores.contains(&cpu.main_core.value) {
            let main = cpu.main_core;
            let problem = Problem::new(cores.span, format!("CPU {main} is the main core"))
                .with_hint(format!(
                    "leave CPU {main} out, choose another main-core, or write `workers = {}`, \
                     which shares the main core when CPUs are short",
                    cores.len()
                ));
            table.note(match table.key_span("main-core") {
                Some(_) => problem.with_related(main.span, "the main core"),
                None => problem,
            });
        }
        cpu.workers = Workers::Cores(cores);
    }
    cpu
}

fn core_list(token: Token<'_>) -> Parsed<Vec<u16>> {
    parse_core_list(token.text).map(|cores| Spanned::new(cores, token.span)).map_err(|why| {
        Problem::new(token.span, format!("invalid corelist-workers: {why}"))
            .with_hint("CPU numbers and ranges, such as \"1-3,8\"")
    })
}

/// Reads `[dpdk]` and its devices.
pub(super) fn dpdk(root: &Table<'_>) -> Dpdk {
    let mut dpdk = Dpdk {
        hugepages: Hugepages::Auto,
        buffers_per_numa: defaults::BUFFERS_PER_NUMA,
        eal_args: Vec::new(),
        devs: Vec::new(),
    };
    let keys = ["hugepages", "buffers-per-numa", "eal-args", "dev"];
    let Some(table) = root.table("dpdk", "[dpdk]", &keys) else {
        return dpdk;
    };
    if let Some(hugepages) = table.parsed("hugepages", value::hugepages) {
        dpdk.hugepages = hugepages.value;
    }
    if let Some(n) = table.integer("buffers-per-numa", &defaults::BUFFERS_PER_NUMA_RANGE) {
        dpdk.buffers_per_numa = n.value;
    }
    dpdk.eal_args = table.strings("eal-args", "[\"--log-level=lib.eal:debug\"]", eal_arg);
    let keys =
        ["name", "vdev", "pci", "num-rx-queues", "num-tx-queues", "num-rx-desc", "num-tx-desc"];
    dpdk.devs = table.tables("dev", "[[dpdk.dev]]", &keys).iter().filter_map(dev).collect();
    dpdk
}

fn eal_arg(token: Token<'_>) -> Parsed<String> {
    let option = token.text.split(['=', ' ']).next().unwrap_or_default();
    match OWN_EAL_ARGS.iter().find(|(own, _)| *own == option) {
        Some((_, why)) => {
            let reason = format!("the EAL argument {option} is Sluice's own: {why}");
            Err(Problem::new(token.span, reason).with_hint("leave it out"))
        }
        None => Ok(Spanned::new(token.text.to_owned(), token.span)),
    }
}

fn dev(table: &Table<'_>) -> Option<Dev> {
    let name = table.required("name", |token| value::name(token, "device name"));
    if let Some(problem) = name.as_ref().and_then(name_problem) {
        table.note(problem);
    }
    let vdev = table.parsed("vdev", vdev);
    let pci = table.parsed("pci", pci);
    let queues = |key| table.integer(key, &defaults::NUM_QUEUES_RANGE).map(|n| n.value);
    let descs = |key| table.integer(key, &defaults::NUM_DESC_RANGE).map(|n| n.value);
    let num_rx_queues = queues("num-rx-queues").unwrap_or(defaults::NUM_RX_QUEUES);
    let num_tx_queues = queues("num-tx-queues");
    let num_rx_desc = descs("num-rx-desc").unwrap_or(defaults::NUM_DESC);
    let num_tx_desc = descs("num-tx-desc").unwrap_or(defaults::NUM_DESC);
    match (table.key_span("vdev"), table.key_span("pci")) {
        (None, None) => table.note(
            Problem::new(table.span, "[[dpdk.dev]] lacks `vdev` or `pci`")
                .with_hint("vdev = \"net_af_packet0,iface=eth0\" or pci = \"0000:02:00.0\""),
        ),
        (Some(vdev), Some(pci)) => table.note(
            Problem::new(pci, "vdev and pci exclude each other")
                .with_related(vdev, "vdev is given here"),
        ),
        _ => {}
    }
    let device = match (vdev, pci) {
        (Some(vdev), _) => Device::Vdev(vdev),
        (None, pci) => Device::Pci(pci?),
    };
    Some(Dev { name: name?, device, num_rx_queues, num_tx_queues, num_rx_desc, num_tx_desc })
}

/// Why no device can have this name.
fn name_problem(name: &Spanned<String>) -> Option<Problem> {
    let problem = if name.value == "local0" {
        "`local0` is the interface that is always there".to_owned()
    } else if name.strip_prefix("ipip").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
        format!("`{}` is how tunnels are called", name.value)
    } else if let Some(keyword) = grammar::keyword(name) {
        format!("commands would take the device name `{}` for the word `{keyword}`", name.value)
    } else {
        return None;
    };
    Some(Problem::new(name.span, problem).with_hint("choose another name"))
}

fn vdev(token: Token<'_>) -> Parsed<String> {
    let refuse = |why: String, hint: &str| Err(Problem::new(token.span, why).with_hint(hint));
    let (driver, arguments) = token.text.split_once(',').unwrap_or((token.text, ""));
    let example = "such as \"net_af_packet0,iface=eth0\"";
    if !driver.starts_with("net_") || token.text.contains(char::is_whitespace) {
        return refuse(format!("`{}` is not a DPDK network vdev", token.text), example);
    }
    let iface = arguments.split(',').find_map(|a| a.strip_prefix("iface="));
    if driver.starts_with("net_af_packet") && iface.is_none_or(str::is_empty) {
        return refuse(format!("`{driver}` lacks the kernel interface it reads"), example);
    }
    if arguments.split(',').any(|a| a.starts_with("qpairs=")) {
        let hint = "write num-rx-queues; qpairs follows from it";
        return refuse("qpairs is Sluice's own".to_owned(), hint);
    }
    Ok(Spanned::new(token.text.to_owned(), token.span))
}

/// `[domain:]bus:device.function`, all hexadecimal.
fn pci(token: Token<'_>) -> Parsed<String> {
    let hex = |s: &str, len| s.len() == len && s.bytes().all(|b| b.is_ascii_hexdigit());
    let (slot, function) = token.text.rsplit_once('.').unwrap_or((token.text, ""));
    let parts: Vec<&str> = slot.split(':').collect();
    let valid = hex(function, 1)
        && match parts[..] {
            [domain, bus, device] => hex(domain, 4) && hex(bus, 2) && hex(device, 2),
            [bus, device] => hex(bus, 2) && hex(device, 2),
            _ => false,
        };
    if valid {
        let long = if parts.len() == 2 { "0000:" } else { "" };
        return Ok(Spanned::new(format!("{long}{}", token.text.to_lowercase()), token.span));
    }
    Err(Problem::new(token.span, format!("`{}` is not a PCI address", token.text))
        .with_hint("such as \"0000:02:00.0\""))
}

/// Notes devices that get in each other's way.
pub(super) fn check_devs(devs: &[Dev], problems: &Problems) {
    for (i, dev) in devs.iter().enumerate() {
        if let Some(first) = devs[..i].iter().find(|d| d.name == dev.name) {
            problems.note(
                Problem::new(dev.name.span, format!("two devices are called `{}`", dev.name))
                    .with_related(first.name.span, "the first"),
            );
        }
        let identity = |d: &Dev| match &d.device {
            Device::Vdev(v) => v.split(',').next().unwrap_or_default().to_owned(),
            Device::Pci(pci) => pci.value.clone(),
        };
        let place = |d: &Dev| match &d.device {
            Device::Vdev(text) | Device::Pci(text) => text.span,
        };
        let iface = |d: &Dev| match &d.device {
            Device::Vdev(v) => {
                v.split(',').find_map(|a| a.strip_prefix("iface=")).map(str::to_owned)
            }
            Device::Pci(_) => None,
        };
        if let Some(first) = devs[..i].iter().find(|d| identity(d) == identity(dev)) {
            let reason = format!("{} is used twice", identity(dev));
            let problem =
                Problem::new(place(dev), reason).with_related(place(first), "first used here");
            problems.note(match dev.device {
                Device::Vdev(_) => {
                    problem.with_hint("number vdevs: net_af_packet0, net_af_packet1")
                }
                Device::Pci(_) => problem,
            });
        } else if let Some(first) =
            devs[..i].iter().find(|d| iface(d).is_some() && iface(d) == iface(dev))
        {
            let reason = format!("iface={} is used twice", iface(dev).unwrap_or_default());
            problems.note(
                Problem::new(place(dev), reason).with_related(place(first), "first used here"),
            );
        }
    }
}

/// Reads `[unix]`.
pub(super) fn unix(root: &Table<'_>) -> Unix {
    let table = root.table("unix", "[unix]", &["cli-listen", "exec", "debug-commands"]);
    let listen = table.and_then(|t| t.parsed("cli-listen", |s| value::file(s, "socket")));
    Unix {
        cli_listen: listen.unwrap_or_else(|| Spanned::from(PathBuf::from(defaults::CLI_LISTEN))),
        exec: table.and_then(|t| t.parsed("exec", |s| value::file(s, "command file"))),
        debug_commands: table.and_then(|t| t.flag("debug-commands")).is_some_and(|flag| flag.value),
    }
}
