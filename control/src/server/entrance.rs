//! What clients come in by: made while there are privileges, opened when there is something to serve.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use config::Startup;
use dataplane::credentials::Identity;

use super::access::Access;
use super::socket::{Socket, remove};
use crate::accounts::Accounts;
use crate::privileges;

/// Listeners that nobody can find yet.
#[derive(Debug)]
pub struct Entrance {
    listener: UnixListener,
    path: PathBuf,
    /// The socket's file until it is opened, so that nobody meets it with other permissions.
    new: PathBuf,
    tcp: Option<TcpListener>,
    access: Access,
}

impl Entrance {
    /// Makes what `[unix]` and `[api]` ask for, to be used as `identity`.
    ///
    /// # Errors
    ///
    /// Why not, naming the path or address.
    pub fn new(startup: &Startup, identity: Option<&Identity>) -> Result<Self, String> {
        let uid = identity.map_or_else(privileges::own_uid, |identity| identity.uid);
        let access = Access::new(startup, &Accounts::here(), uid).map_err(|p| p.reason)?;
        let path = &startup.unix.cli_listen;
        let mut entrance = Self::at(path, access, identity).map_err(|error| error.to_string())?;
        if let Some(address) = &startup.api.tcp_listen {
            let listener = TcpListener::bind(address.value)
                .map_err(|error| format!("listening on {}: {error}", address.value))?;
            listener.set_nonblocking(true).map_err(|error| error.to_string())?;
            if !address.ip().is_loopback() {
                tracing::warn!("clients of {} send their token in the clear", address.value);
            }
            entrance.tcp = Some(listener);
        }
        Ok(entrance)
    }

    /// A UNIX socket alone, at `path`. Missing folders are made, the socket that a killed daemon
    /// left is replaced; one that answers, and a file that is no socket, are left alone.
    pub(super) fn at(path: &Path, access: Access, identity: Option<&Identity>) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        Socket::check(path)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make_folder(folder, identity).map_err(named)?;
        }
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        remove(&new).map_err(named)?;
        let listener = UnixListener::bind(&new).map_err(named)?;
        let (mode, group) = access.file_mode();
        let entrance = Self { listener, path: path.to_owned(), new, tcp: None, access };
        entrance.listener.set_nonblocking(true).map_err(named)?;
        let group = group.or(identity.map(|identity| identity.gid));
        lchown(&entrance.new, identity.map(|identity| identity.uid), group).map_err(named)?;
        fs::set_permissions(&entrance.new, fs::Permissions::from_mode(mode)).map_err(named)?;
        Ok(entrance)
    }

    /// Lets clients in. Within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Why not, naming the path.
    pub fn open(self) -> io::Result<Socket> {
        let named = |error: io::Error| {
            let hint = match (error.kind(), self.path.parent()) {
                (io::ErrorKind::PermissionDenied, Some(folder)) => {
                    format!("; the daemon's user must be able to write to {}", folder.display())
                }
                _ => String::new(),
            };
            let text = format!("{}: {error}{hint}", self.path.display());
            io::Error::new(error.kind(), text)
        };
        let listener = self.listener.try_clone().and_then(tokio::net::UnixListener::from_std);
        let tcp = self
            .tcp
            .as_ref()
            .map(|tcp| tcp.try_clone().and_then(tokio::net::TcpListener::from_std));
        let (listener, tcp) = (listener.map_err(named)?, tcp.transpose().map_err(named)?);
        fs::rename(&self.new, &self.path).map_err(named)?;
        Ok(Socket::new(listener, self.path.clone(), tcp, self.access.clone()))
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        // Gone already if it was opened.
        let _ = remove(&self.new);
    }
}

/// Makes the socket's folder. The user that the daemon becomes must be able to remove the socket
/// from it at the end, so it is given one that the daemon, or systemd for it, has made; others are
/// somebody's own.
fn make_folder(folder: &Path, identity: Option<&Identity>) -> io::Result<()> {
    let missing = !folder.exists();
    if missing {
        fs::create_dir_all(folder)?;
    }
    let systemd = std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
    let given = || std::env::split_paths(&systemd).any(|path| path == folder);
    match identity {
        Some(identity) if missing || given() => {
            chown(folder, Some(identity.uid), Some(identity.gid))
        }
        _ => Ok(()),
    }
}
