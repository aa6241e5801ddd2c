//! The words after a command's path, sorted into the places its form has.

use std::iter::Peekable;

use super::form::{Form, Opt, is_on_or_off};
use crate::suggest::closest;
use crate::value::{Parsed, Token};
use crate::{Problem, Span};

/// Splits a line at white space; a word that begins with `#` ends it.
pub(crate) fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = None;
    for (at, c) in line.char_indices().chain([(line.len(), ' ')]) {
        match (start, c.is_whitespace()) {
            (None, false) if c == '#' => break,
            (None, false) => start = Some(at),
            (Some(from), true) => {
                tokens.push(Token { text: &line[from..at], span: Span::new(from, at) });
                start = None;
            }
            _ => {}
        }
    }
    tokens
}

/// A keyword that was given.
#[derive(Clone, Copy)]
struct Given<'a> {
    option: &'static str,
    keyword: Token<'a>,
    value: Option<Token<'a>>,
}

/// The words of one line.
pub(crate) struct Words<'a> {
    form: &'static Form,
    leading: Vec<Token<'a>>,
    given: Vec<Given<'a>>,
    rest: Vec<Token<'a>>,
    end: Span,
}

impl<'a> Words<'a> {
    /// Sorts `tokens` into the places of `form`. `end` is where a missing word would stand.
    pub(crate) fn sort(
        form: &'static Form,
        tokens: &[Token<'a>],
        end: Span,
    ) -> Result<Words<'a>, Problem> {
        let mut words =
            Words { form, leading: Vec::new(), given: Vec::new(), rest: Vec::new(), end };
        let mut tokens = tokens.iter().copied().peekable();
        while let Some(token) = tokens.next() {
            if let Some(option) = form.options.iter().find(|o| o.is(token.text)) {
                words.push_option(option, token, &mut tokens)?;
            } else if words.leading.len() < form.leading.len() {
                words.leading.push(token);
            } else if form.rest.is_some() {
                words.rest.push(token);
            } else {
                return Err(words.unknown(token));
            }
        }
        if let Some(slot) = form.leading[..form.required].get(words.leading.len()) {
            return Err(words.missing(slot.label));
        }
        Ok(words)
    }

    fn push_option(
        &mut self,
        option: &Opt,
        keyword: Token<'a>,
        tokens: &mut Peekable<impl Iterator<Item = Token<'a>>>,
    ) -> Result<(), Problem> {
        let word = option.word();
        let repeats = matches!(option, Opt::Many(..));
        if !repeats && self.given.iter().any(|g| g.option == word) {
            return Err(Problem::new(keyword.span, format!("`{word}` is given twice")));
        }
        let value = match option {
            Opt::Flag(_) => None,
            Opt::Switch(_) => tokens.next_if(|token| is_on_or_off(token.text)),
            Opt::Value(_, slot) | Opt::Many(_, slot) => Some(tokens.next().ok_or_else(|| {
                Problem::new(keyword.span, format!("`{word}` needs a value"))
                    .with_hint(format!("write `{word} {}`", slot.label))
            })?),
        };
        self.given.push(Given { option: word, keyword, value });
        Ok(())
    }

    /// A word that has no place here.
    fn unknown(&self, token: Token<'_>) -> Problem {
        self.unknown_as(token, format!("unknown input `{}`", token.text))
    }

    /// The same with another reason.
    pub(crate) fn unknown_as(&self, token: Token<'_>, reason: String) -> Problem {
        let known = self.form.options.iter().map(Opt::word);
        Problem::new(token.span, reason).with_hint(match closest(token.text, known) {
            Some(word) => format!("did you mean `{word}`?"),
            None => self.usage(),
        })
    }

    /// A word that should be there and is not.
    pub(crate) fn missing(&self, what: &str) -> Problem {
        Problem::new(self.end, format!("{what} is missing")).with_hint(self.usage())
    }

    /// `usage: …`
    pub(crate) fn usage(&self) -> String {
        format!("usage: {}", self.form.synopsis())
    }

    /// Where a missing word would stand.
    pub(crate) fn end(&self) -> Span {
        self.end
    }

    /// The value in the fixed place `index`.
    pub(crate) fn leading(&self, index: usize) -> Option<Token<'a>> {
        self.leading.get(index).copied()
    }

    /// The value in a fixed place that the form requires.
    pub(crate) fn required(&self, index: usize) -> Result<Token<'a>, Problem> {
        self.leading(index).ok_or_else(|| self.missing(self.form.leading[index].label))
    }

    /// Every word without a place of its own.
    pub(crate) fn rest(&self) -> &[Token<'a>] {
        &self.rest
    }

    /// Where the flag stands, if it was given.
    pub(crate) fn flag(&self, word: &str) -> Option<Span> {
        self.given.iter().find(|g| g.option == word).map(|g| g.keyword.span)
    }

    /// What a switch was set to, if it was given.
    pub(crate) fn switch(&self, word: &str) -> Option<crate::Spanned<bool>> {
        let given = self.given.iter().find(|g| g.option == word)?;
        let on = given.value.is_none_or(|value| value.text == "on");
        Some(crate::Spanned::new(on, given.keyword.span))
    }

    /// Every keyword that was given, with its value.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&'static str, Option<&'a str>)> {
        self.given.iter().map(|given| (given.option, given.value.map(|token| token.text)))
    }

    /// The values of a keyword, in order.
    pub(crate) fn values(&self, word: &str) -> impl Iterator<Item = Token<'a>> {
        self.given.iter().filter(move |g| g.option == word).filter_map(|g| g.value)
    }

    /// The value of a keyword, parsed.
    pub(crate) fn value<T>(
        &self,
        word: &str,
        parse: impl FnOnce(Token<'a>) -> Parsed<T>,
    ) -> Result<Option<crate::Spanned<T>>, Problem> {
        self.values(word).next().map(parse).transpose()
    }

    /// Was anything given at all?
    pub(crate) fn is_empty(&self) -> bool {
        self.leading.is_empty() && self.given.is_empty() && self.rest.is_empty()
    }
}
