//! The packet graph's nodes, one file each. Protocol logic only: packets, frames and dispatch are
//! the data plane's, balancing decisions the balancer's.
//!
//! Every node is total: any bytes lead to a next node or to a drop with a reason of its own.

#![forbid(unsafe_code)]

use dataplane::family::{Ip4, Ip6};
use dataplane::graph::GraphBuilder;

use crate::dpdk_input::DpdkInput;
use crate::lb_direct::LbDirect;
use crate::lb_direct_routing::LbDirectRouting;
use crate::lb_l3dsr::LbL3dsr;
use crate::lb_nat::LbNat;
use crate::lb_nat_in2out::LbNatIn2out;
use crate::lb_tunnel::{Gre, Gue, Ipip, LbTunnel};
use crate::lb_vip::LbVip;

pub mod arp_input;
pub mod control_input;
mod decapsulation;
pub mod dpdk_input;
pub mod encapsulation;
pub mod error_drop;
pub mod ethernet_input;
pub mod express;
mod forwarding;
mod fragment_hold;
pub mod fragment_ways;
mod header_rules;
mod icmp_about_flow;
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
pub mod lb_direct;
pub mod lb_direct_routing;
pub mod lb_l3dsr;
pub mod lb_nat;
pub mod lb_nat_in2out;
pub mod lb_punt;
pub mod lb_tcp_reset;
pub mod lb_tunnel;
pub mod lb_vip;
pub mod lb_vip_edges;
pub mod ledger;
mod mss;
mod neighbor_discovery;
mod node_port;
mod recent_routes;
mod to_server;
mod transport;
pub mod upper;

/// All nodes, each before its next nodes, so that a node runs once per turn for all of its
/// predecessors. Only what is made or released here (ICMP messages, packets that waited for a
/// neighbour) goes backwards.
pub fn builder() -> GraphBuilder {
    behind(DpdkInput::default())
}

/// The same graph with nothing on the express way: each node does its own part. It is what the
/// express way is held against, in tests and in measurements.
pub fn plain_builder() -> GraphBuilder {
    behind(DpdkInput::plain())
}

fn behind(input: DpdkInput) -> GraphBuilder {
    GraphBuilder::new()
        .node(input)
        .node(control_input::ControlInput)
        .node(express::LbExpress::default())
        .node(ethernet_input::EthernetInput)
        .node(arp_input::ArpInput)
        .node(ip_input::IpInput::<Ip4>::default())
        .node(ip_input::IpInput::<Ip6>::default())
        .node(LbNatIn2out::<Ip4>::default())
        .node(LbNatIn2out::<Ip6>::default())
        .node(ip_lookup::IpLookup::<Ip4>::default())
        .node(ip_lookup::IpLookup::<Ip6>::default())
        .node(LbVip::<Ip4>::default())
        .node(LbVip::<Ip6>::default())
        .node(LbTunnel::<Ip4, Ip4, Gre>::default())
        .node(LbTunnel::<Ip4, Ip6, Gre>::default())
        .node(LbTunnel::<Ip6, Ip4, Gre>::default())
        .node(LbTunnel::<Ip6, Ip6, Gre>::default())
        .node(LbTunnel::<Ip4, Ip4, Ipip>::default())
        .node(LbTunnel::<Ip4, Ip6, Ipip>::default())
        .node(LbTunnel::<Ip6, Ip4, Ipip>::default())
        .node(LbTunnel::<Ip6, Ip6, Ipip>::default())
        .node(LbTunnel::<Ip4, Ip4, Gue>::default())
        .node(LbTunnel::<Ip4, Ip6, Gue>::default())
        .node(LbTunnel::<Ip6, Ip4, Gue>::default())
        .node(LbTunnel::<Ip6, Ip6, Gue>::default())
        .node(LbL3dsr::<Ip4>::default())
        .node(LbL3dsr::<Ip6>::default())
        .node(LbDirectRouting::<Ip4>::default())
        .node(LbDirectRouting::<Ip6>::default())
        .node(LbNat::<Ip4>::default())
        .node(LbNat::<Ip6>::default())
        .node(LbDirect::<Ip4>::default())
        .node(LbDirect::<Ip6>::default())
        .node(lb_tcp_reset::LbTcpReset)
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
