//! Who polls what: worked out from the startup file before anything is started. Pure.

use std::path::Path;

use config::{Device, Hugepages, Poll, Problem, Spanned, Startup};
use dataplane::dpdk::hugepages::HugepagePolicy;
use dataplane::dpdk::port::PortConfig;
use dataplane::dpdk::vdev;
use dataplane::worker::PollMode;

/// How the data plane is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// CPU of the control thread.
    pub main_cpu: u16,
    /// CPU of each worker.
    pub worker_cpus: Vec<u16>,
    /// How workers wait.
    pub poll: PollMode,
    /// Where packet memory comes from.
    pub hugepages: HugepagePolicy,
    /// Packet buffers per NUMA node.
    pub buffers_per_numa: u32,
    /// `--vdev` values.
    pub vdevs: Vec<String>,
    /// PCI addresses.
    pub pci: Vec<String>,
    /// Appended to EAL's command line.
    pub eal_args: Vec<String>,
    /// Tells this daemon's EAL files from others'.
    pub file_prefix: String,
    /// The ports, in the order of the file.
    pub ports: Vec<PortPlan>,
}

/// How one port is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// For the port itself.
    pub config: PortConfig,
    /// By receive queue: the worker that polls it.
    pub rx_workers: Vec<usize>,
    /// The tap to the kernel (`[punt]`).
    pub punt: bool,
}

impl Plan {
    /// For a startup file, on a machine that lets us use the CPUs `available`.
    ///
    /// Every worker transmits on a queue of its own of every port, so a port needs as many as there
    /// are workers. Receive queues are dealt out round robin over all ports.
    ///
    /// # Errors
    ///
    /// CPUs that are not there, too few transmit queues, a device with impossible arguments.
    pub fn new(startup: &Startup, available: &[u16]) -> Result<Self, Problem> {
        let worker_cpus = startup.cpu.place(available)?;
        let workers = worker_cpus.len() as u16;
        let mut plan = Self {
            main_cpu: startup.cpu.main_core.value,
            worker_cpus,
            poll: match startup.cpu.poll {
                Poll::Busy => PollMode::Busy,
                Poll::Adaptive => PollMode::ADAPTIVE,
            },
            hugepages: match startup.dpdk.hugepages {
                Hugepages::Auto => HugepagePolicy::Auto,
                Hugepages::Required => HugepagePolicy::Required,
                Hugepages::Off => HugepagePolicy::Off,
            },
            buffers_per_numa: startup.dpdk.buffers_per_numa,
            vdevs: Vec::new(),
            pci: Vec::new(),
            eal_args: startup.dpdk.eal_args.iter().map(|arg| arg.value.clone()).collect(),
            file_prefix: file_prefix(&startup.unix.cli_listen),
            ports: Vec::new(),
        };
        let mut next_worker = 0;
        for dev in &startup.dpdk.devs {
            let wanted_tx = dev.num_tx_queues.unwrap_or(workers);
            if wanted_tx < workers {
                let reason = format!(
                    "{} has {wanted_tx} transmit queues for {workers} workers, and each needs one",
                    dev.name.value
                );
                return Err(Problem::new(dev.name.span, reason)
                    .with_hint("leave num-tx-queues out, or have fewer workers"));
            }
            let (device, (rx_queues, tx_queues)) = match &dev.device {
                Device::Vdev(vdev) => {
                    let queues = vdev::queue_pairs(vdev, dev.num_rx_queues, wanted_tx);
                    let complete = vdev::complete(vdev, queues.0);
                    vdev::check(&complete).map_err(|reason| Problem::new(vdev.span, reason))?;
                    plan.vdevs.push(complete);
                    (vdev::device_name(vdev).to_owned(), queues)
                }
                Device::Pci(address) => {
                    plan.pci.push(address.value.clone());
                    (address.value.clone(), (dev.num_rx_queues, wanted_tx))
                }
            };
            let rx_workers = (0..rx_queues).map(|_| {
                let worker = next_worker % usize::from(workers);
                next_worker += 1;
                worker
            });
            plan.ports.push(PortPlan {
                rx_workers: rx_workers.collect(),
                punt: false,
                config: PortConfig {
                    name: dev.name.value.clone(),
                    device,
                    rx_queues,
                    tx_queues,
                    rx_descriptors: dev.num_rx_desc,
                    tx_descriptors: dev.num_tx_desc,
                },
            });
        }
        if let Some(punt) = &startup.punt {
            plan.add_punt(&punt.tap, workers)?;
        }
        Ok(plan)
    }

    /// Adds the tap to the kernel. Its driver wants as many receive as transmit queues.
    fn add_punt(&mut self, tap: &Spanned<String>, workers: u16) -> Result<(), Problem> {
        if self.ports.iter().any(|port| port.config.name == tap.value) {
            let reason = format!("the interface {} is a device already", tap.value);
            return Err(Problem::new(tap.span, reason).with_hint("give the tap another name"));
        }
        let taken = |device: &String| self.ports.iter().any(|port| port.config.device == *device);
        let mut devices = (0..).map(|n| format!("net_tap{n}"));
        let Some(device) = devices.find(|device| !taken(device)) else { return Ok(()) };
        self.vdevs.push(format!("{device},iface={}", tap.value));
        self.ports.push(PortPlan {
            rx_workers: (0..usize::from(workers)).collect(),
            punt: true,
            config: PortConfig {
                name: tap.value.clone(),
                device,
                rx_queues: workers,
                tx_queues: workers,
                rx_descriptors: config::defaults::NUM_DESC,
                tx_descriptors: config::defaults::NUM_DESC,
            },
        });
        Ok(())
    }
}

/// EAL's file prefix for the daemon that listens on `socket`: always the same for the same socket,
/// so that a start finds what a killed daemon left, and another for any other.
pub fn file_prefix(socket: &Path) -> String {
    let socket = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
    if socket == Path::new(config::defaults::CLI_LISTEN) {
        return "sluice".to_owned();
    }
    // FNV-1a: the same in every build, unlike the standard library's hash.
    let hash =
        socket.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3_u64)
        });
    format!("sluice-{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cpu: &str, devices: &str) -> Result<Plan, Problem> {
        let text = format!("[cpu]\n{cpu}\n[unix]\ncli-listen = \"/tmp/x.sock\"\n{devices}");
        Plan::new(&Startup::parse(&text).unwrap(), &[0, 1])
    }

    const TWO: &str = "[[dpdk.dev]]\nname = \"left0\"\nvdev = \"net_af_packet0,iface=x\"\n\
                       num-rx-queues = 2\n[[dpdk.dev]]\nname = \"right0\"\nvdev = \"net_null1\"\n";

    #[test]
    fn every_worker_transmits_and_queues_are_dealt_out() {
        let plan = plan("workers = 2", TWO).unwrap();
        assert_eq!((plan.main_cpu, &plan.worker_cpus[..]), (0, &[0, 1][..]));
        assert_eq!(plan.ports[0].rx_workers, [0, 1]);
        assert_eq!(plan.ports[1].rx_workers, [0]);
        assert_eq!(plan.ports[1].config.tx_queues, 2);
        assert!(plan.vdevs[0].contains("qpairs=2"), "{}", plan.vdevs[0]);
        assert_eq!(plan.ports[0].config.device, "net_af_packet0");
    }

    #[test]
    fn queue_pairs_that_only_transmission_needs_are_polled_too() {
        let one = "[[dpdk.dev]]\nname = \"left0\"\nvdev = \"net_af_packet0,iface=x\"\n";
        let plan = plan("workers = 2", one).unwrap();
        assert_eq!(plan.ports[0].rx_workers, [0, 1]);
    }

    #[test]
    fn too_few_transmit_queues_are_refused() {
        let one = "[[dpdk.dev]]\nname = \"left0\"\nvdev = \"net_null0\"\nnum-tx-queues = 1\n";
        assert!(plan("workers = 2", one).unwrap_err().reason.contains("each needs one"));
        assert!(plan("workers = 3", one).unwrap_err().reason.contains("3 CPUs"));
    }

    #[test]
    fn the_tap_to_the_kernel_is_a_port_of_its_own() {
        let taps = "[[dpdk.dev]]\nname = \"t\"\nvdev = \"net_tap0,iface=x\"\n";
        let with_punt =
            |tap: &str| plan("workers = 2", &format!("{taps}[punt]\ntap = \"{tap}\"\n"));
        let plan = with_punt("sluice0").unwrap();
        let tap = &plan.ports[1];
        assert!(tap.punt && !plan.ports[0].punt);
        assert_eq!((&*tap.config.name, &*tap.config.device), ("sluice0", "net_tap1"));
        assert_eq!((tap.config.rx_queues, tap.config.tx_queues), (2, 2));
        assert_eq!(tap.rx_workers, [0, 1]);
        assert_eq!(plan.vdevs[1], "net_tap1,iface=sluice0");
        assert!(with_punt("t").unwrap_err().reason.contains("t is a device already"));
    }

    #[test]
    fn file_prefixes_belong_to_sockets() {
        assert_eq!(file_prefix(Path::new("/run/sluice/cli.sock")), "sluice");
        let other = file_prefix(Path::new("/tmp/a.sock"));
        assert_eq!(other, file_prefix(Path::new("/tmp/a.sock")));
        assert_ne!(other, file_prefix(Path::new("/tmp/b.sock")));
    }
}
