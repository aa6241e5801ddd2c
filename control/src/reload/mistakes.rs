//! [`Mistakes`]: what is wrong with configuration files.

use config::Problem;
use serde::Serialize;

/// Everything that is wrong with the files of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Part>);

/// What is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    /// Its text, if it could be read.
    text: Option<String>,
    problems: Vec<Problem>,
}

/// One mistake, with its place for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// Line of the file, from 1; absent when it could not be read.
    pub line: Option<usize>,
    /// Where the word starts, in characters from 1.
    pub column: Option<usize>,
    /// The word that is wrong.
    pub token: String,
    /// Why.
    pub reason: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl Mistakes {
    /// Those of one file.
    pub fn of(name: &str, text: &str, problems: Vec<Problem>) -> Self {
        let (name, text) = (name.to_owned(), Some(text.to_owned()));
        Self(vec![Part { name, text, problems }])
    }

    /// A file that cannot be read.
    pub fn unreadable(name: &str, reason: &str) -> Self {
        let problems = vec![Problem::new(config::Span::default(), reason)];
        Self(vec![Part { name: name.to_owned(), text: None, problems }])
    }

    /// More of the same.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|part| part.problems.is_empty())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.problems.len()).sum()
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        match self.len() {
            1 => "the configuration has a mistake".to_owned(),
            mistakes => format!("the configuration has {mistakes} mistakes"),
        }
    }

    /// As `sluiced --check` prints them.
    pub fn report(&self) -> String {
        let parts = self.0.iter().map(|part| match &part.text {
            Some(text) => config::report(&part.name, text, &part.problems),
            None => {
                let reasons = part.problems.iter().map(|problem| &problem.reason);
                reasons.map(|reason| format!("{}: {reason}\n", part.name)).collect()
            }
        });
        parts.filter(|report| !report.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// For programs.
    pub fn list(&self) -> Vec<Mistake> {
        let of_part = |part: &Part| {
            let mistakes = part.problems.iter().map(|problem| {
                let place = part.text.as_ref().map(|text| place(text, problem.span.start));
                Mistake {
                    file: part.name.clone(),
                    line: place.map(|(line, _)| line),
                    column: place.map(|(_, column)| column),
                    token: problem.span.text(part.text.as_deref().unwrap_or("")).to_owned(),
                    reason: problem.reason.clone(),
                    hint: problem.hint.clone(),
                }
            });
            mistakes.collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_part).collect()
    }
}

/// Line and column of a byte of a text, both from 1; the column counts characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use config::Span;

    use super::*;

    #[test]
    fn every_mistake_has_its_place() {
        let text = "a = 1\né = \"b\"\n";
        let at = text.find("\"b\"").unwrap();
        let problem = Problem::new(Span::new(at, at + 3), "no b").with_hint("a");
        let mut all = Mistakes::of("x.toml", text, vec![problem]);
        all.extend(Mistakes::unreadable("y.cli", "it is not there"));
        assert_eq!((all.len(), all.is_empty()), (2, false));
        let list = all.list();
        assert_eq!((list[0].line, list[0].column, &*list[0].token), (Some(2), Some(5), "\"b\""));
        assert_eq!((list[1].line, &*list[1].reason), (None, "it is not there"));
        let report = all.report();
        assert!(report.contains("x.toml:2:5") && report.ends_with("\ny.cli: it is not there\n"));
        assert!(Mistakes::default().is_empty() && Mistakes::default().report().is_empty());
    }
}
