//! [`PcapHarness`]: DPDK ports that replay a file for ever and drop what is sent, through EAL as the
//! daemon has it. Other programs on DPDK can be fed the same files the same way.

use std::path::{Path, PathBuf};

use dataplane::dpdk::io::DpdkIo;
use dataplane::dpdk::port::Port;
use dataplane::interface::MacAddress;

use crate::frame_template::Direction;
use crate::pcap_file;
use crate::ports::device::Device;
use crate::ports::eal_ports::EalPorts;
use crate::recording::Recording;
use crate::traffic::{Traffic, TrafficSpec};

/// Mbufs beside those that hold the file: receive bursts, transmit rings, caches.
const SPARE_MBUFS: u64 = 32 << 10;
/// Packets of a file at least: a burst.
const PACKETS_MIN: u64 = 256;

/// Running EAL with one port for each file.
#[derive(Debug)]
pub struct PcapHarness {
    eal: EalPorts,
    devices: Vec<Device>,
}

/// The Ethernet address that DPDK's driver gives to `net_pcap` number `index`.
pub fn mac_of(index: usize) -> MacAddress {
    MacAddress([0x02, 0x70, 0x63, 0x61, 0x70, index as u8])
}

/// Packets of the file for this traffic: each flow, and each length of the mix, as often as another.
pub fn packets_of(spec: &TrafficSpec) -> u64 {
    let lengths = spec.lengths().len() as u64;
    spec.flows.max(PACKETS_MIN).next_multiple_of(spec.flows).next_multiple_of(lengths)
}

/// Writes the file of some traffic for port `index`. Answers come from each AS in turn.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_file(
    path: &Path,
    spec: &TrafficSpec,
    direction: Direction,
    servers: u16,
    index: usize,
) -> Result<(), String> {
    let mac = mac_of(index);
    let mut traffic = match direction {
        Direction::Forward => Traffic::forward(spec, 0..spec.flows, mac, 1),
        Direction::Return => {
            let server = |flow: u64| (flow % u64::from(servers)) as u16;
            let servers = (0..spec.flows).map(server).collect();
            Traffic::answers(spec, 0..spec.flows, servers, mac, 1)
        }
    };
    let frames = (0..packets_of(spec)).map(|_| traffic.next_frame());
    pcap_file::write(path, frames).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes recorded frames to the file for port `index`.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_recording(path: &Path, recording: &Recording) -> Result<(), String> {
    let frames = recording.frames().iter().cloned();
    pcap_file::write(path, frames).map_err(|error| format!("{}: {error}", path.display()))
}

impl PcapHarness {
    /// Starts EAL on the calling thread, which is bound to `cpu` from then on. `packets` is the
    /// length of the longest file.
    ///
    /// # Errors
    ///
    /// What EAL says.
    pub fn start(files: &[PathBuf], packets: u64, cpu: usize) -> Result<Self, String> {
        let mbufs = u32::try_from(packets + SPARE_MBUFS).map_err(|_| "too many packets")?;
        let vdev = |(index, file): (usize, &PathBuf)| {
            let file = file.display();
            Device::Virtual(format!("net_pcap{index},rx_pcap={file},infinite_rx=1"))
        };
        let devices: Vec<Device> = files.iter().enumerate().map(vdev).collect();
        let eal = EalPorts::start(&devices, mbufs, cpu)?;
        println!("{}", eal.memory);
        Ok(Self { eal, devices })
    }

    /// Opens port `index`: its owner, and the way to its packets.
    ///
    /// # Errors
    ///
    /// What the driver says, or an Ethernet address that the file's packets are not for.
    pub fn open(&self, index: usize) -> Result<(Port, DpdkIo), String> {
        let device = self.devices.get(index).ok_or("there is no such file")?;
        let (mut ports, io) = self.eal.open(std::slice::from_ref(device))?;
        let port = ports.pop().ok_or("internal error: no port")?;
        if port.info().mac != mac_of(index) {
            let mac = port.info().mac;
            return Err(format!("net_pcap{index} has the address {mac}, not {}", mac_of(index)));
        }
        Ok((port, io))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::flow::Renewal;
    use crate::traffic::{Protocol, Size};

    #[test]
    fn a_file_has_every_flow_equally_often() {
        let spec = |flows, size| {
            let renewal = Renewal::PerSecond(0);
            TrafficSpec { family: Family::Ip4, flows, size, protocol: Protocol::Udp, renewal }
        };
        assert_eq!(packets_of(&spec(1, Size::Fixed(64))), 256);
        assert_eq!(packets_of(&spec(100, Size::Fixed(64))), 300);
        assert_eq!(packets_of(&spec(1_000_000, Size::Fixed(64))), 1_000_000);
        assert_eq!(packets_of(&spec(1000, Size::Imix)) % 12, 0);
    }
}
