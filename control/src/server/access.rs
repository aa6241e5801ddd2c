//! Who may do what over the API.

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;

use config::{Problem, Startup};
use dataplane::peer::groups_of_peer;
use tokio::net::UnixStream;

use super::token::Token;
use crate::accounts::Accounts;
use crate::privileges;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nothing.
    None,
    /// Look.
    Read,
    /// Look and change.
    Write,
}

/// The rules, from `[api]`.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whose daemon it is, besides root.
    own_uid: u32,
    read_only: Option<u32>,
    read_write: Option<u32>,
    read_token: Option<Token>,
    write_token: Option<Token>,
}

impl Access {
    /// Reads the groups' numbers and the tokens. `own_uid` is whose the daemon will be.
    ///
    /// # Errors
    ///
    /// A group that this machine does not have, a token that cannot be used.
    pub fn new(startup: &Startup, accounts: &Accounts, own_uid: u32) -> Result<Self, Problem> {
        let api = &startup.api;
        let group = |name: &Option<config::Spanned<String>>| {
            let Some(name) = name else { return Ok(None) };
            accounts.group(name).map(Some).ok_or_else(|| {
                Problem::new(name.span, format!("there is no group {name}"))
                    .with_hint(format!("make it: groupadd --system {name}"))
            })
        };
        let token = |file: &Option<config::Spanned<std::path::PathBuf>>| {
            let Some(file) = file else { return Ok(None) };
            Token::read(file, own_uid).map(Some).map_err(|reason| {
                Problem::new(file.span, format!("{}: {reason}", file.display()))
                    .with_hint("openssl rand -hex 32 > FILE; chmod 600 FILE")
            })
        };
        let access = Self {
            own_uid,
            read_only: group(&api.read_only_group)?,
            read_write: group(&api.read_write_group)?,
            read_token: token(&api.read_only_token_file)?,
            write_token: token(&api.token_file)?,
        };
        match (&api.read_only_token_file, access.read_token == access.write_token) {
            (Some(file), true) => {
                let reason = "the token that may only read is the one that may change";
                Err(Problem::new(file.span, reason).with_hint("make another"))
            }
            _ => Ok(access),
        }
    }

    /// Says what is wrong with the groups and tokens of a file that is right otherwise. Only before a
    /// start: whoever the daemon becomes then need not be able to read the tokens.
    ///
    /// # Errors
    ///
    /// A report.
    pub fn check(file: &Path, startup: &Startup) -> Result<(), String> {
        let accounts = Accounts::here();
        let checked = privileges::identity(startup, &accounts).and_then(|identity| {
            let uid = identity.map_or_else(privileges::own_uid, |identity| identity.uid);
            Self::new(startup, &accounts, uid)
        });
        checked.map(drop).map_err(|problem| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            config::report(&file.display().to_string(), &text, &[problem])
        })
    }

    /// Mode and, if another than the daemon's own, group of the socket's file. Two groups cannot be
    /// said by a mode: everyone may connect then, and the kernel's word on who it is decides.
    pub(super) fn file_mode(&self) -> (u32, Option<u32>) {
        match (self.read_only, self.read_write) {
            (Some(read), Some(write)) if read != write => (0o666, None),
            (read, write) => (0o660, write.or(read)),
        }
    }

    /// Who has connected over the UNIX socket, and what it may do.
    pub(super) fn of_peer(&self, stream: &UnixStream) -> io::Result<Caller> {
        let peer = stream.peer_cred()?;
        let mut groups = groups_of_peer(stream.as_fd())?;
        groups.push(peer.gid());
        Ok(Caller {
            right: self.right_of(peer.uid(), &groups),
            peer: Peer::Process { pid: peer.pid(), uid: peer.uid() },
            name: OnceCell::new(),
        })
    }

    fn right_of(&self, uid: u32, groups: &[u32]) -> Right {
        let member = |group: Option<u32>| group.is_some_and(|group| groups.contains(&group));
        match (self.read_only, self.read_write) {
            _ if uid == 0 || uid == self.own_uid => Right::Write,
            // The file's mode has decided.
            (None, None) => Right::Write,
            (_, write) if member(write) => Right::Write,
            (read, _) if member(read) => Right::Read,
            _ => Right::None,
        }
    }

    /// What a TCP client may do that shows this `Authorization` header.
    pub(super) fn of_header(&self, header: Option<&[u8]>) -> Right {
        let shown = header.and_then(|header| {
            let (scheme, token) = header.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
        });
        let Some(shown) = shown else { return Right::None };
        let is = |token: &Option<Token>| token.as_ref().is_some_and(|token| token.is(shown));
        // Both are looked at, whichever it is.
        match (is(&self.write_token), is(&self.read_token)) {
            (true, _) => Right::Write,
            (_, true) => Right::Read,
            _ => Right::None,
        }
    }

    /// Who may change things, for messages.
    pub(super) fn who_may_change(&self, accounts: &Accounts) -> String {
        match self.read_write {
            Some(group) => {
                format!("root and members of the group {} may", accounts.group_name(group))
            }
            None => "root may".to_owned(),
        }
    }
}

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) right: Right,
    peer: Peer,
    /// Of the user; looked up once it is needed.
    name: OnceCell<String>,
}

#[derive(Clone, Copy, Debug)]
enum Peer {
    Process { pid: Option<i32>, uid: u32 },
    Tcp(SocketAddr),
}

impl Caller {
    /// One of the TCP listener; its right is found with each request.
    pub(super) fn tcp(address: SocketAddr) -> Self {
        Self { right: Right::None, peer: Peer::Tcp(address), name: OnceCell::new() }
    }

    /// Must it show a token?
    pub(super) fn needs_token(&self) -> bool {
        matches!(self.peer, Peer::Tcp(_))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Peer::Process { pid, uid } => {
                let name = self.name.get_or_init(|| {
                    let user = Accounts::here().user(&uid.to_string());
                    user.map_or_else(|| "no name".to_owned(), |user| user.name)
                });
                match pid {
                    Some(pid) => write!(f, "pid {pid} uid {uid} ({name})"),
                    None => write!(f, "uid {uid} ({name})"),
                }
            }
            Peer::Tcp(address) => write!(f, "tcp {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(read_only: Option<u32>, read_write: Option<u32>) -> Access {
        Access { own_uid: 998, read_only, read_write, ..Access::default() }
    }

    #[test]
    fn groups_decide_and_root_and_the_daemon_may_always() {
        let both = access(Some(50), Some(60));
        for (uid, groups, right) in [
            (0, &[][..], Right::Write),
            (998, &[], Right::Write),
            (1, &[50], Right::Read),
            (1, &[60], Right::Write),
            (1, &[50, 60], Right::Write),
            (1, &[0, 7], Right::None),
        ] {
            assert_eq!(both.right_of(uid, groups), right, "{uid} {groups:?}");
        }
        assert_eq!(access(None, None).right_of(1, &[7]), Right::Write, "by the file's mode");
        assert_eq!(access(None, Some(60)).right_of(1, &[50]), Right::None);
        assert_eq!(access(Some(50), None).right_of(1, &[50]), Right::Read);
    }

    #[test]
    fn the_file_is_open_to_all_only_when_two_groups_must_be_told_apart() {
        assert_eq!(access(None, None).file_mode(), (0o660, None));
        assert_eq!(access(None, Some(60)).file_mode(), (0o660, Some(60)));
        assert_eq!(access(Some(50), None).file_mode(), (0o660, Some(50)));
        assert_eq!(access(Some(50), Some(60)).file_mode(), (0o666, None));
        assert_eq!(access(Some(60), Some(60)).file_mode(), (0o660, Some(60)));
    }

    #[test]
    fn a_header_is_a_bearer_token_or_nothing() {
        let token = |text: &str| Token::new(text.as_bytes()).ok();
        let (write, read) = ("w".repeat(32), "r".repeat(40));
        let access =
            Access { write_token: token(&write), read_token: token(&read), ..Access::default() };
        let right = |header: &str| access.of_header(Some(header.as_bytes()));
        assert_eq!(right(&format!("Bearer {write}")), Right::Write);
        assert_eq!(right(&format!("bearer  {read} ")), Right::Read);
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            &write,
            &format!("Basic {write}"),
            &format!("Bearer {write}x"),
        ] {
            assert_eq!(right(wrong), Right::None, "{wrong}");
        }
        assert_eq!(access.of_header(None), Right::None);
        assert_eq!(Access::default().of_header(Some(b"Bearer ")), Right::None);
    }
}
