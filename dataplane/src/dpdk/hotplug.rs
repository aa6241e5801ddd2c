//! Virtual devices that come and go while the EAL runs.

use std::ffi::{CStr, CString};

use crate::dpdk::eal::EalUse;
use crate::dpdk::error::DpdkError;
use crate::dpdk::vdev::device_name;

/// DPDK's name of the bus that virtual devices are on.
const BUS: &CStr = c"vdev";

/// Probes a device as EAL does at its start. `vdev` is a [complete](crate::dpdk::vdev::complete)
/// `--vdev` value; its port must have been closed, and the device [removed](remove).
///
/// # Errors
///
/// The device's driver refuses, or the EAL does not run.
pub fn probe(vdev: &str) -> Result<(), DpdkError> {
    let action = || format!("probing {}", device_name(vdev));
    let _eal = EalUse::new(action)?;
    let arguments = vdev.split_once(',').map_or("", |(_, arguments)| arguments);
    let (Ok(name), Ok(arguments)) = (CString::new(device_name(vdev)), CString::new(arguments))
    else {
        return Err(DpdkError::because(action(), "its arguments have a NUL byte"));
    };
    // SAFETY: all are valid strings, which DPDK copies; it locks its list of devices itself.
    let status =
        unsafe { dpdk_sys::rte_eal_hotplug_add(BUS.as_ptr(), name.as_ptr(), arguments.as_ptr()) };
    DpdkError::check(status, action).map(drop)
}

/// Forgets a device whose port was closed.
///
/// # Errors
///
/// There is no such device, or the EAL does not run.
pub fn remove(device: &str) -> Result<(), DpdkError> {
    let action = || format!("removing {device}");
    let _eal = EalUse::new(action)?;
    let Ok(name) = CString::new(device) else {
        return Err(DpdkError::because(action(), "its name has a NUL byte"));
    };
    // SAFETY: both names are valid strings; DPDK locks its list of devices itself.
    let status = unsafe { dpdk_sys::rte_eal_hotplug_remove(BUS.as_ptr(), name.as_ptr()) };
    DpdkError::check(status, action).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_device_without_the_eal() {
        for error in [probe("net_null7").unwrap_err(), remove("net_null7").unwrap_err()] {
            assert!(error.to_string().ends_with("the EAL is not running"), "{error}");
        }
    }
}
