//! [`RunArguments`].

use std::path::PathBuf;

use super::numbers::{buckets, flows, load, renewal, seconds};
use crate::churn::Kinds;
use crate::family::Family;
use crate::flow::Renewal;
use crate::mode::{EncapWord, ModeWord};
use crate::ports::device::Device;
use crate::service::{Service, VIPS_MAX, VipPorts};
use crate::site::SERVERS_MAX;
use crate::traffic::{Protocol, Size};

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
    #[arg(long, default_value_t = 10.0, value_parser = seconds, requires = "dev")]
    pub seconds: f64,
    /// Take orders from standard input, as `sluice-bench pair` gives them
    #[arg(long, hide = true, requires = "dev")]
    pub controlled: bool,
}

impl RunArguments {
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
}

#[cfg(test)]
mod tests {
    use crate::arguments::tests::run;

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
}
