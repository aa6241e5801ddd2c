//! What virtual devices need to be told, beyond what the operator wrote.

use crate::dpdk::mempool::DATA_ROOM;

/// Frames of a `net_af_packet` ring; there is one for each direction of each queue pair, in memory
/// of the kernel (32 MiB per pair). It must hold what arrives while the worker is off its CPU: bursts
/// of 8000 packets lose none with it, 37 % with 2048 frames and 69 % with the driver's 512.
const AF_PACKET_FRAMES: u32 = 8192;
/// Bytes of one frame slot: enough for frames of 1982 bytes behind the kernel's header.
const AF_PACKET_FRAME_BYTES: u32 = 2048;
/// Bytes of one ring block; a multiple of the page and of the frame.
const AF_PACKET_BLOCK_BYTES: u32 = 65_536;

/// The driver's own ring.
const AF_PACKET_DRIVER_BLOCK_BYTES: u32 = 4096;
const AF_PACKET_DRIVER_FRAME_BYTES: u32 = 2048;
const AF_PACKET_DRIVER_FRAMES: u32 = 512;
/// Pages of x86-64, of which the kernel makes ring blocks.
const PAGE_BYTES: u32 = 4096;
/// `TPACKET_ALIGNMENT` of linux/if_packet.h.
const TPACKET_ALIGNMENT: u32 = 16;
/// What of a frame slot the driver does not count as data: `struct tpacket2_hdr`.
const TPACKET2_HEADER_BYTES: u32 = 32;

/// The driver part of a `--vdev` value: `net_af_packet0,iface=x` is `net_af_packet`.
pub fn driver(vdev: &str) -> &str {
    device_name(vdev).trim_end_matches(|c: char| c.is_ascii_digit())
}

/// The device name in a `--vdev` value, by which DPDK finds the port.
pub fn device_name(vdev: &str) -> &str {
    vdev.split(',').next().unwrap_or_default()
}

fn value<'a>(vdev: &'a str, key: &str) -> Option<&'a str> {
    let pairs = vdev.split(',').skip(1).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).last()
}

fn has_key(vdev: &str, key: &str) -> bool {
    vdev.split(',').skip(1).any(|pair| pair.split('=').next() == Some(key))
}

/// True for devices whose packets pass through the kernel, where busy polling steals the CPU from
/// the very peers that send.
pub fn is_kernel_backed(vdev: &str) -> bool {
    matches!(driver(vdev), "net_af_packet" | "net_tap" | "net_af_xdp")
}

/// The kernel's network interface that a device takes its packets from, for the drivers that do.
pub fn kernel_interface(vdev: &str) -> Option<&str> {
    if !matches!(driver(vdev), "net_af_packet" | "net_af_xdp") {
        return None;
    }
    vdev.split(',').skip(1).find_map(|pair| pair.strip_prefix("iface="))
}

/// The queue pairs a device must have for `rx_queues` wanted receive queues and `workers` workers,
/// each of which transmits on a queue of its own. On `net_af_packet` queues exist in pairs, and all
/// of its receive queues must be polled.
pub fn queue_pairs(vdev: &str, rx_queues: u16, tx_queues: u16) -> (u16, u16) {
    if driver(vdev) == "net_af_packet" {
        let pairs = rx_queues.max(tx_queues);
        return (pairs, pairs);
    }
    (rx_queues, tx_queues)
}

/// The `--vdev` value to give to EAL: the operator's, completed where the driver's own defaults do
/// not suit a load balancer. Keys that the operator wrote are left alone.
pub fn complete(vdev: &str, queue_pairs: u16) -> String {
    let mut completed = vdev.to_owned();
    if driver(vdev) == "net_af_packet" {
        let ring = ["blocksz", "framesz", "framecnt"];
        if !has_key(vdev, "qpairs") {
            completed.push_str(&format!(",qpairs={queue_pairs}"));
        }
        if !ring.iter().any(|key| has_key(vdev, key)) {
            completed.push_str(&format!(
                ",blocksz={AF_PACKET_BLOCK_BYTES},framesz={AF_PACKET_FRAME_BYTES},framecnt={AF_PACKET_FRAMES}"
            ));
        }
    }
    completed
}

/// Says what is wrong with the ring of a [`complete`] `net_af_packet` device. The driver takes any
/// numbers and then reads frames where the kernel has not put them.
pub fn check(vdev: &str) -> Result<(), String> {
    if driver(vdev) != "net_af_packet" {
        return Ok(());
    }
    let device = device_name(vdev);
    if value(vdev, "iface").is_none_or(str::is_empty) {
        return Err(format!("{device} needs iface=INTERFACE"));
    }
    let number = |key: &str, default: u32| match value(vdev, key) {
        None => Ok(default),
        Some(text) => text
            .parse::<u32>()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| format!("{device}: {key}={text} is not a positive number")),
    };
    let block = number("blocksz", AF_PACKET_DRIVER_BLOCK_BYTES)?;
    let frame = number("framesz", AF_PACKET_DRIVER_FRAME_BYTES)?;
    let frames = number("framecnt", AF_PACKET_DRIVER_FRAMES)?;
    if !block.is_multiple_of(PAGE_BYTES) {
        return Err(format!("{device}: blocksz={block} is not a multiple of {PAGE_BYTES}"));
    }
    if !frame.is_multiple_of(TPACKET_ALIGNMENT) || !block.is_multiple_of(frame) {
        return Err(format!(
            "{device}: framesz={frame} must be a multiple of {TPACKET_ALIGNMENT} that divides \
             blocksz={block}"
        ));
    }
    if !frames.is_multiple_of(block / frame) {
        return Err(format!(
            "{device}: framecnt={frames} is not a multiple of the {} frames in a block",
            block / frame
        ));
    }
    let largest = u32::from(DATA_ROOM) + TPACKET2_HEADER_BYTES;
    if frame > largest {
        return Err(format!("{device}: framesz={frame} does not fit a buffer, {largest} does"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_ring_is_consistent() {
        assert_eq!(check(&complete("net_af_packet0,iface=veth0", 2)), Ok(()));
        // The driver's defaults, with a longer ring.
        assert_eq!(check("net_af_packet0,iface=veth0,framecnt=1024"), Ok(()));
        assert_eq!(check("net_null0,framesz=nonsense"), Ok(()));
    }

    #[test]
    fn a_ring_the_driver_would_misread_is_refused() {
        for (keys, what) in [
            ("qpairs=1", "needs iface"),
            ("iface=x,blocksz=5000", "blocksz=5000 is not a multiple of 4096"),
            ("iface=x,framesz=1792", "divides"),
            ("iface=x,framesz=1000", "multiple of 16"),
            ("iface=x,blocksz=65536,framesz=2048,framecnt=1000", "the 32 frames in a block"),
            ("iface=x,framesz=4096", "framesz=4096 does not fit a buffer, 2080 does"),
            ("iface=x,framecnt=many", "framecnt=many is not a positive number"),
            ("iface=x,framesz=0", "framesz=0 is not a positive number"),
        ] {
            let error = check(&format!("net_af_packet0,{keys}")).unwrap_err();
            assert!(error.contains(what), "{keys}: {error}");
        }
    }

    #[test]
    fn af_packet_gets_queue_pairs_and_a_ring() {
        assert_eq!(
            complete("net_af_packet0,iface=veth0", 2),
            "net_af_packet0,iface=veth0,qpairs=2,blocksz=65536,framesz=2048,framecnt=8192"
        );
        assert_eq!(queue_pairs("net_af_packet0,iface=veth0", 1, 2), (2, 2));
    }

    #[test]
    fn what_the_operator_wrote_stays() {
        let vdev = "net_af_packet1,iface=x,qpairs=4,framecnt=1024";
        assert_eq!(complete(vdev, 1), vdev);
        assert_eq!(complete("net_ring0", 3), "net_ring0");
        assert_eq!(queue_pairs("net_null0", 1, 2), (1, 2));
    }

    #[test]
    fn kernel_backed_devices_are_known() {
        assert!(is_kernel_backed("net_tap12,iface=dtap0"));
        assert!(!is_kernel_backed("net_memif0,role=client"));
        assert_eq!(driver("net_pcap0,rx_pcap=a2.pcap"), "net_pcap");
        assert_eq!(kernel_interface("net_af_packet0,qpairs=1,iface=veth0"), Some("veth0"));
        // A tap is made by its driver.
        assert_eq!(kernel_interface("net_tap0,iface=dtap0"), None);
    }
}
