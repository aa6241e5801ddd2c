//! Raw bindings to the installed DPDK (22.11 LTS) and a small shim for its static inlines.
//!
//! Generated at build time from the system's headers; no logic lives here. The only user is
//! `dataplane`, which wraps every call in a safe owner.

#![allow(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    missing_docs,
    unreachable_pub,
    unnecessary_transmutes,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::missing_safety_doc,
    rustdoc::all
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

#[cfg(test)]
mod tests {
    #[test]
    fn shim_links_and_a_thread_outside_eal_is_no_lcore() {
        // SAFETY: reads a thread-local of DPDK; valid without EAL.
        assert_eq!(unsafe { super::shim_lcore_id() }, u32::MAX);
    }
}
