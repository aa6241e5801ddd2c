//! Tells systemd how the daemon is, by the protocol of sd_notify(3): datagrams of `NAME=VALUE`
//! lines to the UNIX socket that the environment names.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if there is one that listens. Connected at start: later on the daemon may
/// have no right to.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// Within which it wants to hear `WATCHDOG=1` again and again.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names: `NOTIFY_SOCKET` is a path, or `@` and an abstract name;
    /// `WATCHDOG_USEC` counts if `WATCHDOG_PID` is this process or is not set.
    pub fn from_environment() -> Self {
        let get = |name| std::env::var(name).ok();
        let socket = get("NOTIFY_SOCKET").and_then(|name| {
            connect(&name)
                .inspect_err(|error| {
                    tracing::warn!("the service manager at {name} is not told anything: {error}");
                })
                .ok()
        });
        let pid = std::process::id();
        Self { socket, watchdog: watchdog(get("WATCHDOG_USEC"), get("WATCHDOG_PID"), pid) }
    }

    /// Within which it wants to hear `WATCHDOG=1` again and again, if it does.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends one message; see sd_notify(3) for those there are. One that is not taken is lost.
    pub fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(message.as_bytes());
        }
    }
}

fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // Nothing here waits for the service manager.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn watchdog(usec: Option<String>, pid: Option<String>, own: u32) -> Option<Duration> {
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec = usec?.parse().ok().filter(|usec| meant && *usec > 0)?;
    Some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_meant_for_this_process_or_for_any() {
        let of = |usec: &str, pid: Option<&str>| {
            watchdog(Some(usec.to_owned()), pid.map(str::to_owned), 7)
        };
        assert_eq!(of("2000000", None), Some(Duration::from_secs(2)));
        assert_eq!(of("2000000", Some("7")), Some(Duration::from_secs(2)));
        assert_eq!(of("2000000", Some("8")), None);
        assert_eq!((of("0", None), of("soon", None)), (None, None));
        assert_eq!(watchdog(None, None, 7), None);
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        let name = format!("sluice-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let _ = std::fs::remove_file(&path);
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let listeners = [
            (path.to_str().unwrap().to_owned(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{name}"), UnixDatagram::bind_addr(&abstract_address).unwrap()),
        ];
        for (name, listener) in listeners {
            let manager = ServiceManager { socket: Some(connect(&name).unwrap()), watchdog: None };
            manager.tell("READY=1");
            let mut buffer = [0; 32];
            let len = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], b"READY=1", "{name}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(connect(path.to_str().unwrap()).is_err(), "nobody listens there any more");
    }
}
