//! Reads `[api]`, who may use the daemon and how.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::privileges::account;
use super::table::Table;
use crate::value::{self, Parsed, Token};
use crate::{Problem, Spanned};

/// The `[api]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// Members of this group may read over the socket.
    pub read_only_group: Option<Spanned<String>>,
    /// Members of this group may read and change.
    pub read_write_group: Option<Spanned<String>>,
    /// Where to listen for TCP, if at all.
    pub tcp_listen: Option<Spanned<SocketAddr>>,
    /// The file of the token that lets a TCP client read and change.
    pub token_file: Option<Spanned<PathBuf>>,
    /// The file of the token that lets a TCP client read.
    pub read_only_token_file: Option<Spanned<PathBuf>>,
}

/// Reads `[api]`.
pub(super) fn api(root: &Table<'_>) -> Api {
    let keys =
        ["read-only-group", "read-write-group", "tcp-listen", "token-file", "read-only-token-file"];
    let Some(table) = root.table("api", "[api]", &keys) else { return Api::default() };
    let api = Api {
        read_only_group: table.parsed("read-only-group", |token| account(token, "group")),
        read_write_group: table.parsed("read-write-group", |token| account(token, "group")),
        tcp_listen: table.parsed("tcp-listen", listen),
        token_file: table.parsed("token-file", |token| value::file(token, "token file")),
        read_only_token_file: table
            .parsed("read-only-token-file", |token| value::file(token, "token file")),
    };
    match &api.tcp_listen {
        Some(listen) if table.value("token-file").is_none() => table.note(
            Problem::new(listen.span, "listening for TCP takes a token")
                .with_hint("add `token-file = \"/etc/sluice/token\"`, with a token of 32 characters or more in it"),
        ),
        None if table.value("tcp-listen").is_none() => {
            for key in ["token-file", "read-only-token-file"] {
                if let Some(span) = table.key_span(key) {
                    table.note(
                        Problem::new(span, format!("`{key}` is of no use without `tcp-listen`"))
                            .with_hint("over the UNIX socket, groups say who may do what"),
                    );
                }
            }
        }
        _ => {}
    }
    api
}

/// `address:port`.
fn listen(token: Token<'_>) -> Parsed<SocketAddr> {
    match token.text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Spanned::new(address, token.span)),
        _ => Err(Problem::new(token.span, format!("`{}` is not an address and port", token.text))
            .with_hint("such as \"127.0.0.1:8080\" or \"[::1]:8080\"")),
    }
}
