//! The UNIX socket itself.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Who may connect: owner and group.
const MODE: u32 = 0o660;

/// A listening socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens on `path`. Missing folders are made, the socket that a killed daemon left is
    /// replaced; one that answers, and a file that is no socket, are left alone.
    ///
    /// # Errors
    ///
    /// Why not, naming the path.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        Self::check(path)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(named)?;
        }
        // Made under another name, so that nobody meets it with other permissions.
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        remove(&new).map_err(named)?;
        let listener = UnixListener::bind(&new).map_err(named)?;
        let moved = fs::set_permissions(&new, fs::Permissions::from_mode(MODE))
            .and_then(|()| fs::rename(&new, path));
        if let Err(error) = moved {
            // The first error is the one to report.
            let _ = remove(&new);
            return Err(named(error));
        }
        Ok(Self { listener, path: path.to_owned() })
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
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

fn remove(path: &Path) -> io::Result<()> {
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
