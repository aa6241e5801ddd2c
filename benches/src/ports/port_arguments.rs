//! The command line of what works with ports: `generate`, `pair` and `ndr`.

use std::path::PathBuf;

use clap::ValueEnum;
use config::MacAddress;

use crate::arguments::{buckets, count, flows, renewal};
use crate::family::Family;
use crate::flow::Renewal;
use crate::mode::{EncapWord, Mode, ModeWord};
use crate::ports::device::Device;
use crate::ports::link::LinkKind;
use crate::service::{Service, VipPorts};
use crate::site::SERVERS_MAX;
use crate::traffic::{Protocol, Size, TrafficSpec};

/// What is sent.
#[derive(Clone, Debug, clap::Args)]
pub struct TrafficArguments {
    /// Flows that are alive at once
    #[arg(long, value_parser = flows, default_value = "1k")]
    pub flows: u64,
    /// Bytes of a frame on the wire (64 to 1518, IPv6 at least 78), or imix (7 × 64, 4 × 594, 1 × 1518)
    #[arg(long, default_value = "64")]
    pub size: Size,
    /// What flows are made of: UDP, TCP connections, or only TCP SYNs
    #[arg(long, value_enum, default_value = "udp")]
    pub protocol: Protocol,
    /// New flows per second in place of old ones, or all: every packet is a new flow
    #[arg(long, value_parser = renewal, default_value = "0")]
    pub new_flows: Renewal,
}

impl TrafficArguments {
    /// As the generator takes it.
    pub fn spec(&self, family: Family) -> TrafficSpec {
        let Self { flows, size, protocol, new_flows: renewal } = *self;
        TrafficSpec { family, flows, size, protocol, renewal }
    }

    /// The words that say the same.
    pub fn words(&self) -> Vec<String> {
        let renewal = match self.new_flows {
            Renewal::PerSecond(rate) => rate.to_string(),
            Renewal::EveryPacket => "all".to_owned(),
        };
        let words = [
            ("--flows", self.flows.to_string()),
            ("--size", self.size.to_string()),
            ("--protocol", self.protocol.name().to_owned()),
            ("--new-flows", renewal),
        ];
        words.into_iter().flat_map(|(key, value)| [key.to_owned(), value]).collect()
    }
}

/// What the device under test does.
#[derive(Clone, Debug, clap::Args)]
pub struct DeviceArguments {
    /// Forward mode
    #[arg(long, value_enum, default_value = "lb")]
    pub mode: ModeWord,
    /// How the mode lb sends packets to ASs
    #[arg(long, value_enum, default_value = "nat4")]
    pub encap: EncapWord,
    /// Family of clients and VIP; by default 6 for nat6 and ip6, 4 for all others
    #[arg(long, value_enum)]
    pub family: Option<Family>,
    /// Ports of the VIP; by default one for NAT and all for others. NAT always has one
    #[arg(long, value_enum)]
    pub vip_ports: Option<VipPorts>,
    /// Application servers
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=i64::from(SERVERS_MAX)))]
    pub servers: u16,
    /// Sticky buckets; by default the fewest that stay half empty
    #[arg(long, value_parser = buckets)]
    pub buckets: Option<u32>,
}

impl DeviceArguments {
    /// The mode.
    ///
    /// # Errors
    ///
    /// A mode that needs packets of others than clients.
    pub fn forward_mode(&self) -> Result<Mode, String> {
        let mode = one_mode(&[self.mode], &[self.encap])?;
        if mode.direction() == crate::frame_template::Direction::Return {
            return Err(format!(
                "{} needs the answers of ASs to flows that exist, and the generator sends packets of \
                 clients; measure it with `sluice-bench run`",
                mode.name()
            ));
        }
        Ok(mode)
    }

    /// Family of clients and VIP.
    ///
    /// # Errors
    ///
    /// A mode that does not take the one that is asked for.
    pub fn client_family(&self) -> Result<Family, String> {
        family_of(self.forward_mode()?, self.family.as_slice())
    }

    /// VIPs and ASs.
    pub fn service(&self) -> Service {
        Service { ports: self.vip_ports, ..Service::of(self.servers) }
    }

    /// The words that say the same, for flows of so many packets.
    pub fn words(&self, traffic: &TrafficArguments) -> Vec<String> {
        let buckets = self.buckets.unwrap_or_else(|| buckets_for(traffic.flows));
        let family = self.family.map(|family| ("--family", word(family)));
        let ports = self.vip_ports.map(|ports| ("--vip-ports", word(ports)));
        let words = [
            ("--mode", word(self.mode)),
            ("--encap", word(self.encap)),
            ("--servers", self.servers.to_string()),
            ("--buckets", buckets.to_string()),
            ("--protocol", traffic.protocol.name().to_owned()),
        ];
        let words = words.into_iter().chain(family).chain(ports);
        words.flat_map(|(key, value)| [key.to_owned(), value]).collect()
    }
}

/// The family of clients: the one that is asked for, or the mode's usual one.
///
/// # Errors
///
/// Several, or one that the mode does not take.
pub fn family_of(mode: Mode, asked_for: &[Family]) -> Result<Family, String> {
    match asked_for {
        [] => Ok(mode.usual_family()),
        [family] if mode.takes(*family) => Ok(*family),
        [family] => Err(format!("{} does not take --family {}", mode.name(), word(*family))),
        _ => Err("a port has one --family at a time".to_owned()),
    }
}

/// The word by which a value is given on the command line.
pub(crate) fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The one mode that words name.
///
/// # Errors
///
/// When they name several.
pub fn one_mode(modes: &[ModeWord], encaps: &[EncapWord]) -> Result<Mode, String> {
    let named = Mode::named(modes, encaps);
    match named[..] {
        [io] => Ok(io),
        // `io` is always named.
        [_, mode] if !modes.contains(&ModeWord::Io) => Ok(mode),
        _ => {
            let names: Vec<_> = named.iter().map(|mode| mode.name()).collect();
            Err(format!(
                "a port forwards in one mode at a time, and these are named: {}; give one --mode, and \
                 one --encap",
                names.join(", ")
            ))
        }
    }
}

/// The fewest sticky buckets, of four entries each, that so many flows fill to one half at most.
pub fn buckets_for(flows: u64) -> u32 {
    let (least, most) = (1024, *config::defaults::BUCKETS_RANGE.end());
    let wanted = (flows / 2).next_power_of_two().max(least);
    u32::try_from(wanted).map_or(most, |wanted| wanted.min(most))
}

/// `sluice-bench generate`.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArguments {
    /// The port: a PCI address, or a virtual device such as net_memif0,role=client
    #[arg(long)]
    pub dev: Device,
    /// The Ethernet address of the device under test, which says it when it starts
    #[arg(long)]
    pub to_mac: MacAddress,
    /// Family of clients and VIP
    #[arg(long, value_enum, default_value = "4")]
    pub family: Family,
    /// What is sent
    #[command(flatten)]
    pub traffic: TrafficArguments,
    /// Million packets per second; by default as many as the port takes
    #[arg(long, value_parser = mpps)]
    pub rate: Option<f64>,
    /// Seconds; 0 until it is interrupted
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// The CPU that generates; by default the first one
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Take orders from standard input, as `sluice-bench pair` gives them
    #[arg(long, hide = true)]
    pub controlled: bool,
    /// Write the report here
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// `sluice-bench pair`.
#[derive(Clone, Debug, clap::Args)]
pub struct PairArguments {
    /// What connects the two processes
    #[arg(long, value_enum, default_value = "memif")]
    pub link: LinkKind,
    /// The device under test
    #[command(flatten)]
    pub device: DeviceArguments,
    /// What is sent
    #[command(flatten)]
    pub traffic: TrafficArguments,
    /// Million packets per second; by default as many as the link takes
    #[arg(long, value_parser = mpps)]
    pub rate: Option<f64>,
    /// Seconds
    #[arg(long, default_value_t = 5.0, value_parser = positive_seconds)]
    pub seconds: f64,
    /// CPUs of the device under test and of the generator; by default the last two
    #[arg(long, value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// Say where the cycles go, node by node
    #[arg(long)]
    pub nodes: bool,
    /// Write the report here
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What `--link` of `ndr` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NdrLink {
    /// Packets made in memory, a bounded queue in front of the worker, one process
    Memory,
    /// Shared memory between two processes
    Memif,
    /// vhost-user and virtio-user between two processes
    Vhost,
    /// A pair of veths, each with a packet socket; needs root
    #[value(name = "af_packet", alias = "af-packet")]
    AfPacket,
    /// A pair of veths, each with an XDP socket; needs root
    #[value(name = "af_xdp", alias = "af-xdp")]
    AfXdp,
}

impl NdrLink {
    /// The link of a pair; `None` in memory.
    pub fn kind(self) -> Option<LinkKind> {
        match self {
            Self::Memory => None,
            Self::Memif => Some(LinkKind::Memif),
            Self::Vhost => Some(LinkKind::Vhost),
            Self::AfPacket => Some(LinkKind::AfPacket),
            Self::AfXdp => Some(LinkKind::AfXdp),
        }
    }
}

/// `sluice-bench ndr`.
#[derive(Clone, Debug, clap::Args)]
pub struct NdrArguments {
    /// Where packets come from and go to
    #[arg(long, value_enum, default_value = "memory")]
    pub link: NdrLink,
    /// The device under test
    #[command(flatten)]
    pub device: DeviceArguments,
    /// What is sent
    #[command(flatten)]
    pub traffic: TrafficArguments,
    /// Highest shares of packets that may be lost: 0 is the non-drop rate
    #[arg(long, value_parser = ratio, value_delimiter = ',', default_value = "0,0.005")]
    pub loss_ratio: Vec<f64>,
    /// Seconds of the trials that decide; RFC 2544 wants 60
    #[arg(long, default_value_t = 1.0, value_parser = positive_seconds)]
    pub trial_seconds: f64,
    /// How far the rate found and one that is too much may be apart, in percent
    #[arg(long, default_value = "1", value_parser = precision)]
    pub precision: f64,
    /// Packets that wait in front of the worker at most, in memory
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub queue: u32,
    /// CPUs of the device under test and, over a link, of the generator; by default the last ones
    #[arg(long, value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// Write the report here
    #[arg(long)]
    pub json: Option<PathBuf>,
}

fn number(text: &str, what: &str, valid: impl Fn(f64) -> bool) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && valid(*number));
    number.ok_or_else(|| format!("`{text}` is not {what}"))
}

/// `1.5`, or with a unit as counts have it: `500k` packets per second.
fn mpps(text: &str) -> Result<f64, String> {
    if let Ok(packets @ 1..=1_000_000_000) = count(text)
        .map_err(drop)
        .and_then(|n| if text.ends_with(|c: char| c.is_ascii_digit()) { Err(()) } else { Ok(n) })
    {
        return Ok(packets as f64 / 1e6);
    }
    let what = "a rate in million packets per second such as 1.5, or in packets such as 500k, of 1 \
                packet to 1000M";
    number(text, what, |mpps| (1e-6..=1000.0).contains(&mpps))
}

/// Seconds, 0 included.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let what = "a number of seconds from 0 to 86400";
    number(text, what, |seconds| (0.0..=86_400.0).contains(&seconds))
}

fn positive_seconds(text: &str) -> Result<f64, String> {
    let what = "a number of seconds from 0.01 to 86400";
    number(text, what, |seconds| (0.01..=86_400.0).contains(&seconds))
}

fn ratio(text: &str) -> Result<f64, String> {
    let what = "a share of packets from 0 (none) to 0.5, such as 0.005 for 0.5 %";
    number(text, what, |ratio| (0.0..=0.5).contains(&ratio))
}

/// A share, from percent.
fn precision(text: &str) -> Result<f64, String> {
    let what = "a percentage from 0.01 to 50";
    let valid = |percent| (0.01..=50.0).contains(&percent);
    Ok(number(text.trim_end_matches('%'), what, valid)? / 100.0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Action, Arguments};

    fn parse(line: &str) -> Result<Action, String> {
        let words = ["sluice-bench"].into_iter().chain(line.split_whitespace());
        Ok(Arguments::try_parse_from(words).map_err(|error| error.to_string())?.action)
    }

    #[test]
    fn wrong_values_are_named_with_what_is_right() {
        for (line, said) in [
            ("generate --dev veth0 --to-mac 02:00:00:00:00:01", "`veth0` is neither a PCI address"),
            ("generate --dev net_memif0", "--to-mac"),
            ("generate --dev net_memif0 --to-mac 02:00", "02:00"),
            ("pair --link wire", "[possible values: memif, vhost, af_packet, af_xdp]"),
            ("pair --rate fast", "`fast` is not a rate in million packets per second such as 1.5"),
            ("pair --rate 0", "`0` is not a rate"),
            ("pair --seconds 0", "`0` is not a number of seconds from 0.01"),
            ("ndr --loss-ratio 0,1", "`1` is not a share of packets from 0 (none) to 0.5"),
            ("ndr --precision 0", "`0` is not a percentage from 0.01 to 50"),
            ("ndr --trial-seconds x", "`x` is not a number of seconds"),
            ("ndr --queue 0", "0 is not in 1..=65536"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn rates_have_units() {
        assert_eq!((mpps("1.5"), mpps("500k"), mpps("2M")), (Ok(1.5), Ok(0.5), Ok(2.0)));
        assert!(mpps("1001").is_err() && mpps("k").is_err() && mpps("NaN").is_err());
        assert_eq!((precision("1"), precision("0.5%")), (Ok(0.01), Ok(0.005)));
    }

    #[test]
    fn a_port_has_one_mode() {
        let (nat4, gre4) = (EncapWord::Nat4, EncapWord::Gre4);
        assert_eq!(one_mode(&[ModeWord::Lb], &[gre4]), Ok(Mode::LbGre4));
        assert_eq!(one_mode(&[ModeWord::Io], &[nat4, gre4]), Ok(Mode::Io));
        assert_eq!(one_mode(&[ModeWord::Macswap], &[nat4]), Ok(Mode::Macswap));
        let error = one_mode(&[ModeWord::Lb], &[nat4, gre4]).unwrap_err();
        assert!(
            error.contains("io, lb nat4, lb gre4; give one --mode, and one --encap"),
            "{error}"
        );
        assert!(one_mode(&[ModeWord::Io, ModeWord::Ip4], &[nat4]).is_err());
    }

    #[test]
    fn the_other_processes_get_the_same_words() {
        let line = "pair --encap l3dsr --flows 10M --size imix --new-flows all --protocol syn";
        let Action::Pair(pair) = parse(line).unwrap() else { unreachable!("pair was asked for") };
        let words = pair.device.words(&pair.traffic).join(" ");
        assert_eq!(words, "--mode lb --encap l3dsr --servers 16 --buckets 8388608 --protocol syn");
        let words = pair.traffic.words().join(" ");
        assert_eq!(words, "--flows 10000000 --size imix --protocol syn --new-flows all");
        let line = format!("generate --dev net_memif0 --to-mac 02:00:00:00:00:01 {words}");
        assert!(parse(&line).is_ok());
        assert_eq!((buckets_for(1), buckets_for(3_000)), (1024, 2048));
        let line = "pair --mode lb --encap gre4 --family 6 --vip-ports one";
        let Action::Pair(pair) = parse(line).unwrap() else { unreachable!("pair was asked for") };
        let words = pair.device.words(&pair.traffic).join(" ");
        assert!(words.ends_with("--family 6 --vip-ports one"), "{words}");
    }

    #[test]
    fn the_family_is_one_that_the_mode_takes() {
        let (ip4, ip6) = (Family::Ip4, Family::Ip6);
        assert_eq!(family_of(Mode::LbGre4, &[]), Ok(ip4));
        assert_eq!(family_of(Mode::LbNat6, &[]), Ok(ip6));
        assert_eq!(family_of(Mode::LbGre4, &[ip6]), Ok(ip6));
        let error = family_of(Mode::LbNat4, &[ip6]).unwrap_err();
        assert_eq!(error, "lb nat4 does not take --family 6");
        assert!(family_of(Mode::LbGre4, &[ip4, ip6]).is_err());
    }

    #[test]
    fn answers_have_no_generator() {
        let Action::Ndr(ndr) = parse("ndr --encap nat4-return").unwrap() else { unreachable!() };
        assert!(ndr.device.forward_mode().unwrap_err().contains("`sluice-bench run`"));
    }
}
