//! Any bytes into every parser and the whole graph.
//!
//! A [`Target`] takes bytes and panics when something is wrong. `./fuzz.sh TARGET` has libFuzzer look
//! for such bytes; `cargo test -p fuzz` runs the corpus and mutations of it. What libFuzzer found is
//! run again with `cargo run -p fuzz -- TARGET FILE…`.

pub mod dice;
mod graph;
mod http;
mod lines;
mod packets;
mod startup_file;
mod state;
mod wire;

use std::path::PathBuf;

/// Something that takes any bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Takes the bytes; panics when something is wrong.
    pub run: fn(&[u8]),
    /// What the corpus began with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "wire", run: wire::run, seeds: wire::seeds },
    Target { name: "lines", run: lines::run, seeds: lines::seeds },
    Target { name: "startup", run: startup_file::run, seeds: startup_file::seeds },
    Target { name: "http", run: http::run, seeds: http::seeds },
    Target { name: "state", run: state::run, seeds: state::seeds },
    Target { name: "graph", run: graph::run, seeds: graph::seeds },
];

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// The folder with its corpus.
    pub fn folder(&self) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "corpus", self.name].iter().collect()
    }

    /// The files of its corpus, in the order of their names.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(self.folder()) else { return Vec::new() };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
    }
}
