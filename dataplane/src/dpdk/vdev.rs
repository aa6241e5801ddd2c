//! What virtual devices need to be told, beyond what the operator wrote.

/// Frames of a `net_af_packet` ring. The driver's 512 lose packets in every burst of a few hundred
/// connections.
const AF_PACKET_FRAMES: u32 = 8192;
/// Bytes of one frame slot: enough for a 1514-byte frame and the kernel's header.
const AF_PACKET_FRAME_BYTES: u32 = 2048;
/// Bytes of one ring block; a multiple of the page and of the frame.
const AF_PACKET_BLOCK_BYTES: u32 = 65_536;

/// The driver part of a `--vdev` value: `net_af_packet0,iface=x` is `net_af_packet`.
pub fn driver(vdev: &str) -> &str {
    device_name(vdev).trim_end_matches(|c: char| c.is_ascii_digit())
}

/// The device name in a `--vdev` value, by which DPDK finds the port.
pub fn device_name(vdev: &str) -> &str {
    vdev.split(',').next().unwrap_or_default()
}

fn has_key(vdev: &str, key: &str) -> bool {
    vdev.split(',').skip(1).any(|pair| pair.split('=').next() == Some(key))
}

/// True for devices whose packets pass through the kernel, where busy polling steals the CPU from
/// the very peers that send.
pub fn is_kernel_backed(vdev: &str) -> bool {
    matches!(driver(vdev), "net_af_packet" | "net_tap" | "net_af_xdp")
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

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
