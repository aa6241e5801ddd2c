//! The grammar of the CLI: which words make which [`Command`].
//!
//! As in VPP, a command is a path of words, each of which may be cut to any prefix that no other
//! word in its place has (a whole word beats a longer one it begins), followed by values and
//! keywords. Keywords are written out and may come in any order. Help and completion read the same
//! tables as the parser.

mod change_commands;
mod completion;
mod debug_commands;
mod form;
mod help;
mod host_commands;
mod lb_commands;
mod link_commands;
mod show_commands;
mod trie;
mod vip_commands;
mod words;

pub use completion::{Candidate, Completion, complete};
pub use form::{Kind, Slot};
pub use help::help;

use form::{Form, Opt};
use words::{Words, tokens};

use crate::{Command, CommandError, Problem, Span};

/// Every command, in the order help lists them.
fn forms() -> impl Iterator<Item = &'static Form> {
    let lb = lb_commands::FORMS.iter().chain(vip_commands::FORMS);
    let host = link_commands::FORMS.iter().chain(host_commands::FORMS);
    lb.chain(show_commands::FORMS)
        .chain(host)
        .chain(change_commands::FORMS)
        .chain(debug_commands::FORMS)
}

/// Parses one CLI line. A blank line or a comment is [`Command::Blank`].
///
/// # Errors
///
/// The first word that is wrong, why, and what would be right.
pub fn parse_line(line: &str) -> Result<Command, CommandError> {
    parse(line).map_err(|problem| problem.in_line(line))
}

/// The same, as a [`Problem`] whose span is into `line`.
///
/// # Errors
///
/// As [`parse_line`].
pub fn parse(line: &str) -> Result<Command, Problem> {
    let mut tokens = tokens(line);
    let Some(last) = tokens.last_mut() else {
        return Ok(Command::Blank);
    };
    let end = Span::new(last.span.end, last.span.end);
    if let Some(before) = last.text.strip_suffix('?') {
        last.text = before;
        let words = tokens.iter().map(|t| t.text.to_owned());
        return Ok(Command::Help { topic: words.filter(|w| !w.is_empty()).collect() });
    }
    let (form, used) = trie::resolve(&tokens)?;
    (form.build)(&Words::sort(form, &tokens[used..], end)?)
}

/// The keywords of a line that was rendered from a command, each with its value if it takes one.
pub(crate) fn options(line: &str) -> Vec<(&'static str, Option<String>)> {
    let tokens = tokens(line);
    let Ok((form, used)) = trie::resolve(&tokens) else { return Vec::new() };
    match Words::sort(form, &tokens[used..], Span::default()) {
        Ok(words) => words.options().map(|(word, value)| (word, value.map(Into::into))).collect(),
        Err(_) => Vec::new(),
    }
}

/// What this word would be taken for where an interface's name can stand.
pub(crate) fn keyword(word: &str) -> Option<&'static str> {
    let names_interface = |form: &&Form| {
        let slots = form.leading.iter().chain(&form.rest);
        slots.chain(form.options.iter().filter_map(Opt::slot)).any(|s| s.kind == Kind::Interface)
    };
    let mut options = forms().filter(names_interface).flat_map(|form| form.options);
    // `show interface a…` is `show interface address`.
    let address = || Some("address").filter(|address| address.starts_with(word));
    options.find(|option| option.is(word)).map(Opt::word).or_else(address)
}
