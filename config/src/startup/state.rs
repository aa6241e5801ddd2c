//! Reads `[state]`: where flows are kept for the next daemon.

use std::path::PathBuf;

use super::table::Table;
use crate::value::{self, Parsed, Token};
use crate::{Problem, Spanned};

/// The `[state]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// A directory on tmpfs or hugetlbfs.
    pub dir: Spanned<PathBuf>,
}

/// Reads `[state]`.
pub(super) fn state(root: &Table<'_>) -> Option<State> {
    let table = root.table("state", "[state]", &["dir"])?;
    Some(State { dir: table.required("dir", directory)? })
}

/// A directory of the daemon's own.
fn directory(token: Token<'_>) -> Parsed<PathBuf> {
    let path = value::file(token, "state directory")?;
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(path);
    }
    Err(Problem::new(token.span, format!("`{}` cannot be the state directory", token.text))
        .with_hint("the path of a directory from the root on, such as \"/run/sluice/state\""))
}
