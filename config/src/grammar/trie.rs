//! The trie of command paths, and how an abbreviated line finds its way through it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::form::Form;
use crate::suggest::closest;
use crate::value::Token;
use crate::{Problem, Span};

/// A place in the trie: the words that may follow, and the command that may end here.
#[derive(Default)]
pub(super) struct Node {
    pub(super) children: BTreeMap<&'static str, Node>,
    pub(super) form: Option<&'static Form>,
}

/// What a word leads to.
pub(super) enum Step<'a> {
    /// One child: the word itself, or the only one it begins.
    To(&'a Node),
    /// Several words it begins.
    Ambiguous(Vec<&'static str>),
    /// None.
    Nowhere,
}

/// Short forms that VPP users' fingers know, although here they begin no word or several.
const HABITS: [(&str, &str); 2] = [("run", "runtime"), ("exit", "quit")];

static ROOT: LazyLock<Node> = LazyLock::new(|| {
    let mut root = Node::default();
    for form in super::forms() {
        let end =
            form.path.iter().fold(&mut root, |node, word| node.children.entry(word).or_default());
        debug_assert!(end.form.is_none(), "two commands are called {:?}", form.path);
        end.form = Some(form);
    }
    root
});

/// The trie of every command.
pub(super) fn root() -> &'static Node {
    &ROOT
}

impl Node {
    /// Follows one word, whole or abbreviated.
    pub(super) fn step(&self, word: &str) -> Step<'_> {
        if let Some(child) = self.children.get(word) {
            return Step::To(child);
        }
        let habit = HABITS.iter().find(|(short, _)| *short == word);
        if let Some(child) = habit.and_then(|(_, word)| self.children.get(word)) {
            return Step::To(child);
        }
        let mut matches = self.children.iter().filter(|(name, _)| name.starts_with(word));
        match (matches.next(), matches.next()) {
            (None, _) => Step::Nowhere,
            (Some((_, child)), None) => Step::To(child),
            (Some((a, _)), Some((b, _))) => {
                Step::Ambiguous([*a, *b].into_iter().chain(matches.map(|(c, _)| *c)).collect())
            }
        }
    }

    /// Every form at or below this node, in the order of the tables.
    pub(super) fn forms_below(&self) -> Vec<&'static Form> {
        let mut found: Vec<&'static Form> = self.form.into_iter().collect();
        found.extend(self.children.values().flat_map(Node::forms_below));
        found
    }

    fn names(&self) -> String {
        self.children.keys().copied().collect::<Vec<_>>().join(", ")
    }
}

/// Finds the form a line selects, and how many of its words did so.
pub(super) fn resolve(tokens: &[Token<'_>]) -> Result<(&'static Form, usize), Problem> {
    let mut node = root();
    for (used, token) in tokens.iter().enumerate() {
        match node.step(token.text) {
            Step::To(child) => node = child,
            Step::Ambiguous(names) => {
                let reason = format!("`{}` is ambiguous", token.text);
                return Err(Problem::new(token.span, reason)
                    .with_hint(format!("could be {}", names.join(", "))));
            }
            Step::Nowhere => {
                return node.form.map(|form| (form, used)).ok_or_else(|| unknown(node, *token));
            }
        }
    }
    let end = tokens.last().map_or(0, |t| t.span.end);
    node.form.map(|form| (form, tokens.len())).ok_or_else(|| {
        Problem::new(Span::new(end, end), "the command is incomplete")
            .with_hint(format!("next: {}", node.names()))
    })
}

fn unknown(node: &Node, token: Token<'_>) -> Problem {
    let problem = Problem::new(token.span, format!("unknown input `{}`", token.text));
    match closest(token.text, node.children.keys().copied()) {
        Some(word) => problem.with_hint(format!("did you mean `{word}`?")),
        None => problem.with_hint(format!("expected one of {}", node.names())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Show, parse};

    #[test]
    fn habits_of_vpp_users_are_understood() {
        let runtime = Command::Show { show: Show::Runtime { verbose: false }, json: false };
        assert_eq!(parse("sh run").unwrap(), runtime);
        assert_eq!(parse("exit").unwrap(), Command::Quit);
        assert!(parse("show ru").is_err(), "`running-config` and `runtime` begin so");
    }

    #[test]
    fn a_whole_word_beats_a_longer_one_it_begins() {
        let mut node = Node::default();
        for word in ["vip", "vips", "version"] {
            node.children.entry(word).or_default().children.entry(word).or_default();
        }
        let led_to = |word| match node.step(word) {
            Step::To(child) => child.names(),
            Step::Ambiguous(names) => format!("one of {}", names.join(" ")),
            Step::Nowhere => "nowhere".to_owned(),
        };
        assert_eq!(led_to("vip"), "vip");
        assert_eq!(led_to("vips"), "vips");
        assert_eq!(led_to("ve"), "version");
        assert_eq!(led_to("vi"), "one of vip vips");
        assert_eq!(led_to("vipss"), "nowhere");
    }
}
