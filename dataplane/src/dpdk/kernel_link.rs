//! [`KernelLink`]: what the kernel says of the network interface that a virtual device stands on. Its
//! driver would say "up" even when the interface is gone.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A network interface of this process's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelLink {
    /// Its index: another one with the same name has another index.
    pub index: u32,
    /// It is administratively up, and has carrier.
    pub running: bool,
}

impl KernelLink {
    /// The interface called `name`; `None` when there is none (netdevice(7)).
    ///
    /// # Errors
    ///
    /// What the kernel says when it cannot be asked.
    pub fn read(name: &str) -> io::Result<Option<Self>> {
        let Some(mut request) = request(name) else { return Ok(None) };
        let socket = socket()?;
        if !ask(&socket, libc::SIOCGIFINDEX, &mut request)? {
            return Ok(None);
        }
        // SAFETY: the kernel has just filled in this field of the union.
        let index = unsafe { request.ifr_ifru.ifru_ifindex };
        if !ask(&socket, libc::SIOCGIFFLAGS, &mut request)? {
            return Ok(None);
        }
        // SAFETY: as above.
        let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
        let wanted = libc::IFF_UP | libc::IFF_RUNNING;
        Ok(Some(Self { index: index as u32, running: flags & wanted == wanted }))
    }
}

/// A question about the interface called `name`; `None` when no interface can be called so.
fn request(name: &str) -> Option<libc::ifreq> {
    let name = CString::new(name).ok()?;
    let bytes = name.as_bytes_with_nul();
    // SAFETY: the structure is plain numbers, of which 0 is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if bytes.len() > request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Some(request)
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes and gives plain numbers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// False when there is no such interface.
fn ask(socket: &OwnedFd, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<bool> {
    // SAFETY: the descriptor is open, and the request is valid for reading and writing.
    if unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut *request) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => Ok(false),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there_and_others_are_not() {
        let loopback = KernelLink::read("lo").unwrap().unwrap();
        assert_eq!(loopback.index, 1);
        assert_eq!(KernelLink::read("no-such-link0").unwrap(), None);
        assert_eq!(KernelLink::read("a-name-too-long-for-an-interface").unwrap(), None);
        assert_eq!(KernelLink::read("nul\0").unwrap(), None);
    }
}
