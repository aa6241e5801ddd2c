//! Which capabilities a port goes on needing, by its driver.

use config::Capability;

/// The mask of what ports of these drivers need while the daemon runs: to be made anew when the
/// kernel's interface behind them comes back, and to be configured.
///
/// - Packet memory is locked, or pinned for a device: `CAP_IPC_LOCK`, always.
/// - `net_af_packet` opens packet sockets: `CAP_NET_RAW`. Its MTU and flags are the kernel
///   interface's, which belongs to somebody else.
/// - `net_tap` owns its interface (MTU, flags, queue disciplines), `net_af_xdp` attaches a program to
///   one, and mlx4 and mlx5 share theirs with the kernel: `CAP_NET_ADMIN` and `CAP_NET_RAW`.
pub(super) fn capabilities<'a>(drivers: impl IntoIterator<Item = &'a str>) -> u64 {
    let of = |driver: &str| match driver {
        "net_af_packet" | "net_pcap" => Capability::NET_RAW.bit(),
        "net_tap" | "net_tun" | "net_af_xdp" => {
            Capability::NET_RAW.bit() | Capability::NET_ADMIN.bit()
        }
        mellanox if mellanox.contains("mlx") => {
            Capability::NET_RAW.bit() | Capability::NET_ADMIN.bit()
        }
        _ => 0,
    };
    drivers.into_iter().fold(Capability::IPC_LOCK.bit(), |all, driver| all | of(driver))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_driver_keeps_what_it_needs() {
        let names = |drivers: &[&str]| {
            let mask = capabilities(drivers.iter().copied());
            Capability::of_mask(mask).map(|one| one.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&["net_null"]), "cap_ipc_lock");
        assert_eq!(names(&["net_af_packet", "net_ice"]), "cap_net_raw cap_ipc_lock");
        assert_eq!(names(&["net_tap"]), "cap_net_admin cap_net_raw cap_ipc_lock");
        assert_eq!(names(&["net_af_xdp"]), names(&["net_tap"]));
        assert_eq!(names(&["net_af_packet", "mlx5_pci"]), names(&["net_tap"]));
    }
}
