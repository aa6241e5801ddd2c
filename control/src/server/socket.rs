//! The listeners, open.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::access::Access;
use super::entrance::Entrance;

/// The UNIX socket, whose file goes with it, and the TCP listener, if there is one.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    tcp: Option<TcpListener>,
    access: Rc<Access>,
}

/// A client that has connected.
pub(super) enum Incoming {
    Unix(UnixStream),
    Tcp(TcpStream, SocketAddr),
}

impl Socket {
    pub(super) fn new(
        listener: UnixListener,
        path: PathBuf,
        tcp: Option<TcpListener>,
        access: Access,
    ) -> Self {
        Self { listener, path, tcp, access: Rc::new(access) }
    }

    /// Listens on `path` for whoever may open a file of mode 0660.
    ///
    /// # Errors
    ///
    /// Why not, naming the path.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Entrance::at(path, Access::default(), None)?.open()
    }

    /// Says whether `path` can be listened on, and changes nothing.
    ///
    /// # Errors
    ///
    /// Another daemon listens there, or something that is no socket is there.
    pub fn check(path: &Path) -> io::Result<()> {
        let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
        let refuse = |reason: &str| {
            Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{}: {reason}", path.display())))
        };
        if !meta.file_type().is_socket() {
            return refuse("there is a file that is not a socket; remove it or listen elsewhere");
        }
        if BlockingStream::connect(path).is_ok() {
            return refuse("another daemon listens there; stop it or set [unix] cli-listen");
        }
        Ok(())
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Incoming> {
        let tcp = async {
            match &self.tcp {
                Some(tcp) => tcp.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            unix = self.listener.accept() => unix.map(|(stream, _)| Incoming::Unix(stream)),
            tcp = tcp => tcp.map(|(stream, address)| Incoming::Tcp(stream, address)),
        }
    }

    /// Who may do what.
    pub(super) fn access(&self) -> &Rc<Access> {
        &self.access
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}
