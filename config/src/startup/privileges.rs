//! Reads `[privileges]`, what the daemon may do once it runs.

use toml::de::DeValue;

use super::table::{Table, article};
use crate::suggest::closest;
use crate::value::{Parsed, Token};
use crate::{Capability, Problem, Spanned};

/// What becomes of a system call that the daemon has no use for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// It fails with EPERM.
    #[default]
    On,
    /// It is done, and the kernel logs it.
    Log,
    /// There is no filter.
    Off,
}

/// The `[privileges]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// The user to become, by name or number.
    pub user: Option<Spanned<String>>,
    /// The group to become; that of the user unless given.
    pub group: Option<Spanned<String>>,
    /// The filter of system calls.
    pub seccomp: Seccomp,
    /// Capabilities to keep beside those that the ports need.
    pub keep: Vec<Spanned<Capability>>,
}

/// Reads `[privileges]`.
pub(super) fn privileges(root: &Table<'_>) -> Privileges {
    let keys = ["user", "group", "seccomp", "keep"];
    let Some(table) = root.table("privileges", "[privileges]", &keys) else {
        return Privileges::default();
    };
    Privileges {
        user: table.parsed("user", |token| account(token, "user")),
        group: table.parsed("group", |token| account(token, "group")),
        seccomp: seccomp(&table),
        keep: table.strings("keep", "[\"net_admin\"]", capability),
    }
}

/// The name or number of a user or group, as passwd(5) and group(5) can have it.
pub(super) fn account(token: Token<'_>, noun: &str) -> Parsed<String> {
    let text = token.text;
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/');
    if !text.is_empty() && text.len() <= 255 && !text.contains(strange) && !text.starts_with('-') {
        return Ok(Spanned::new(text.to_owned(), token.span));
    }
    Err(Problem::new(token.span, format!("`{text}` cannot be the name of a {noun}")).with_hint(
        format!("the name of a {noun} of this machine, such as \"sluice\", or its number"),
    ))
}

fn seccomp(table: &Table<'_>) -> Seccomp {
    let Some(value) = table.value("seccomp") else { return Seccomp::default() };
    match value.get_ref() {
        DeValue::Boolean(true) => return Seccomp::On,
        DeValue::Boolean(false) => return Seccomp::Off,
        DeValue::String(text) if text == "log" => return Seccomp::Log,
        other => table.note(
            Problem::new(
                value.span().into(),
                format!("`seccomp` must be true, false or \"log\", not {}", article(other)),
            )
            .with_hint("true refuses system calls that are not needed, \"log\" only logs them"),
        ),
    }
    Seccomp::default()
}

fn capability(token: Token<'_>) -> Parsed<Capability> {
    if let Some(capability) = Capability::from_name(token.text) {
        return Ok(Spanned::new(capability, token.span));
    }
    let reason = format!("there is no capability `{}`", token.text);
    Err(Problem::new(token.span, reason).with_hint(
        match closest(token.text, Capability::names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "one of capabilities(7), such as \"net_admin\"".to_owned(),
        },
    ))
}
