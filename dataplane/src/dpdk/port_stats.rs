//! What a port's driver counts.

use std::ffi::CStr;

use crate::interface::PortId;

/// Basic statistics of a port, since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets the port dropped since no descriptor was free (`rx-miss`). `net_af_packet` never
    /// says so: compare [`rx_packets`](Self::rx_packets) with the interface's own counter there.
    pub rx_missed: u64,
    /// Packets received in error.
    pub rx_errors: u64,
    /// Packets that could not be sent, also those the driver first claimed to have sent.
    pub tx_errors: u64,
    /// Receive failures for want of an mbuf.
    pub rx_no_buffer: u64,
}

/// Reads a port's statistics; zero when the driver has none.
pub fn read(port: PortId) -> PortStats {
    let mut raw = dpdk_sys::rte_eth_stats::default();
    // SAFETY: the structure is valid for writing; DPDK checks the port number.
    let status = unsafe { dpdk_sys::rte_eth_stats_get(port.0, &raw mut raw) };
    if status != 0 {
        return PortStats::default();
    }
    PortStats {
        rx_packets: raw.ipackets,
        tx_packets: raw.opackets,
        rx_bytes: raw.ibytes,
        tx_bytes: raw.obytes,
        rx_missed: raw.imissed,
        rx_errors: raw.ierrors,
        tx_errors: raw.oerrors,
        rx_no_buffer: raw.rx_nombuf,
    }
}

/// A port's extended statistics, by the driver's names.
pub fn read_extended(port: PortId) -> Vec<(String, u64)> {
    // SAFETY: with no room given, DPDK only says how many there are.
    let count = unsafe { dpdk_sys::rte_eth_xstats_get_names(port.0, std::ptr::null_mut(), 0) };
    let Ok(room) = u32::try_from(count) else { return Vec::new() };
    let mut names = vec![dpdk_sys::rte_eth_xstat_name { name: [0; 64] }; room as usize];
    let mut values = vec![dpdk_sys::rte_eth_xstat { id: 0, value: 0 }; room as usize];
    // SAFETY: both arrays have room for `room` elements, which DPDK does not exceed.
    let got = unsafe {
        let names = dpdk_sys::rte_eth_xstats_get_names(port.0, names.as_mut_ptr(), room);
        names.min(dpdk_sys::rte_eth_xstats_get(port.0, values.as_mut_ptr(), room))
    };
    let got = usize::try_from(got).unwrap_or(0).min(room as usize);
    let named = values[..got].iter().filter_map(|value| {
        let name = names.get(value.id as usize)?;
        // SAFETY: DPDK terminates every name within its 64 bytes.
        let name = unsafe { CStr::from_ptr(name.name.as_ptr()) };
        Some((name.to_string_lossy().into_owned(), value.value))
    });
    named.collect()
}
