//! Every default and every limit of the configuration, in one place.

use std::ops::RangeInclusive;

use crate::{NoMatch, SrcEntropy, TooBig, TunnelDf, TunnelDscp, TunnelEcn};

/// Where the daemon listens: `[unix] cli-listen`, and `sluicectl` without `-s`.
pub const CLI_LISTEN: &str = "/run/sluice/cli.sock";
/// `[cpu] main-core`.
pub const MAIN_CORE: u16 = 0;
/// `[cpu] workers`.
pub const WORKERS: u16 = 1;
/// `[cpu] workers`: limits.
pub const WORKERS_RANGE: RangeInclusive<u16> = 1..=64;
/// Highest CPU number that is accepted.
pub const MAX_CPU: u16 = 1023;
/// `[dpdk] buffers-per-numa`: packet buffers on each NUMA node (VPP's default as root).
pub const BUFFERS_PER_NUMA: u32 = 16_384;
/// `[dpdk] buffers-per-numa`: limits.
pub const BUFFERS_PER_NUMA_RANGE: RangeInclusive<u32> = 1_024..=16_777_216;
/// `num-rx-queues`.
pub const NUM_RX_QUEUES: u16 = 1;
/// `num-rx-queues`, `num-tx-queues`: limits.
pub const NUM_QUEUES_RANGE: RangeInclusive<u16> = 1..=64;
/// `num-rx-desc`, `num-tx-desc`.
pub const NUM_DESC: u16 = 1_024;
/// `num-rx-desc`, `num-tx-desc`: limits.
pub const NUM_DESC_RANGE: RangeInclusive<u16> = 64..=32_768;
/// `mtu`, bytes; the state of an interface that nothing else was said about.
pub const MTU: u16 = 1_500;
/// `mtu`: limits, bytes. 68 is what RFC 791 asks of every link, 9216 the usual jumbo frame.
pub const MTU_RANGE: RangeInclusive<u16> = 68..=9_216;
/// Longest name of an interface or VIP, bytes.
pub const MAX_NAME: usize = 63;

/// `lb conf buckets`: sticky buckets per worker (VPP's default).
pub const BUCKETS: u32 = 1_024;
/// `lb conf buckets`: limits. 2^24 buckets are 1 GiB a worker.
pub const BUCKETS_RANGE: RangeInclusive<u32> = 1..=1 << 24;
/// `lb conf buckets-log2`: limits.
pub const BUCKETS_LOG2_RANGE: RangeInclusive<u32> = 0..=24;
/// `lb conf timeout`, seconds (VPP's default).
pub const TIMEOUT_S: u32 = 40;
/// `lb conf tcp-established-timeout`, seconds.
pub const TCP_ESTABLISHED_TIMEOUT_S: u32 = 900;
/// `lb conf tcp-closing-timeout`, seconds.
pub const TCP_CLOSING_TIMEOUT_S: u32 = 120;
/// Every timeout: limits, seconds. An entry of the sticky table keeps its expiry in 16 bits and
/// compares it across the wrap, so that a timeout must stay below half of that.
pub const TIMEOUT_S_RANGE: RangeInclusive<u32> = 1..=32_000;

/// `new_len`: length of a VIP's new-flow table, the prime next above 2^16.
pub const NEW_LEN: u32 = 65_537;
/// `new_len`: limits.
pub const NEW_LEN_RANGE: RangeInclusive<u32> = 1..=1 << 24;
/// `weight` of an AS.
pub const WEIGHT: u8 = 100;
/// `weight`: limits.
pub const WEIGHT_RANGE: RangeInclusive<u8> = 0..=100;
/// `dscp`: limits.
pub const DSCP_RANGE: RangeInclusive<u8> = 0..=63;
/// A port: limits.
pub const PORT_RANGE: RangeInclusive<u16> = 1..=65_535;
/// `mss <n>`: limits, bytes. 88 is the least Linux takes, 9176 fits the largest MTU.
pub const MSS_RANGE: RangeInclusive<u16> = 88..=9_176;

/// `lb conf tunnel-ttl`.
pub const TUNNEL_TTL: u8 = 64;
/// `lb conf tunnel-ttl`: limits.
pub const TUNNEL_TTL_RANGE: RangeInclusive<u8> = 1..=255;
/// `lb conf tunnel-dscp`.
pub const TUNNEL_DSCP: TunnelDscp = TunnelDscp::Copy;
/// `lb conf tunnel-ecn`.
pub const TUNNEL_ECN: TunnelEcn = TunnelEcn::Rfc6040;
/// `lb conf tunnel-df`.
pub const TUNNEL_DF: TunnelDf = TunnelDf::Copy;
/// `lb conf too-big`.
pub const TOO_BIG: TooBig = TooBig::Drop;
/// `lb conf gue-port` (IANA's port of GUE).
pub const GUE_PORT: u16 = 6_080;
/// `lb conf ip4-src-entropy`, `ip6-src-entropy`.
pub const SRC_ENTROPY: SrcEntropy = SrcEntropy::Off;
/// `lb conf ip4-src-entropy`: limits of the prefix length.
pub const IP4_SRC_ENTROPY_RANGE: RangeInclusive<u8> = 8..=31;
/// `lb conf ip6-src-entropy`: limits of the prefix length.
pub const IP6_SRC_ENTROPY_RANGE: RangeInclusive<u8> = 16..=127;
/// `lb conf no-match`.
pub const NO_MATCH: NoMatch = NoMatch::Drop;

/// `create ipip tunnel … instance`: limits (VPP's).
pub const IPIP_INSTANCE_RANGE: RangeInclusive<u32> = 0..=16_383;
/// The number of a sub-interface: limits.
pub const SUB_INTERFACE_ID_RANGE: RangeInclusive<u32> = 1..=u32::MAX;
/// A VLAN: limits. 0 is a priority tag and 4095 reserved (IEEE 802.1Q).
pub const VLAN_RANGE: RangeInclusive<u16> = 1..=4_094;
/// `[punt] tap`: longest name of a kernel interface, bytes.
pub const MAX_KERNEL_INTERFACE: usize = 15;

/// `ping … size`: ICMP payload, bytes (VPP's default).
pub const PING_SIZE: u16 = 60;
/// `ping … size`: limits, bytes.
pub const PING_SIZE_RANGE: RangeInclusive<u16> = 0..=1_400;
/// `ping … interval`, milliseconds (VPP's default).
pub const PING_INTERVAL_MS: u32 = 1_000;
/// `ping … interval`: limits, milliseconds.
pub const PING_INTERVAL_MS_RANGE: RangeInclusive<u32> = 1..=60_000;
/// `ping … repeat` (VPP's default).
pub const PING_REPEAT: u32 = 5;
/// `debug control hang <seconds>`: limits.
pub const DEBUG_HANG_S_RANGE: RangeInclusive<u16> = 1..=600;
/// `ping … repeat`: limits.
pub const PING_REPEAT_RANGE: RangeInclusive<u32> = 1..=1_000;
/// `reload … confirm`: limits, seconds.
pub const CONFIRM_S_RANGE: RangeInclusive<u32> = 1..=86_400;
/// `trace add`: limits, packets.
pub const TRACE_COUNT_RANGE: RangeInclusive<u32> = 1..=100_000;
/// `show lb flows … limit`: flows of a page.
pub const FLOWS_LIMIT: u32 = 100;
/// `show lb flows … limit`: limits.
pub const FLOWS_LIMIT_RANGE: RangeInclusive<u32> = 1..=10_000;
/// `wait drained … timeout`: limits, seconds.
pub const WAIT_TIMEOUT_S_RANGE: RangeInclusive<u32> = 0..=31_536_000;
/// `show trace max`: packets per thread (VPP's default).
pub const SHOW_TRACE_MAX: u32 = 50;
/// `show trace max`: limits.
pub const SHOW_TRACE_MAX_RANGE: RangeInclusive<u32> = 1..=100_000;
