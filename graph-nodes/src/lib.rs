//! The packet graph's nodes, one file each. Protocol logic only: packets, frames and dispatch are
//! the data plane's, balancing decisions the balancer's.
//!
//! Every node is total: any bytes lead to a next node or to a drop with a reason of its own.

#![forbid(unsafe_code)]

use dataplane::graph::GraphBuilder;

pub mod arp_input;
pub mod control_input;
pub mod dpdk_input;
pub mod error_drop;
pub mod ethernet_input;
mod forwarding;
pub mod icmp_error;
pub mod interface_output;
pub mod ip4_arp;
pub mod ip4_icmp_error;
pub mod ip4_input;
pub mod ip4_local;
pub mod ip4_lookup;
pub mod ip4_rewrite;
pub mod lb4_direct;
pub mod lb4_nat4;
pub mod lb4_vip;
pub mod lb_nat4_in2out;
mod transport;

/// All nodes, each before its next nodes, so that a node runs once per turn for all of its
/// predecessors. Only what is made or released here (ICMP messages, packets that waited for a
/// neighbour) goes backwards.
pub fn builder() -> GraphBuilder {
    GraphBuilder::new()
        .node(dpdk_input::DpdkInput::default())
        .node(control_input::ControlInput)
        .node(ethernet_input::EthernetInput)
        .node(arp_input::ArpInput)
        .node(ip4_input::Ip4Input::default())
        .node(lb_nat4_in2out::LbNat4In2out)
        .node(ip4_lookup::Ip4Lookup)
        .node(lb4_vip::Lb4Vip)
        .node(lb4_nat4::Lb4Nat4)
        .node(lb4_direct::Lb4Direct)
        .node(ip4_local::Ip4Local)
        .node(ip4_rewrite::Ip4Rewrite)
        .node(ip4_icmp_error::Ip4IcmpError)
        .node(ip4_arp::Ip4Arp::default())
        .node(interface_output::InterfaceOutput)
        .node(error_drop::ErrorDrop)
}
