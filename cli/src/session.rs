//! The interactive session: history, completion, and help on `?`.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::grammar::{Candidate, Kind, complete, help};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Context, Editor, Event, EventContext,
    EventHandler, KeyEvent, RepeatCount,
};
use rustyline::{Helper, Highlighter, Hinter, Validator};

use crate::client::Client;
use crate::names;
use crate::script::{Outcome, ScriptError, run_line};

const PROMPT: &str = "sluice# ";

/// Why a session ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("terminal: {0}")]
    Terminal(#[from] ReadlineError),
    #[error(transparent)]
    Script(ScriptError),
}

/// Runs a session until `quit` or the end of input. Says whether its last command succeeded.
pub(crate) fn run(client: &Rc<Client>) -> Result<bool, SessionError> {
    // Ctrl-C ends the command, not the session.
    client.end_on_interrupt();
    // As in VPP: what the candidates share is completed, a second Tab lists them.
    let settings = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<Grammar, DefaultHistory> = Editor::with_config(settings)?;
    editor.set_helper(Some(Grammar { client: Rc::clone(client) }));
    let asked = Arc::new(AtomicBool::new(false));
    editor.bind_sequence(
        KeyEvent::from('?'),
        EventHandler::Conditional(Box::new(QuestionMark(Arc::clone(&asked)))),
    );
    let history = history_file();
    if let Some(file) = &history {
        // The first session has none.
        let _ = editor.load_history(file);
    }
    let mut succeeded = true;
    let mut unfinished = String::new();
    loop {
        let line = match editor.readline_with_initial(PROMPT, (&unfinished, "")) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                unfinished.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        if asked.swap(false, Ordering::Relaxed) {
            print!("{}", help_for(&line));
            unfinished = line;
            continue;
        }
        unfinished.clear();
        if line.trim().is_empty() {
            continue;
        }
        let _ = editor.add_history_entry(&line);
        match run_line(&**client, &line, &mut io::stdout(), &mut io::stderr()) {
            Ok(Outcome::Quit) => break,
            Ok(outcome) => succeeded = outcome == Outcome::Done,
            // The daemon may be back for the next command.
            Err(ScriptError::Client(error)) => {
                eprintln!("{error}");
                succeeded = false;
            }
            Err(error) => return Err(SessionError::Script(error)),
        }
    }
    if let Some(file) = &history {
        save_history(&mut editor, file);
    }
    Ok(succeeded)
}

/// A session without history is still a session: failures are only told.
fn save_history(editor: &mut Editor<Grammar, DefaultHistory>, file: &std::path::Path) {
    let directory = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let saved = directory.map_err(ReadlineError::from).and_then(|()| editor.save_history(file));
    if let Err(error) = saved {
        eprintln!("the history was not saved in {}: {error}", file.display());
    }
}

/// `$XDG_STATE_HOME/sluice/history`, or the same under `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("sluice/history"))
}

/// What `?` prints after `line`: the commands it can become, or what can come next in the one it
/// is.
fn help_for(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match help(&words) {
        text if text.is_empty() => format!("no command begins with `{}`\n", line.trim()),
        text => text,
    }
}

/// Ends the line, and remembers that it was for help.
struct QuestionMark(Arc<AtomicBool>);

impl ConditionalEventHandler for QuestionMark {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(true, Ordering::Relaxed);
        Some(Cmd::AcceptLine)
    }
}

/// Completes from the grammar and the daemon's names.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Grammar {
    client: Rc<Client>,
}

impl Completer for Grammar {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = candidates(&line[..pos], |kind| names::live(&self.client, kind));
        let pair = |word: String| Pair { replacement: format!("{word} "), display: word };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

/// Where the unfinished word begins and what it can become.
fn candidates(line: &str, live: impl Fn(Kind) -> Vec<String>) -> (usize, Vec<String>) {
    let completion = complete(line);
    let partial = &line[completion.start..];
    let mut words = Vec::new();
    for candidate in completion.candidates {
        match candidate {
            Candidate::Word(word) => words.push(word.to_owned()),
            Candidate::Value(slot) => {
                words.extend(live(slot.kind).into_iter().filter(|n| n.starts_with(partial)));
            }
        }
    }
    (completion.start, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(kind: Kind) -> Vec<String> {
        match kind {
            Kind::Interface => vec!["GigabitEthernet0/9/0".into(), "client0".into()],
            Kind::VipPrefix => vec!["10.10.2.2/32".into()],
            _ => Vec::new(),
        }
    }

    #[test]
    fn words_and_names_complete() {
        assert_eq!(candidates("set int st cl", live), (11, vec!["client0".to_owned()]));
        assert_eq!(
            candidates("lb set interface nat4 in ", live).1,
            ["GigabitEthernet0/9/0", "client0"]
        );
        assert_eq!(candidates("lb as 1", live), (6, vec!["10.10.2.2/32".to_owned()]));
        assert_eq!(candidates("lb vip 1.2.3.4/32 enc", live).1, ["encap"]);
        assert!(candidates("frobnicate ", live).1.is_empty());
    }

    #[test]
    fn a_question_mark_explains_the_line_so_far() {
        assert!(help_for("lb vip 1.2.3.4/32 ").contains("lb vip <vip-prefix>"));
        assert!(help_for("").lines().count() > 30);
        assert_eq!(help_for("xyz "), "no command begins with `xyz`\n");
    }
}
