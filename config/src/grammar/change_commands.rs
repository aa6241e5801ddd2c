//! The forms of the commands that change or keep the configuration as a whole.

use super::form::{Form, Kind, Opt, Slot};
use super::words::Words;
use crate::value;
use crate::{Command, Problem, Spanned, defaults};

const FILE: Slot = Slot { label: "<file>", kind: Kind::File };
const SECONDS: Slot = Slot { label: "<seconds>", kind: Kind::Number };

/// `reload`, `confirm`, `diff`, `save`.
pub(super) const FORMS: &[Form] = &[
    Form {
        path: &["reload"],
        usage: "[<file>] [confirm <seconds>]",
        summary: "make the configuration that of a file, read by the daemon",
        leading: &[FILE],
        required: 0,
        options: &[Opt::Value("confirm", SECONDS)],
        rest: None,
        build: reload,
    },
    Form {
        path: &["reload", "cancel"],
        usage: "",
        summary: "undo a reload that waits for its confirmation",
        leading: &[],
        required: 0,
        options: &[],
        rest: None,
        build: |_| Ok(Command::ReloadCancel),
    },
    Form {
        path: &["confirm"],
        usage: "",
        summary: "keep what a reload with `confirm` has made",
        leading: &[],
        required: 0,
        options: &[],
        rest: None,
        build: |_| Ok(Command::Confirm),
    },
    Form {
        path: &["diff"],
        usage: "[<file>]",
        summary: "what a reload would change, and its impact",
        leading: &[FILE],
        required: 0,
        options: &[],
        rest: None,
        build: |words| file(words).map(|file| Command::Diff { file }),
    },
    Form {
        path: &["save"],
        usage: "[<file>]",
        summary: "write the running configuration as a file to start from",
        leading: &[FILE],
        required: 0,
        options: &[],
        rest: None,
        build: |words| file(words).map(|file| Command::Save { file }),
    },
];

fn file(words: &Words<'_>) -> Result<Option<Spanned<std::path::PathBuf>>, Problem> {
    words.leading(0).map(|token| value::file(token, "configuration file")).transpose()
}

fn reload(words: &Words<'_>) -> Result<Command, Problem> {
    let confirm_s =
        words.value("confirm", |t| value::number(t, "confirm", &defaults::CONFIRM_S_RANGE))?;
    Ok(Command::Reload { file: file(words)?, confirm_s })
}
