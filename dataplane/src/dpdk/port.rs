//! Ports: configured, started, and closed when their owner is dropped.

use std::ffi::{CStr, CString};

use crate::dpdk::eal::Eal;
use crate::dpdk::error::DpdkError;
use crate::dpdk::mempool::Mempool;
use crate::interface::{MacAddress, PortId};

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

/// A started port.
#[derive(Debug)]
pub struct Port {
    id: PortId,
    name: String,
    info: PortInfo,
    /// Receive rings hold its mbufs, so it lives at least as long.
    _pool: Mempool,
}

impl Port {
    /// Configures and starts a port that EAL has probed.
    pub fn start(_eal: &Eal, config: &PortConfig, pool: &Mempool) -> Result<Self, DpdkError> {
        let action = |what: &str| format!("{what} {}", config.name);
        let id = find(&config.device).ok_or_else(|| {
            DpdkError::because(action("opening"), format!("DPDK has no device {}", config.device))
        })?;
        let mut port = Self {
            id,
            name: config.name.clone(),
            info: PortInfo {
                driver: String::new(),
                node: None,
                mac: MacAddress::default(),
                queues: (config.rx_queues, config.tx_queues),
                max_queues: (0, 0),
                descriptors: (config.rx_descriptors, config.tx_descriptors),
                mtu: 0,
            },
            _pool: pool.clone(),
        };
        let mut device = dpdk_sys::rte_eth_dev_info::default();
        // SAFETY: the port exists and the structure is valid for writing.
        let status = unsafe { dpdk_sys::rte_eth_dev_info_get(id.0, &raw mut device) };
        DpdkError::check(status, || action("reading the capabilities of"))?;
        if !device.driver_name.is_null() {
            // SAFETY: a driver's name is a static string.
            let driver = unsafe { CStr::from_ptr(device.driver_name) };
            port.info.driver = driver.to_string_lossy().into_owned();
        }
        port.info.max_queues = (device.max_rx_queues, device.max_tx_queues);
        port.check_queues(config)?;
        port.configure(config, &device)?;
        port.set_up_queues(pool)?;
        // SAFETY: the port is configured and all its queues are set up.
        DpdkError::check(unsafe { dpdk_sys::rte_eth_dev_start(id.0) }, || action("starting"))?;
        // SAFETY: the port exists. Promiscuous mode lets VIP and interface addresses share a port
        // whatever its filter; a driver that cannot do it receives its own address all the same.
        unsafe { dpdk_sys::rte_eth_promiscuous_enable(id.0) };
        port.read_addresses()?;
        Ok(port)
    }

    fn check_queues(&self, config: &PortConfig) -> Result<(), DpdkError> {
        let (max_rx, max_tx) = self.info.max_queues;
        for (kind, want, max) in
            [("receive", config.rx_queues, max_rx), ("transmit", config.tx_queues, max_tx)]
        {
            if want > max {
                return Err(DpdkError::because(
                    format!("configuring {}", config.name),
                    format!(
                        "its driver {} has at most {max} {kind} queues, {want} are needed",
                        self.info.driver
                    ),
                ));
            }
        }
        Ok(())
    }

    fn configure(
        &mut self,
        config: &PortConfig,
        device: &dpdk_sys::rte_eth_dev_info,
    ) -> Result<(), DpdkError> {
        let mut settings = dpdk_sys::rte_eth_conf::default();
        if config.rx_queues > 1 && device.flow_type_rss_offloads != 0 {
            let wanted = dpdk_sys::RTE_ETH_RSS_IPV4
                | dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV4_TCP
                | dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV4_UDP;
            settings.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
            settings.rx_adv_conf.rss_conf.rss_hf = wanted & device.flow_type_rss_offloads;
        }
        let (rx, tx) = self.info.queues;
        // SAFETY: the port is stopped and the structure is valid.
        let status =
            unsafe { dpdk_sys::rte_eth_dev_configure(self.id.0, rx, tx, &raw const settings) };
        DpdkError::check(status, || format!("configuring {}", self.name))?;
        let (mut rx_desc, mut tx_desc) = self.info.descriptors;
        // SAFETY: the port is configured; both numbers are valid for writing.
        let status = unsafe {
            dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(
                self.id.0,
                &raw mut rx_desc,
                &raw mut tx_desc,
            )
        };
        DpdkError::check(status, || format!("choosing descriptors of {}", self.name))?;
        self.info.descriptors = (rx_desc, tx_desc);
        // SAFETY: the port exists.
        let node = unsafe { dpdk_sys::rte_eth_dev_socket_id(self.id.0) };
        self.info.node = u32::try_from(node).ok();
        Ok(())
    }

    fn set_up_queues(&self, pool: &Mempool) -> Result<(), DpdkError> {
        let node = self.info.node.unwrap_or(u32::MAX);
        for queue in 0..self.info.queues.0 {
            // SAFETY: the port is configured with this many queues; the pool outlives the port.
            let status = unsafe {
                dpdk_sys::rte_eth_rx_queue_setup(
                    self.id.0,
                    queue,
                    self.info.descriptors.0,
                    node,
                    std::ptr::null(),
                    pool.raw(),
                )
            };
            DpdkError::check(status, || {
                format!("setting up receive queue {queue} of {}", self.name)
            })?;
        }
        for queue in 0..self.info.queues.1 {
            // SAFETY: the port is configured with this many queues.
            let status = unsafe {
                dpdk_sys::rte_eth_tx_queue_setup(
                    self.id.0,
                    queue,
                    self.info.descriptors.1,
                    node,
                    std::ptr::null(),
                )
            };
            DpdkError::check(status, || {
                format!("setting up transmit queue {queue} of {}", self.name)
            })?;
        }
        Ok(())
    }

    fn read_addresses(&mut self) -> Result<(), DpdkError> {
        let mut mac = dpdk_sys::rte_ether_addr::default();
        // SAFETY: the port exists and the structure is valid for writing.
        let status = unsafe { dpdk_sys::rte_eth_macaddr_get(self.id.0, &raw mut mac) };
        DpdkError::check(status, || format!("reading the address of {}", self.name))?;
        self.info.mac = MacAddress(mac.addr_bytes);
        let mut mtu = 0;
        // SAFETY: the port exists and the number is valid for writing.
        let status = unsafe { dpdk_sys::rte_eth_dev_get_mtu(self.id.0, &raw mut mtu) };
        DpdkError::check(status, || format!("reading the MTU of {}", self.name))?;
        self.info.mtu = mtu;
        Ok(())
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

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: the port exists; no worker polls it any more, as workers end before ports do.
        unsafe {
            dpdk_sys::rte_eth_dev_stop(self.id.0);
            dpdk_sys::rte_eth_dev_close(self.id.0);
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
