//! `show hardware-interfaces`, `GET /v1/hardware`.

use std::fmt::Write;

use config::HardwareDetail;
use serde::Serialize;

/// All ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hardware {
    /// By interface name; `local0` has no port and is left out.
    pub ports: Vec<PortStatus>,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortStatus {
    /// Name of the interface.
    pub name: String,
    /// `sw_if_index`.
    pub index: u16,
    /// The device, as configured.
    pub device: String,
    /// Its driver.
    pub driver: String,
    /// Carrier, as the driver sees it.
    pub link_up: bool,
    /// Speed; absent when unknown.
    pub speed_mbps: Option<u32>,
    /// Full duplex.
    pub full_duplex: bool,
    /// Ethernet address.
    pub mac: String,
    /// NUMA node; absent when it has none.
    pub numa_node: Option<u32>,
    /// Receive queues in use.
    pub rx_queues: u16,
    /// Receive queues it could have.
    pub rx_queues_max: u16,
    /// Transmit queues in use.
    pub tx_queues: u16,
    /// Transmit queues it could have.
    pub tx_queues_max: u16,
    /// Descriptors of a receive queue.
    pub rx_descriptors: u16,
    /// Descriptors of a transmit queue.
    pub tx_descriptors: u16,
    /// Largest IP packet by the driver's word.
    pub mtu_bytes: u16,
    /// Receives packets whatever their destination address.
    pub promiscuous: bool,
    /// Receive offloads the driver has; none is switched on.
    pub rx_offloads_available: Vec<String>,
    /// Transmit offloads the driver has; none is switched on.
    pub tx_offloads_available: Vec<String>,
    /// By receive queue: the thread that polls it.
    pub rx_queue_threads: Vec<usize>,
    /// How they poll: `polling`, or `adaptive` when they sleep while nothing comes.
    pub rx_mode: &'static str,
    /// What the driver counts.
    pub statistics: PortCounters,
    /// The driver's own statistics.
    pub extended_statistics: Vec<NamedCount>,
}

/// What the driver counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortCounters {
    /// Received.
    pub rx_packets: u64,
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_packets: u64,
    /// Sent.
    pub tx_bytes: u64,
    /// Lost for want of a descriptor.
    pub rx_missed: u64,
    /// Received in error.
    pub rx_errors: u64,
    /// Failed to be sent.
    pub tx_errors: u64,
    /// Lost for want of a buffer.
    pub rx_no_buffer: u64,
}

impl PortCounters {
    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.rx_missed += other.rx_missed;
        self.rx_errors += other.rx_errors;
        self.tx_errors += other.tx_errors;
        self.rx_no_buffer += other.rx_no_buffer;
    }
}

/// A statistic by the driver's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamedCount {
    /// Name.
    pub name: String,
    /// Value.
    pub value: u64,
}

impl Hardware {
    /// The text of `show hardware-interfaces [brief|verbose]`.
    pub fn text(&self, detail: HardwareDetail) -> String {
        let mut text = String::from("              Name                Idx   Link  Hardware\n");
        for port in &self.ports {
            // A String takes everything.
            let _ = port.write(&mut text, detail);
        }
        text
    }
}

impl PortStatus {
    fn write(&self, text: &mut String, detail: HardwareDetail) -> std::fmt::Result {
        let link = if self.link_up { "up" } else { "down" };
        let Self { name, index, device, .. } = self;
        writeln!(text, "{name:<32}{index:>4}{link:>7}  {device}")?;
        if detail == HardwareDetail::Brief {
            return Ok(());
        }
        match self.speed_mbps {
            Some(speed) if speed >= 1000 && speed % 1000 == 0 => {
                writeln!(text, "  Link speed: {} Gbps", speed / 1000)?;
            }
            Some(speed) => writeln!(text, "  Link speed: {speed} Mbps")?,
            None => writeln!(text, "  Link speed: unknown")?,
        }
        writeln!(text, "  RX Queues:\n    queue thread          mode      ")?;
        for (queue, thread) in self.rx_queue_threads.iter().enumerate() {
            let thread = format!("sluice_wk_{} ({thread})", thread.saturating_sub(1));
            writeln!(text, "    {queue:<6}{thread:<15} {:<10}", self.rx_mode)?;
        }
        writeln!(text, "  Ethernet address {}", self.mac)?;
        writeln!(text, "  {}", self.driver)?;
        let duplex = if self.full_duplex { "full" } else { "half" };
        writeln!(text, "    carrier {link} {duplex} duplex mtu {}", self.mtu_bytes)?;
        let Self { rx_queues, rx_queues_max, rx_descriptors, .. } = self;
        writeln!(text, "    rx: queues {rx_queues} (max {rx_queues_max}), desc {rx_descriptors}")?;
        let Self { tx_queues, tx_queues_max, tx_descriptors, .. } = self;
        writeln!(text, "    tx: queues {tx_queues} (max {tx_queues_max}), desc {tx_descriptors}")?;
        let promiscuous = if self.promiscuous { "on" } else { "off" };
        writeln!(text, "    promiscuous: unicast {promiscuous}")?;
        let list = |names: &[String]| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(" "),
        };
        writeln!(text, "    rx offload avail:  {}", list(&self.rx_offloads_available))?;
        writeln!(text, "    rx offload active: none")?;
        writeln!(text, "    tx offload avail:  {}", list(&self.tx_offloads_available))?;
        writeln!(text, "    tx offload active: none")?;
        match self.numa_node {
            Some(node) => writeln!(text, "    numa node {node}\n")?,
            None => writeln!(text)?,
        }
        let counters = &self.statistics;
        let named = [
            ("tx frames ok", counters.tx_packets),
            ("tx bytes ok", counters.tx_bytes),
            ("tx errors", counters.tx_errors),
            ("rx frames ok", counters.rx_packets),
            ("rx bytes ok", counters.rx_bytes),
            ("rx missed", counters.rx_missed),
            ("rx errors", counters.rx_errors),
            ("rx no buffer", counters.rx_no_buffer),
        ];
        for (name, count) in named.iter().filter(|(_, count)| *count > 0) {
            writeln!(text, "    {name:<36}{count:>20}")?;
        }
        let all = detail == HardwareDetail::Verbose;
        let mut extended =
            self.extended_statistics.iter().filter(|s| all || s.value > 0).peekable();
        if extended.peek().is_some() {
            writeln!(text, "    extended stats:")?;
        }
        for NamedCount { name, value } in extended {
            writeln!(text, "      {name:<34}{value:>20}")?;
        }
        Ok(())
    }
}
