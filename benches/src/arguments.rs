//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::churn::Kinds;
use crate::family::Family;
use crate::flow::{FLOWS_MAX, Renewal};
use crate::frame_template::Direction;
use crate::mode::{EncapWord, Mode, ModeWord};
use crate::ports::device::Device;
use crate::ports::port_arguments::{self, GenerateArguments, NdrArguments, PairArguments};
use crate::service::{Service, VIPS_MAX, VipPorts};
use crate::site::SERVERS_MAX;
use crate::traffic::{Protocol, Size, TrafficSpec};

/// Measures what a packet costs: the balancer's own workers and graph on packets made in memory, in
/// one process, without root or NIC.
#[derive(Debug, Parser)]
#[command(name = "sluice-bench", version)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Measure forward modes
    Run(Box<RunArguments>),
    /// Compare two reports; exit with 1 when a case got worse by more than the threshold
    Compare(CompareArguments),
    /// Measure what this machine allows: reads of memory, hash, checksums, ports
    Limits(LimitsArguments),
    /// Measure control: building tables, loading and showing many VIPs, starting, memory
    Control(ControlArguments),
    /// Send packets through a port and look at what comes back
    Generate(GenerateArguments),
    /// Measure a device under test and a generator, two processes with a link between them
    Pair(PairArguments),
    /// Search the highest rate without loss (NDR) and with some (PDR), as RFC 2544 does
    Ndr(NdrArguments),
}

/// Where packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Harness {
    /// Made in memory; no EAL
    Memory,
    /// DPDK ports that replay a file for ever and drop what is sent
    Pcap,
}

/// `sluice-bench run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArguments {
    /// Forward modes, measured in turns; io is always one of them
    #[arg(long, value_enum, value_delimiter = ',', default_value = "lb")]
    pub mode: Vec<ModeWord>,
    /// Where packets come from and go to
    #[arg(long, value_enum, default_value = "memory")]
    pub harness: Harness,
    /// Keep the files that --harness pcap replays in this folder
    #[arg(long)]
    pub pcaps: Option<PathBuf>,
    /// How the mode lb sends packets to ASs
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nat4")]
    pub encap: Vec<EncapWord>,
    /// Family of clients and VIP; by default 6 for nat6 and ip6, 4 for all others
    #[arg(long, value_enum, value_delimiter = ',')]
    pub family: Vec<Family>,
    /// Ports of the VIP; by default one for NAT and all for others. NAT always has one
    #[arg(long, value_enum, value_delimiter = ',')]
    pub vip_ports: Vec<VipPorts>,
    /// Flows that are alive at once, over all workers
    #[arg(long, value_parser = flows, value_delimiter = ',', default_value = "1,1k,100k,1M")]
    pub flows: Vec<u64>,
    /// Bytes of a frame on the wire (64 to 1518, IPv6 at least 78), or imix (7 × 64, 4 × 594, 1 × 1518)
    #[arg(long, value_delimiter = ',', default_value = "64")]
    pub size: Vec<Size>,
    /// What flows are made of: UDP, TCP connections, or only TCP SYNs
    #[arg(long, value_enum, value_delimiter = ',', default_value = "udp")]
    pub protocol: Vec<Protocol>,
    /// New flows per second and worker in place of old ones, or all: every packet is a new flow
    #[arg(long, value_parser = renewal, value_delimiter = ',', default_value = "0")]
    pub new_flows: Vec<Renewal>,
    /// Application servers
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=i64::from(SERVERS_MAX)))]
    pub servers: u16,
    /// Sticky buckets per worker; by default the fewest that stay half empty
    #[arg(long, value_parser = buckets)]
    pub buckets: Option<u32>,
    /// Packets that arrive at once, at most
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub burst: u16,
    /// How often each mode is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Milliseconds of each measurement
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub millis: u32,
    /// Workers, each on a CPU of its own; several numbers are measured in turns
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Vec<u16>,
    /// Changes of ASs per second while it is measured, in turns with none
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub churn: Vec<u32>,
    /// Which changes these are: of ASs alone, or also flushes, sticky tables of another size, and
    /// transactions over many ASs
    #[arg(long, value_enum, default_value_t)]
    pub changes: Kinds,
    /// VIPs; only one has traffic
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(VIPS_MAX)))]
    pub vips: u32,
    /// Slots of each VIP's table of new flows: a power of two or a prime
    #[arg(long)]
    pub vip_length: Option<u32>,
    /// Say how long packets take from arrival to transmission, when so many percent of what a worker
    /// can do arrive by a schedule
    #[arg(long, value_delimiter = ',', value_parser = load)]
    pub latency: Vec<f64>,
    /// Send the frames of this capture file (classic pcap, Ethernet) instead of made ones
    #[arg(long)]
    pub pcap: Option<PathBuf>,
    /// Measure what the commands in this file set up, instead of --mode and --encap; the port is bench0
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Say how long workers are away from their queues, between ends of turns
    #[arg(long)]
    pub gaps: bool,
    /// CPUs of the workers; by default the last ones
    #[arg(long, value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// Say where the cycles go, node by node
    #[arg(long)]
    pub nodes: bool,
    /// Write the report here
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Forward what comes from outside: a PCI address, or a virtual device such as
    /// net_af_packet0,iface=veth0; twice for a port of clients and a port of ASs
    #[arg(long, conflicts_with_all = ["harness", "pcaps", "size", "new_flows", "burst", "repeats", "millis"])]
    pub dev: Vec<Device>,
    /// Seconds to forward with --dev; 0 until it is interrupted
    #[arg(long, default_value_t = 10.0, value_parser = port_arguments::seconds, requires = "dev")]
    pub seconds: f64,
    /// Take orders from standard input, as `sluice-bench pair` gives them
    #[arg(long, hide = true, requires = "dev")]
    pub controlled: bool,
}

/// `sluice-bench compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArguments {
    /// Report of before
    pub before: PathBuf,
    /// Report of after
    pub after: PathBuf,
    /// Percent by which a case may be worse
    #[arg(long, default_value_t = 5.0, value_parser = percent)]
    pub threshold: f64,
}

/// `sluice-bench limits`.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitsArguments {
    /// Bytes of the tables for random reads
    #[arg(long, value_parser = bytes, value_delimiter = ',', default_value = "32K,1M,16M,64M,256M,1G")]
    pub tables: Vec<usize>,
    /// The CPU to measure; by default the last one
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Modes whose work is compared with the least that balancing can cost
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nat4,gre4")]
    pub encap: Vec<EncapWord>,
    /// Flows with which they are compared
    #[arg(long, value_parser = flows, value_delimiter = ',', default_value = "1,1k,100k,1M")]
    pub flows: Vec<u64>,
    /// How often each mode is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Milliseconds of each measurement
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub millis: u32,
    /// Write the limits here
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// `sluice-bench control`.
#[derive(Clone, Debug, clap::Args)]
pub struct ControlArguments {
    /// Slots of the table of new flows that is built
    #[arg(long, default_value_t = 65_537)]
    pub slots: u32,
    /// ASs of that table
    #[arg(long, default_value_t = SERVERS_MAX, value_parser = clap::value_parser!(u16).range(1..=i64::from(SERVERS_MAX)))]
    pub members: u16,
    /// VIPs that are loaded and shown
    #[arg(long, value_parser = vips, default_value = "10k")]
    pub vips: u32,
    /// ASs of each of these
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub servers: u32,
    /// Buckets of the sticky table that is filled to one half
    #[arg(long, value_parser = buckets, default_value = "524288")]
    pub buckets: u32,
    /// How often short things are repeated
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Write the figures here
    #[arg(long)]
    pub json: Option<PathBuf>,
}

fn vips(text: &str) -> Result<u32, String> {
    match u32::try_from(count(text)?) {
        Ok(vips @ 1..=VIPS_MAX) => Ok(vips),
        _ => Err(format!("there can be 1 to {VIPS_MAX} VIPs")),
    }
}

/// `1000`, `1k`, `10M`: decimal thousands.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("{text} is not a number like 100k or 1M"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text} is too much"))
}

pub(crate) fn flows(text: &str) -> Result<u64, String> {
    match count(text)? {
        flows @ 1..=FLOWS_MAX => Ok(flows),
        _ => Err(format!("there can be 1 to {FLOWS_MAX} flows")),
    }
}

pub(crate) fn renewal(text: &str) -> Result<Renewal, String> {
    match text {
        "all" => Ok(Renewal::EveryPacket),
        _ => match count(text)? {
            rate @ 0..=100_000_000 => Ok(Renewal::PerSecond(rate)),
            _ => Err("at most 100M new flows per second, or say all".to_owned()),
        },
    }
}

pub(crate) fn buckets(text: &str) -> Result<u32, String> {
    let range = config::defaults::BUCKETS_RANGE;
    let number = u32::try_from(count(text)?).unwrap_or(u32::MAX);
    match range.contains(&number) && number.is_power_of_two() {
        true => Ok(number),
        false => Err(format!("a power of two of {} to {} is needed", range.start(), range.end())),
    }
}

/// `32K`, `1M`, `1G`: binary.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let wrong = || format!("{text} is not a size like 32K, 16M or 1G, of 4K to 64G");
    let number: usize = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if (4 << 10..=64 << 30).contains(&bytes) { Ok(bytes) } else { Err(wrong()) }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err(format!("{text} is not a percentage")),
    }
}

fn load(text: &str) -> Result<f64, String> {
    match percent(text)? {
        percent if percent > 0.0 && percent <= 1000.0 => Ok(percent),
        _ => Err("a load is above 0 and at most 1000 percent".to_owned()),
    }
}

/// Modes that are measured together, on the same packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which way packets go.
    pub direction: Direction,
    /// The packets.
    pub spec: TrafficSpec,
    /// VIPs and ASs.
    pub service: Service,
    /// The modes, `io` first.
    pub modes: Vec<Mode>,
}

impl RunArguments {
    /// Everything that is to be measured, in order.
    ///
    /// # Errors
    ///
    /// Arguments that do not go together.
    pub fn groups(&self) -> Result<Vec<Group>, String> {
        if self.harness == Harness::Pcap {
            self.check_pcap()?;
        } else if self.pcaps.is_some() {
            return Err("--pcaps is for --harness pcap".to_owned());
        }
        let named = match self.config {
            Some(_) => vec![Mode::Io, Mode::Configured],
            None => Mode::named(&self.mode, &self.encap),
        };
        if self.pcap.is_some() {
            return self.recorded_group(named);
        }
        let mut groups = Vec::new();
        for direction in [Direction::Forward, Direction::Return] {
            for family in self.families(&named)? {
                let wanted = |mode: &Mode| match self.family.is_empty() {
                    true => mode.usual_family() == family,
                    false => mode.takes(family),
                };
                let fits = |mode: &Mode| {
                    matches!(mode, Mode::Io | Mode::Macswap)
                        || mode.direction() == direction && wanted(mode)
                };
                let modes: Vec<_> = named.iter().copied().filter(fits).collect();
                // `io` alone is of interest only when nothing else was asked for.
                let alone = modes.iter().all(|mode| matches!(mode, Mode::Io | Mode::Macswap));
                if alone && (direction == Direction::Return || modes.len() < named.len()) {
                    continue;
                }
                self.add_groups(&mut groups, direction, family, &modes)?;
            }
        }
        Ok(groups)
    }

    /// All modes on the packets of a file. What these are is not known here.
    fn recorded_group(&self, modes: Vec<Mode>) -> Result<Vec<Group>, String> {
        if modes.iter().any(|mode| mode.direction() == Direction::Return) {
            return Err(
                "answers are for flows that the bench has made; --pcap has others".to_owned()
            );
        }
        let protocol = *self.protocol.first().ok_or("no --protocol")?;
        let family = self.family.first().copied().unwrap_or_default();
        let ports = self.vip_ports.first().copied();
        let (flows, size, renewal) = (1, Size::Fixed(64), Renewal::PerSecond(0));
        let spec = TrafficSpec { family, flows, size, protocol, renewal };
        let direction = Direction::Forward;
        Ok(vec![Group { direction, spec, service: self.service(ports), modes }])
    }

    /// The families of clients: those asked for, or those that the modes need.
    fn families(&self, modes: &[Mode]) -> Result<Vec<Family>, String> {
        let takes = |mode: &Mode| self.family.iter().any(|family| mode.takes(*family));
        if let Some(mode) = modes.iter().find(|mode| !self.family.is_empty() && !takes(mode)) {
            return Err(format!("{} is not for this family of clients", mode.name()));
        }
        let both = [Family::Ip4, Family::Ip6];
        let needed = |family: &Family| match self.family.as_slice() {
            [] => modes.iter().any(|mode| mode.usual_family() == *family),
            asked_for => asked_for.contains(family),
        };
        Ok(both.into_iter().filter(needed).collect())
    }

    fn add_groups(
        &self,
        groups: &mut Vec<Group>,
        direction: Direction,
        family: Family,
        modes: &[Mode],
    ) -> Result<(), String> {
        let ports: Vec<_> = match self.vip_ports.as_slice() {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        for spec in self.specs(family) {
            if direction == Direction::Return {
                answerable(&spec)?;
                if !self.churn.is_empty() {
                    return Err("answers have no churn: their ASs must stay".to_owned());
                }
            }
            groups.extend(ports.iter().map(|ports| Group {
                direction,
                spec,
                service: self.service(*ports),
                modes: modes.to_vec(),
            }));
        }
        Ok(())
    }

    /// VIPs and ASs.
    pub fn service(&self, ports: Option<VipPorts>) -> Service {
        let Self { servers, vips, vip_length, .. } = *self;
        Service { servers, ports, vips, vip_length }
    }

    /// Most workers of any measurement.
    pub fn most_workers(&self) -> usize {
        self.workers.iter().copied().max().map_or(1, usize::from)
    }

    /// Changes per second, none first; empty when none were asked for.
    pub fn churn_rates(&self) -> Vec<u32> {
        let mut rates = self.churn.clone();
        if !rates.is_empty() {
            rates.push(0);
        }
        rates.sort_unstable();
        rates.dedup();
        rates
    }

    /// A file is the same every time, has one queue, and comes in whole frames.
    fn check_pcap(&self) -> Result<(), String> {
        if self.new_flows.iter().any(|renewal| *renewal != Renewal::PerSecond(0)) {
            return Err("--harness pcap has no new flows".to_owned());
        }
        if self.workers != [1] || self.burst != 256 {
            return Err("--harness pcap has one worker and bursts of 256".to_owned());
        }
        if !self.churn.is_empty() || !self.latency.is_empty() {
            return Err("--churn and --latency need --harness memory".to_owned());
        }
        Ok(())
    }

    fn specs(&self, family: Family) -> Vec<TrafficSpec> {
        let mut specs = Vec::new();
        for protocol in &self.protocol {
            for size in &self.size {
                for renewal in &self.new_flows {
                    for flows in &self.flows {
                        let (flows, size) = (*flows, *size);
                        let (protocol, renewal) = (*protocol, *renewal);
                        specs.push(TrafficSpec { family, flows, size, protocol, renewal });
                    }
                }
            }
        }
        specs
    }
}

/// ASs answer flows that exist.
fn answerable(spec: &TrafficSpec) -> Result<(), String> {
    if spec.renewal != Renewal::PerSecond(0) {
        return Err("answers have no new flows: they begin with clients".to_owned());
    }
    if spec.protocol == Protocol::Syn {
        return Err("answers have no SYNs: they come from clients".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<RunArguments, clap::Error> {
        let words = ["sluice-bench", "run"].into_iter().chain(line.split_whitespace());
        match Arguments::try_parse_from(words)?.action {
            Action::Run(run) => Ok(*run),
            _ => unreachable!("run was asked for"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_manual_explains_every_option() {
        use clap::CommandFactory;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
        let manual = std::fs::read_to_string(format!("{folder}/sluice-bench.md")).unwrap();
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            assert!(manual.contains(&format!("sluice-bench {name}")), "{name} is not explained");
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                let Some(long) = option.get_long().filter(|long| *long != "help") else { continue };
                assert!(manual.contains(&format!("--{long}")), "{name} --{long} is not explained");
            }
        }
    }

    #[test]
    fn defaults_are_the_four_flow_counts() {
        let groups = run("").unwrap().groups().unwrap();
        let flows: Vec<_> = groups.iter().map(|group| group.spec.flows).collect();
        assert_eq!(flows, [1, 1_000, 100_000, 1_000_000]);
        assert!(groups.iter().all(|group| group.modes == [Mode::Io, Mode::LbNat4]));
    }

    #[test]
    fn lists_multiply() {
        let line = "--flows 1,10M --size 64,imix --protocol udp,syn --new-flows 0,10k,all";
        let groups = run(line).unwrap().groups().unwrap();
        assert_eq!(groups.len(), 2 * 2 * 2 * 3);
        let last = groups.last().unwrap().spec;
        assert_eq!((last.flows, last.size), (10_000_000, Size::Imix));
        assert_eq!((last.protocol, last.renewal), (Protocol::Syn, Renewal::EveryPacket));
    }

    #[test]
    fn answers_are_measured_apart() {
        let run = |line| self::run(line).unwrap().groups();
        let groups = run("--mode lb,ip4 --encap nat4,nat4-return --flows 1").unwrap();
        assert_eq!(groups[0].modes, [Mode::Io, Mode::LbNat4, Mode::Ip4]);
        assert_eq!(groups[1].modes, [Mode::Io, Mode::LbNat4Return]);
        assert_eq!(groups.len(), 2);
        assert_eq!(run("--mode io --flows 1").unwrap()[0].modes, [Mode::Io]);
        assert_eq!(run("--encap nat4-return --flows 1").unwrap().len(), 1);
        assert_eq!(groups[1].direction, Direction::Return);
        assert!(run("--encap nat4-return --new-flows 1k").is_err());
        assert!(run("--encap nat4-return --protocol syn").is_err());
    }

    #[test]
    fn each_family_has_the_modes_that_take_it() {
        let run = |line: &str| self::run(&format!("--flows 1 {line}")).unwrap().groups();
        let shape = |line| {
            let groups = run(line).unwrap();
            groups.into_iter().map(|group| (group.spec.family, group.modes)).collect::<Vec<_>>()
        };
        let (ip4, ip6) = (Family::Ip4, Family::Ip6);
        let gre4_nat6 = shape("--encap gre4,nat6");
        assert_eq!(gre4_nat6[0], (ip4, vec![Mode::Io, Mode::LbGre4]));
        assert_eq!(gre4_nat6[1], (ip6, vec![Mode::Io, Mode::LbNat6]));
        let both = shape("--encap gre4,nat6 --family 4,6");
        assert_eq!(both[1], (ip6, vec![Mode::Io, Mode::LbGre4, Mode::LbNat6]));
        assert_eq!(shape("--mode io --family 6"), [(ip6, vec![Mode::Io])]);
        assert_eq!(shape("--mode macswap"), [(ip4, vec![Mode::Io, Mode::Macswap])]);
        assert_eq!(shape("--encap nat6-return"), [(ip6, vec![Mode::Io, Mode::LbNat6Return])]);
        assert!(run("--encap nat4 --family 6").unwrap_err().contains("nat4"));
        assert!(self::run("--family 5").is_err());
    }

    #[test]
    fn churn_is_always_compared_with_none() {
        let rates = |line| run(line).unwrap().churn_rates();
        assert_eq!(
            (rates("--churn 100,1"), rates("--churn 0"), rates("")),
            (vec![0, 1, 100], vec![0], vec![])
        );
        assert!(run("--churn 1 --encap nat4-return").unwrap().groups().is_err());
        assert_eq!(run("--workers 1,4,2").unwrap().most_workers(), 4);
    }

    #[test]
    fn recorded_packets_are_one_group() {
        let groups = |line: &str| run(line).unwrap().groups();
        let all = groups("--pcap f.pcap --mode lb,ip4 --encap gre4").unwrap();
        assert_eq!((all.len(), &all[0].modes), (1, &vec![Mode::Io, Mode::LbGre4, Mode::Ip4]));
        let own = groups("--pcap f.pcap --config c").unwrap();
        assert_eq!(own[0].modes, [Mode::Io, Mode::Configured]);
        assert_eq!(groups("--config c --flows 1,2").unwrap().len(), 2);
        assert!(groups("--pcap f.pcap --encap nat4-return").is_err());
    }

    #[test]
    fn a_vip_may_have_one_port() {
        let run = |line: &str| self::run(&format!("--flows 1 {line}")).unwrap().groups().unwrap();
        let ports =
            run("--encap gre4 --vip-ports one,all").iter().map(|g| g.service.ports).collect();
        assert_eq!(
            (vec![Some(VipPorts::One), Some(VipPorts::All)], run("")[0].service.ports),
            (ports, None)
        );
    }

    #[test]
    fn files_cannot_do_everything() {
        let run = |line: &str| self::run(&format!("--harness pcap {line}")).unwrap().groups();
        assert!(run("--encap nat4,nat4-return --pcaps /tmp").is_ok());
        for line in ["--new-flows 1k", "--workers 2", "--burst 32", "--churn 1", "--latency 50"] {
            assert!(run(line).is_err(), "{line}");
        }
        assert!(self::run("--pcaps /tmp").unwrap().groups().is_err());
    }

    #[test]
    fn packets_from_outside_are_not_chosen() {
        assert_eq!(run("--dev net_null0 --dev 02:00.0 --mode io").unwrap().dev.len(), 2);
        for line in ["--size 64", "--harness pcap", "--new-flows 1k", "--millis 5", "--burst 32"] {
            let error = run(&format!("--dev net_null0 {line}")).unwrap_err().to_string();
            let option = line.split(' ').next().unwrap();
            assert!(error.contains("--dev") && error.contains(option), "{error}");
        }
        assert!(run("--seconds 5").unwrap_err().to_string().contains("--dev"));
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in [
            "--mode lbx",
            "--encap gre9",
            "--flows 0",
            "--flows 17M",
            "--flows x",
            "--size 63",
            "--new-flows 101M",
            "--new-flows some",
            "--servers 0",
            "--servers 1001",
            "--burst 257",
            "--burst 0",
            "--repeats 0",
            "--millis 0",
            "--workers 0",
            "--workers 1,65",
            "--vips 0",
            "--latency 0",
            "--latency 1001",
            "--churn -1",
            "--buckets 3",
            "--buckets 64M",
        ] {
            assert!(run(line).is_err(), "{line}");
        }
        assert_eq!(run("--buckets 1048576").unwrap().buckets, Some(1 << 20));
    }

    #[test]
    fn sizes_of_tables_are_binary() {
        assert_eq!(bytes("32K"), Ok(32 << 10));
        assert_eq!(bytes("1g"), Ok(1 << 30));
        assert!(bytes("1").is_err() && bytes("65G").is_err() && bytes("99999999999G").is_err());
        assert_eq!(count("10M"), Ok(10_000_000));
        assert!(count("").is_err() && count("k").is_err());
        assert!(count("99999999999999999M").is_err());
    }

    #[test]
    fn thresholds_are_percentages() {
        assert_eq!((percent("5"), percent("2.5%")), (Ok(2.5 * 2.0), Ok(2.5)));
        assert!(percent("-1").is_err() && percent("NaN").is_err() && percent("").is_err());
    }
}
