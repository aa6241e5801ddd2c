//! One TOML table, read key by key. Every mistake is noted and reading goes on, so that one run
//! reports them all.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use crate::suggest::closest;
use crate::value::{self, Parsed, Token};
use crate::{Problem, Span, Spanned};

/// Where mistakes are noted.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Notes one.
    pub(super) fn note(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// Notes the error of a result and gives its value.
    pub(super) fn keep<T>(&self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.note(problem)).ok()
    }

    /// All of them, in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|p| p.span.start);
        problems
    }
}

/// A value with its place.
pub(super) type Value<'a> = &'a toml::Spanned<DeValue<'a>>;

/// One table.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    /// Its header for people: `[[interface]]`.
    what: &'static str,
    /// Its header, or the whole of an inline table.
    pub(super) span: Span,
    entries: &'a DeTable<'a>,
    problems: &'a Problems,
}

impl<'a> Table<'a> {
    /// Wraps a table and notes every key that is not `known`.
    pub(super) fn new(
        what: &'static str,
        span: Span,
        entries: &'a DeTable<'a>,
        known: &[&str],
        problems: &'a Problems,
    ) -> Table<'a> {
        for (key, _) in entries.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let place = if what.is_empty() { String::new() } else { format!(" in {what}") };
            problems.note(
                Problem::new(key.span().into(), format!("unknown key `{name}`{place}")).with_hint(
                    match closest(name, known.iter().copied()) {
                        Some(key) => format!("did you mean `{key}`?"),
                        None => format!("the keys here are {}", known.join(", ")),
                    },
                ),
            );
        }
        Table { what, span, entries, problems }
    }

    /// Wraps a value that must be a table.
    pub(super) fn of_value(
        what: &'static str,
        value: Value<'a>,
        known: &[&str],
        problems: &'a Problems,
    ) -> Option<Table<'a>> {
        match value.get_ref() {
            DeValue::Table(entries) => {
                Some(Table::new(what, value.span().into(), entries, known, problems))
            }
            other => {
                let reason = format!("{what} must be a table, not {}", article(other));
                problems.note(Problem::new(value.span().into(), reason));
                None
            }
        }
    }

    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<Value<'a>> {
        self.entries.iter().find(|(k, _)| k.get_ref() == key).map(|(_, value)| value)
    }

    /// The place of a key that is there.
    pub(super) fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(k, _)| k.get_ref() == key).map(|(k, _)| k.span().into())
    }

    /// Notes a mistake.
    pub(super) fn note(&self, problem: Problem) {
        self.problems.note(problem);
    }

    fn wrong_type(&self, key: &str, value: Value<'_>, expected: &str) {
        let reason = format!("`{key}` must be {expected}, not {}", article(value.get_ref()));
        self.note(Problem::new(value.span().into(), reason));
    }

    /// A string.
    pub(super) fn string(&self, key: &str) -> Option<Token<'a>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Token { text, span: value.span().into() }),
            _ => {
                self.wrong_type(key, value, "a string");
                None
            }
        }
    }

    /// A string that `parse` understands.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl FnOnce(Token<'a>) -> Parsed<T>,
    ) -> Option<Spanned<T>> {
        self.problems.keep(parse(self.string(key)?))
    }

    /// The same for a key that must be there.
    pub(super) fn required<T>(
        &self,
        key: &str,
        parse: impl FnOnce(Token<'a>) -> Parsed<T>,
    ) -> Option<Spanned<T>> {
        if self.value(key).is_none() {
            self.missing(key);
        }
        self.parsed(key, parse)
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str) {
        self.note(Problem::new(self.span, format!("{} lacks `{key}`", self.what)));
    }

    /// An integer of a range.
    pub(super) fn integer<T>(&self, key: &str, range: &RangeInclusive<T>) -> Option<Spanned<T>>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let value = self.value(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(key, value, "an integer");
            return None;
        };
        // More digits than an i128 holds are out of every range.
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX);
        let span = value.span().into();
        self.problems.keep(value::in_range(number, span, integer.as_str(), key, range))
    }

    /// A string or an integer that `parse` understands, such as a port or a range of them.
    pub(super) fn worded<T>(
        &self,
        key: &str,
        parse: impl FnOnce(Token<'_>) -> Parsed<T>,
    ) -> Option<Spanned<T>> {
        let value = self.value(key)?;
        let span = value.span().into();
        let parsed = match value.get_ref() {
            DeValue::String(text) => parse(Token { text, span }),
            DeValue::Integer(integer) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix());
                let text = number.map_or_else(|_| integer.as_str().to_owned(), |n| n.to_string());
                parse(Token { text: &text, span })
            }
            _ => {
                self.wrong_type(key, value, "an integer or a string");
                return None;
            }
        };
        self.problems.keep(parsed)
    }

    /// Is the key there, although it could not be read as `read`?
    pub(super) fn failed<T>(&self, key: &str, read: &Option<T>) -> bool {
        read.is_none() && self.value(key).is_some()
    }

    /// A boolean; `false` when it is not there.
    pub(super) fn flag(&self, key: &str) -> Option<Spanned<bool>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(Spanned::new(*flag, value.span().into())),
            _ => {
                self.wrong_type(key, value, "true or false");
                None
            }
        }
    }

    /// The elements of an array; none when it is not there.
    pub(super) fn array(&self, key: &str, example: &str) -> Vec<Value<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => {
                self.wrong_type(key, value, &format!("an array, such as {example}"));
                Vec::new()
            }
        }
    }

    /// The strings of an array, each understood by `parse`.
    pub(super) fn strings<T>(
        &self,
        key: &str,
        example: &str,
        mut parse: impl FnMut(Token<'a>) -> Parsed<T>,
    ) -> Vec<Spanned<T>> {
        let mut parsed = Vec::new();
        for value in self.array(key, example) {
            match value.get_ref() {
                DeValue::String(text) => {
                    let token = Token { text, span: value.span().into() };
                    parsed.extend(self.problems.keep(parse(token)));
                }
                _ => self.wrong_type(key, value, "an array of strings"),
            }
        }
        parsed
    }

    /// The table of a key: `[key]`.
    pub(super) fn table(&self, key: &str, what: &'static str, known: &[&str]) -> Option<Table<'a>> {
        Table::of_value(what, self.value(key)?, known, self.problems)
    }

    /// The tables of a key: `[[key]]`.
    pub(super) fn tables(&self, key: &str, what: &'static str, known: &[&str]) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        match value.get_ref() {
            DeValue::Array(array) => array
                .iter()
                .filter_map(|value| Table::of_value(what, value, known, self.problems))
                .collect(),
            DeValue::Table(_) => {
                let reason = format!("`{key}` is a list: its header needs two pairs of brackets");
                self.note(
                    Problem::new(value.span().into(), reason).with_hint(format!("write {what}")),
                );
                Vec::new()
            }
            _ => {
                self.wrong_type(key, value, &format!("written as {what}"));
                Vec::new()
            }
        }
    }
}

/// `a string`, `an integer`, …
pub(super) fn article(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}
