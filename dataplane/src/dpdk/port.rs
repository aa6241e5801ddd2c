//! Ports: configured, started, and closed with the last of their owner and their queues.

use std::ffi::{CStr, CString, c_char};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dpdk::eal::{self, Eal, EalUse};
use crate::dpdk::error::DpdkError;
use crate::dpdk::mempool::Mempool;
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::interface::{MacAddress, PortId, QueueId};

/// Ports that have an owner, by number. DPDK itself would let anyone close anything.
static OWNED: [AtomicBool; dpdk_sys::RTE_MAX_ETHPORTS as usize] =
    [const { AtomicBool::new(false) }; dpdk_sys::RTE_MAX_ETHPORTS as usize];

/// How a port is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// The interface's name, for messages.
    pub name: String,
    /// DPDK's name of the device: a vdev's name or a PCI address.
    pub device: String,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors per receive queue, as far as the driver allows.
    pub rx_descriptors: u16,
    /// Descriptors per transmit queue, as far as the driver allows.
    pub tx_descriptors: u16,
}

/// What a port turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Driver, for example `net_af_packet`.
    pub driver: String,
    /// NUMA node, `None` when it has none.
    pub node: Option<u32>,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Receive and transmit queues it runs with.
    pub queues: (u16, u16),
    /// Most receive and transmit queues it could have.
    pub max_queues: (u16, u16),
    /// Descriptors per receive and transmit queue.
    pub descriptors: (u16, u16),
    /// Largest IP packet by the driver's word, in bytes.
    pub mtu: u16,
    /// True when it receives packets whatever their destination address.
    pub promiscuous: bool,
    /// Receive offloads the driver has, as DPDK names them but in lower case: `ipv4-cksum`.
    /// None is switched on.
    pub rx_offloads: Vec<String>,
    /// Transmit offloads the driver has, likewise.
    pub tx_offloads: Vec<String>,
}

/// A link's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// True when there is carrier, as the driver sees it.
    pub up: bool,
    /// Mbit/s; `u32::MAX` when unknown.
    pub speed_mbps: u32,
    /// Full duplex.
    pub full_duplex: bool,
}

impl PortInfo {
    fn new(config: &PortConfig, raw: &dpdk_sys::rte_eth_dev_info) -> Self {
        Self {
            driver: text(raw.driver_name),
            node: None,
            mac: MacAddress::default(),
            queues: (config.rx_queues, config.tx_queues),
            max_queues: (raw.max_rx_queues, raw.max_tx_queues),
            descriptors: (config.rx_descriptors, config.tx_descriptors),
            mtu: 0,
            promiscuous: false,
            rx_offloads: offload_names(raw.rx_offload_capa, |offload| {
                // SAFETY: any number is accepted, and the name is a static string.
                unsafe { dpdk_sys::rte_eth_dev_rx_offload_name(offload) }
            }),
            tx_offloads: offload_names(raw.tx_offload_capa, |offload| {
                // SAFETY: any number is accepted, and the name is a static string.
                unsafe { dpdk_sys::rte_eth_dev_tx_offload_name(offload) }
            }),
        }
    }

    fn check_queues(&self, config: &PortConfig) -> Result<(), DpdkError> {
        let (max_rx, max_tx) = self.max_queues;
        for (kind, want, max) in
            [("receive", config.rx_queues, max_rx), ("transmit", config.tx_queues, max_tx)]
        {
            if want > max {
                return Err(DpdkError::because(
                    format!("configuring {}", config.name),
                    format!(
                        "its driver {} has at most {max} {kind} queues, {want} are needed",
                        self.driver
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The device behind a port and its queues: stopped and closed when the last of them goes.
#[derive(Debug)]
pub(super) struct Device {
    id: PortId,
    /// It may hold packets or threads. Closing removes a virtual device for good, so one that
    /// was refused before that is left for another try.
    configured: bool,
    // Declared after what needs it: the pool outlives the device's rings, the EAL both.
    _pool: Mempool,
    _eal: EalUse,
}

impl Device {
    pub(super) fn id(&self) -> PortId {
        self.id
    }

    /// Takes the only ownership of the device that EAL has probed under this name.
    fn claim(config: &PortConfig, pool: &Mempool) -> Result<Self, DpdkError> {
        let action = || format!("opening {}", config.name);
        let eal = EalUse::new(action)?;
        let id = find(&config.device).ok_or_else(|| {
            DpdkError::because(action(), format!("DPDK has no device {}", config.device))
        })?;
        if OWNED[usize::from(id.0)].swap(true, Ordering::SeqCst) {
            let reason = format!("the device {} is already in use", config.device);
            return Err(DpdkError::because(action(), reason));
        }
        Ok(Self { id, configured: false, _pool: pool.clone(), _eal: eal })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.configured {
            // SAFETY: the port exists, and with neither port nor queues left nobody uses it.
            unsafe { dpdk_sys::rte_eth_dev_stop(self.id.0) };
            // SAFETY: as above, and it is stopped.
            unsafe { dpdk_sys::rte_eth_dev_close(self.id.0) };
        }
        OWNED[usize::from(self.id.0)].store(false, Ordering::SeqCst);
    }
}

/// A started port.
#[derive(Debug)]
pub struct Port {
    _device: Arc<Device>,
    id: PortId,
    name: String,
    info: PortInfo,
    rx_queues: Vec<RxQueue>,
    tx_queues: Vec<TxQueue>,
}

impl Port {
    /// Configures and starts a port that EAL has probed.
    pub fn start(_eal: &Eal, config: &PortConfig, pool: &Mempool) -> Result<Self, DpdkError> {
        Self::open(config, pool)
    }

    /// The same for a device that was probed later.
    pub fn open(config: &PortConfig, pool: &Mempool) -> Result<Self, DpdkError> {
        let action = |what: &str| format!("{what} {}", config.name);
        let mut device = Device::claim(config, pool)?;
        let id = device.id;
        let mut raw = dpdk_sys::rte_eth_dev_info::default();
        // SAFETY: the port exists and the structure is valid for writing.
        let status = unsafe { dpdk_sys::rte_eth_dev_info_get(id.0, &raw mut raw) };
        DpdkError::check(status, || action("reading the capabilities of"))?;
        let mut info = PortInfo::new(config, &raw);
        info.check_queues(config)?;
        configure(id, config, &raw)?;
        device.configured = true;
        info.descriptors = adjust_descriptors(id, config)?;
        // SAFETY: the port exists.
        let node = unsafe { dpdk_sys::rte_eth_dev_socket_id(id.0) };
        info.node = u32::try_from(node).ok();
        set_up_queues(id, &config.name, &info, pool)?;
        // SAFETY: the port is configured and all its queues are set up.
        DpdkError::check(unsafe { dpdk_sys::rte_eth_dev_start(id.0) }, || action("starting"))?;
        // SAFETY: the port exists. Promiscuous mode lets VIP and interface addresses share a port
        // whatever its filter; a driver that cannot do it receives its own address all the same.
        info.promiscuous = unsafe { dpdk_sys::rte_eth_promiscuous_enable(id.0) } == 0;
        (info.mac, info.mtu) = read_addresses(id, &config.name)?;
        let device = Arc::new(device);
        let of = |queue| (device.clone(), QueueId(queue));
        let (rx, tx) = info.queues;
        let rx_queues = (0..rx).map(of).map(|(device, id)| RxQueue::new(device, id)).collect();
        let tx_queues = (0..tx).map(of).map(|(device, id)| TxQueue::new(device, id)).collect();
        Ok(Self { _device: device, id, name: config.name.clone(), info, rx_queues, tx_queues })
    }

    /// The receive queues, in order; each has one owner, so a second call gives none.
    pub fn take_rx_queues(&mut self) -> Vec<RxQueue> {
        std::mem::take(&mut self.rx_queues)
    }

    /// The transmit queues, in order; each has one owner, so a second call gives none.
    pub fn take_tx_queues(&mut self) -> Vec<TxQueue> {
        std::mem::take(&mut self.tx_queues)
    }

    /// DPDK's number of this port.
    pub fn id(&self) -> PortId {
        self.id
    }

    /// What it turned out to be.
    pub fn info(&self) -> &PortInfo {
        &self.info
    }

    /// Tells the driver of an MTU. Some virtual devices refuse more than 1500, which is no harm:
    /// ours is kept in the model and enforced there.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), DpdkError> {
        // SAFETY: the port exists.
        let status = unsafe { dpdk_sys::rte_eth_dev_set_mtu(self.id.0, mtu) };
        DpdkError::check(status, || format!("setting the MTU of {} to {mtu}", self.name)).map(drop)
    }

    /// The link's state, without waiting. Virtual devices say "up" always.
    pub fn link(&self) -> LinkStatus {
        let mut link = dpdk_sys::rte_eth_link::default();
        // SAFETY: the port exists and the structure is valid for writing.
        let status = unsafe { dpdk_sys::rte_eth_link_get_nowait(self.id.0, &raw mut link) };
        LinkStatus {
            up: status == 0 && link.link_status() == 1,
            speed_mbps: link.link_speed,
            full_duplex: link.link_duplex() == 1,
        }
    }
}

/// The port of a device that EAL has probed.
fn find(device: &str) -> Option<PortId> {
    let name = CString::new(device).ok()?;
    let mut id = 0;
    // SAFETY: the name is a valid string and the number is valid for writing.
    let status = unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut id) };
    (status == 0).then_some(PortId(id))
}

/// The names of the offloads whose bits are set.
fn offload_names(capabilities: u64, name: impl Fn(u64) -> *const c_char) -> Vec<String> {
    let set = (0..u64::BITS).map(|bit| 1_u64 << bit).filter(|bit| capabilities & bit != 0);
    set.map(|bit| text(name(bit)).to_ascii_lowercase().replace('_', "-")).collect()
}

/// A static C string; empty for NULL.
fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: callers pass static, NUL-terminated strings of DPDK.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// Sets the numbers of queues, and how packets are spread over several receive queues as far as
/// the driver can. No offload is asked for: the graph needs none, and drivers differ.
fn configure(
    id: PortId,
    config: &PortConfig,
    raw: &dpdk_sys::rte_eth_dev_info,
) -> Result<(), DpdkError> {
    let mut settings = dpdk_sys::rte_eth_conf::default();
    if config.rx_queues > 1 && raw.flow_type_rss_offloads != 0 {
        let wanted = dpdk_sys::RTE_ETH_RSS_IPV4
            | dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV4_TCP
            | dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV4_UDP;
        settings.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
        settings.rx_adv_conf.rss_conf.rss_hf = wanted & raw.flow_type_rss_offloads;
    }
    let (rx, tx) = (config.rx_queues, config.tx_queues);
    // SAFETY: the port is stopped and the structure is valid.
    let status = unsafe { dpdk_sys::rte_eth_dev_configure(id.0, rx, tx, &raw const settings) };
    DpdkError::check(status, || format!("configuring {}", config.name)).map(drop)
}

/// The wanted numbers of receive and transmit descriptors, moved into the driver's limits.
fn adjust_descriptors(id: PortId, config: &PortConfig) -> Result<(u16, u16), DpdkError> {
    let (mut rx, mut tx) = (config.rx_descriptors, config.tx_descriptors);
    // SAFETY: the port is configured; both numbers are valid for writing.
    let status =
        unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id.0, &raw mut rx, &raw mut tx) };
    DpdkError::check(status, || format!("choosing descriptors of {}", config.name))?;
    Ok((rx, tx))
}

fn set_up_queues(id: PortId, name: &str, info: &PortInfo, pool: &Mempool) -> Result<(), DpdkError> {
    let node = eal::memory_node(info.node) as u32;
    let (rx_descriptors, tx_descriptors) = info.descriptors;
    for queue in 0..info.queues.0 {
        let defaults = std::ptr::null();
        // SAFETY: the port is configured with this many queues; the pool outlives the device.
        let status = unsafe {
            dpdk_sys::rte_eth_rx_queue_setup(
                id.0,
                queue,
                rx_descriptors,
                node,
                defaults,
                pool.raw(),
            )
        };
        DpdkError::check(status, || format!("setting up receive queue {queue} of {name}"))?;
    }
    for queue in 0..info.queues.1 {
        let defaults = std::ptr::null();
        // SAFETY: the port is configured with this many queues.
        let status = unsafe {
            dpdk_sys::rte_eth_tx_queue_setup(id.0, queue, tx_descriptors, node, defaults)
        };
        DpdkError::check(status, || format!("setting up transmit queue {queue} of {name}"))?;
    }
    Ok(())
}

fn read_addresses(id: PortId, name: &str) -> Result<(MacAddress, u16), DpdkError> {
    let mut mac = dpdk_sys::rte_ether_addr::default();
    // SAFETY: the port exists and the structure is valid for writing.
    let status = unsafe { dpdk_sys::rte_eth_macaddr_get(id.0, &raw mut mac) };
    DpdkError::check(status, || format!("reading the address of {name}"))?;
    let mut mtu = 0;
    // SAFETY: the port exists and the number is valid for writing.
    let status = unsafe { dpdk_sys::rte_eth_dev_get_mtu(id.0, &raw mut mtu) };
    DpdkError::check(status, || format!("reading the MTU of {name}"))?;
    Ok((MacAddress(mac.addr_bytes), mtu))
}
