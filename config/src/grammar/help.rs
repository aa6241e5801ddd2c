//! What `?` and `help` print.

use std::fmt::Write;

use super::form::Form;
use super::trie::{self, Step};

/// The commands that begin with the words of `topic`, each of which may be abbreviated; all of
/// them for no words. One line each, in VPP's columns; empty if there are none.
pub fn help<S: AsRef<str>>(topic: &[S]) -> String {
    let found = forms(topic);
    let mut text = String::new();
    for form in &found {
        let _ = writeln!(text, "  {:<40} {}", form.path.join(" "), form.synopsis());
        if found.len() == 1 {
            let _ = writeln!(text, "  {:<40} {}", "", form.summary);
        }
    }
    text
}

fn forms<S: AsRef<str>>(topic: &[S]) -> Vec<&'static Form> {
    let mut node = trie::root();
    for word in topic.iter().map(AsRef::as_ref) {
        match node.step(word) {
            Step::To(child) => node = child,
            Step::Ambiguous(names) => {
                return names.iter().flat_map(|name| node.children[name].forms_below()).collect();
            }
            // The words of a command are done with and its operands have begun.
            Step::Nowhere => return node.form.into_iter().collect(),
        }
    }
    node.forms_below()
}
