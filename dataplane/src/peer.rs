//! Who is at the other end of a UNIX socket, by the kernel's word.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Most groups a process can have (`NGROUPS_MAX` of Linux).
const GROUPS_MAX: usize = 65536;

/// The supplementary groups that the peer of a connected UNIX socket had when it connected
/// (`SO_PEERGROUPS`, unix(7)); its own group is not among them.
///
/// # Errors
///
/// The socket is no UNIX socket, or is not connected.
pub fn groups_of_peer(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the descriptor is open, and the kernel writes at most `bytes` bytes.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        if status == 0 {
            groups.truncate(bytes as usize / size_of::<u32>());
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || groups.len() >= GROUPS_MAX {
            return Err(error);
        }
        groups.resize(GROUPS_MAX, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn our_own_groups_are_those_of_a_peer_that_we_are() {
        let (here, _there) = UnixStream::pair().unwrap();
        let mut groups = groups_of_peer(here.as_fd()).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let mut own: Vec<u32> = line.split_whitespace().map(|n| n.parse().unwrap()).collect();
        groups.sort_unstable();
        own.sort_unstable();
        assert_eq!(groups, own);
        assert!(groups_of_peer(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }
}
