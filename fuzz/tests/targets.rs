//! The corpus of each target, and mutations of it, the same in every run. `SLUICE_FUZZ_MUTATIONS`
//! has more of them made, for each target.

use fuzz::dice::Dice;
use fuzz::{TARGETS, Target};

/// Runs the corpus and so many mutations.
fn hold(name: &str, mutations: usize) {
    let target = Target::named(name).unwrap();
    let asked = std::env::var("SLUICE_FUZZ_MUTATIONS").ok().and_then(|number| number.parse().ok());
    let corpus = target.corpus();
    assert!(!corpus.is_empty(), "no corpus of {name}");
    corpus.iter().for_each(|bytes| (target.run)(bytes));
    let mut dice = Dice(7);
    for _ in 0..asked.unwrap_or(mutations) {
        let [one, other] = [0, 0].map(|_| &corpus[dice.below(corpus.len())]);
        (target.run)(&dice.mutated(one, other));
    }
}

#[test]
fn every_parser_of_headers_takes_any_bytes() {
    hold("wire", 5_000);
}

#[test]
fn the_command_line_takes_any_text() {
    hold("lines", 3_000);
}

#[test]
fn the_startup_file_takes_any_text() {
    hold("startup", 1_000);
}

#[test]
fn the_socket_takes_any_bytes() {
    hold("http", 300);
}

#[test]
fn kept_state_takes_any_bytes() {
    hold("state", 40);
}

#[test]
fn the_graph_takes_any_bytes_and_does_what_the_reference_does() {
    hold("graph", 60);
}

#[test]
fn the_corpus_is_small_and_has_a_folder_for_each_target() {
    let bytes: usize = TARGETS.iter().flat_map(Target::corpus).map(|bytes| bytes.len()).sum();
    assert!(bytes < 300 << 10, "{bytes} bytes");
    for target in TARGETS {
        assert!(!target.corpus().is_empty(), "{} has none", target.name);
    }
}
