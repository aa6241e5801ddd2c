//! The packet graph's nodes, one file each. Protocol logic only: packets, frames and dispatch are
//! the data plane's, balancing decisions the balancer's.
//!
//! Every node is total: any bytes lead to a next node or to a drop with a reason of its own.

#![forbid(unsafe_code)]

use dataplane::family::{Ip4, Ip6};
use dataplane::graph::GraphBuilder;

pub mod arp_input;
pub mod control_input;
mod decapsulation;
pub mod dpdk_input;
// Parts of it are for the nodes towards ASs, which are about to use them.
#[allow(dead_code)]
pub mod encapsulation;
pub mod error_drop;
pub mod ethernet_input;
mod forwarding;
mod header_rules;
pub mod icmp_error;
mod icmp_kind;
mod icmp_message;
pub mod interface_output;
pub mod ip_icmp_error;
pub mod ip_input;
pub mod ip_local;
pub mod ip_lookup;
pub mod ip_neighbor;
pub mod ip_rewrite;
pub mod ipip_output;
pub mod lb4_direct;
pub mod lb4_nat4;
pub mod lb4_vip;
pub mod lb_nat4_in2out;
pub mod lb_punt;
mod neighbor_discovery;
mod transport;
pub mod upper;

/// All nodes, each before its next nodes, so that a node runs once per turn for all of its
/// predecessors. Only what is made or released here (ICMP messages, packets that waited for a
/// neighbour) goes backwards.
pub fn builder() -> GraphBuilder {
    GraphBuilder::new()
        .node(dpdk_input::DpdkInput::default())
        .node(control_input::ControlInput)
        .node(ethernet_input::EthernetInput)
        .node(arp_input::ArpInput)
        .node(ip_input::IpInput::<Ip4>::default())
        .node(ip_input::IpInput::<Ip6>::default())
        .node(lb_nat4_in2out::LbNat4In2out)
        .node(ip_lookup::IpLookup::<Ip4>::default())
        .node(ip_lookup::IpLookup::<Ip6>::default())
        .node(lb4_vip::Lb4Vip)
        .node(lb4_nat4::Lb4Nat4)
        .node(lb4_direct::Lb4Direct)
        .node(ip_local::IpLocal::<Ip4>::default())
        .node(ip_local::IpLocal::<Ip6>::default())
        .node(ip_rewrite::IpRewrite::<Ip4>::default())
        .node(ip_rewrite::IpRewrite::<Ip6>::default())
        .node(ipip_output::IpipOutput::<Ip4>::default())
        .node(ipip_output::IpipOutput::<Ip6>::default())
        .node(ip_icmp_error::IpIcmpError::<Ip4>::default())
        .node(ip_icmp_error::IpIcmpError::<Ip6>::default())
        .node(ip_neighbor::IpNeighbor::<Ip4>::default())
        .node(ip_neighbor::IpNeighbor::<Ip6>::default())
        .node(lb_punt::LbPunt::default())
        .node(interface_output::InterfaceOutput)
        .node(error_drop::ErrorDrop)
}
