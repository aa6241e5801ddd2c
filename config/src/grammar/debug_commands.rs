//! The forms of `debug …`.

use super::form::{Form, Kind, Slot};
use super::words::Words;
use crate::choice::Choice;
use crate::value;
use crate::{Command, Debug, PanicPlace, Problem, defaults};

/// Faults on purpose.
pub(super) const FORMS: &[Form] = &[
    Form {
        path: &["debug", "control", "panic"],
        usage: "[command|events|publish|tables]",
        summary: "make control panic there; it is rebuilt, workers forward on",
        leading: &[Slot { label: "<place>", kind: Kind::Choice(PanicPlace::NAMES) }],
        required: 0,
        options: &[],
        rest: None,
        build: panic,
    },
    Form {
        path: &["debug", "control", "hang"],
        usage: "<seconds>",
        summary: "make control do nothing for so long; workers forward on",
        leading: &[Slot { label: "<seconds>", kind: Kind::Number }],
        required: 1,
        options: &[],
        rest: None,
        build: |words| {
            let seconds =
                value::number(words.required(0)?, "the time", &defaults::DEBUG_HANG_S_RANGE)?;
            Ok(Command::Debug(Debug::ControlHang(seconds)))
        },
    },
    Form {
        path: &["debug", "worker", "panic"],
        usage: "<n>",
        summary: "make worker n, counted from 0, panic; the daemon ends and is restarted",
        leading: &[Slot { label: "<n>", kind: Kind::Number }],
        required: 1,
        options: &[],
        rest: None,
        build: |words| {
            let worker = value::number(words.required(0)?, "the worker", &(0..=u16::MAX))?;
            Ok(Command::Debug(Debug::WorkerPanic(worker)))
        },
    },
];

fn panic(words: &Words<'_>) -> Result<Command, Problem> {
    let place = words.leading(0).map(|token| value::choice(token, "place")).transpose()?;
    let place = place.map_or(PanicPlace::Command, |place| place.value);
    Ok(Command::Debug(Debug::ControlPanic(place)))
}
