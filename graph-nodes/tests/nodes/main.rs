//! Every node on fake mbufs: frames in, frames out, and each counter produced at least once.
//!
//! All tests go through the whole graph of one worker, so they also show that nodes agree on lanes
//! and that no packet is lost.

#![allow(missing_docs)]

mod arp_input;
mod conservation;
mod control_input;
mod dpdk_input;
mod ethernet_input;
mod interface_output;
mod ip4_arp;
mod ip4_icmp_error;
mod ip4_input;
mod ip4_local;
mod ip4_lookup;
mod ip4_rewrite;
mod ip6_icmp_error;
mod ip6_input;
mod ip6_local;
mod ip6_routing;
mod lb4_direct;
mod lb4_nat4;
mod lb4_vip;
mod lb_direct_routing;
mod lb_express;
mod lb_express_new_flows;
mod lb_express_replies;
mod lb_l3dsr;
mod lb_nat4_in2out;
mod lb_nat6;
mod lb_punt;
mod lb_tunnel;
mod lb_vip_policies;
mod ledger;
mod malformed;
mod manual;
mod neighbor_discovery;
mod plan;
mod plan6;
mod services;
mod trace;
mod tunnels;
mod vlan;
