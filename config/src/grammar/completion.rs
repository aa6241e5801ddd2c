//! What can come next on an unfinished line.

use super::form::{Form, Kind, Opt, Slot, is_on_or_off};
use super::trie::{self, Node, Step};
use super::words::tokens;
use crate::value::Token;

/// One thing that can come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// This word; it begins with what is written already.
    Word(&'static str),
    /// A value; a client may know names to offer.
    Value(Slot),
}

/// What can come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Byte offset at which the unfinished word begins; the end of the line if none has begun.
    pub start: usize,
    /// What can stand there.
    pub candidates: Vec<Candidate>,
}

/// What can come next after `line`, which ends where the cursor is.
pub fn complete(line: &str) -> Completion {
    let mut done = tokens(line);
    let partial = if line.ends_with(char::is_whitespace) { None } else { done.pop() };
    let start = partial.map_or(line.len(), |t| t.span.start);
    let partial = partial.map_or("", |t| t.text);
    let mut candidates = match walk(&done) {
        Some((node, rest)) => next(node, rest),
        None => Vec::new(),
    };
    candidates.retain(|candidate| match candidate {
        Candidate::Word(word) => word.starts_with(partial),
        Candidate::Value(_) => true,
    });
    Completion { start, candidates }
}

/// The node the finished words lead to, and the words that are operands already.
fn walk<'t, 'l>(done: &'t [Token<'l>]) -> Option<(&'static Node, &'t [Token<'l>])> {
    let mut node = trie::root();
    for (used, token) in done.iter().enumerate() {
        match node.step(token.text) {
            Step::To(child) => node = child,
            Step::Ambiguous(_) => return None,
            Step::Nowhere => return node.form.map(|_| (node, &done[used..])),
        }
    }
    Some((node, &[]))
}

fn next(node: &'static Node, operands: &[Token<'_>]) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = match operands {
        [] => node.children.keys().map(|word| Candidate::Word(word)).collect(),
        _ => Vec::new(),
    };
    if let Some(form) = node.form {
        candidates.extend(next_operand(form, operands));
    }
    candidates
}

fn next_operand(form: &Form, operands: &[Token<'_>]) -> Vec<Candidate> {
    let mut leading = form.leading.iter();
    let mut unused: Vec<&Opt> = form.options.iter().collect();
    let mut operands = operands.iter().peekable();
    while let Some(token) = operands.next() {
        match form.options.iter().find(|o| o.is(token.text)) {
            None => {
                leading.next();
            }
            Some(option) => {
                if !matches!(option, Opt::Many(..)) {
                    unused.retain(|o| o.word() != option.word());
                }
                if let Opt::Switch(_) = option {
                    operands.next_if(|token| is_on_or_off(token.text));
                }
                if let Opt::Value(_, slot) | Opt::Many(_, slot) = option
                    && operands.next().is_none()
                {
                    return values(*slot);
                }
            }
        }
    }
    let mut candidates = match (leading.next(), form.rest) {
        (Some(slot), _) => values(*slot),
        (None, Some(slot)) => values(slot),
        (None, None) => Vec::new(),
    };
    candidates.extend(unused.into_iter().map(|o| Candidate::Word(o.word())));
    candidates
}

fn values(slot: Slot) -> Vec<Candidate> {
    match slot.kind {
        Kind::Choice(words) => words.iter().map(|word| Candidate::Word(word)).collect(),
        _ => vec![Candidate::Value(slot)],
    }
}
