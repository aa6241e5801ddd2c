//! Kept state: whatever is in its files, the daemon starts with it, or empty, or says why not; and what
//! it has dropped stays dropped.
//!
//! Bytes are words to be put into the files: of which file (1 byte), where (4, little endian) and what
//! (8). The corpus begins with the state that control's test of the layout has.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use control::state::{Opened, Situation};

const LAYOUT: &str = include_str!("../../control/src/state/layout.txt");
/// The files, by what begins the lines of [`LAYOUT`].
const FILES: [&str; 3] = ["directory", "buckets-0-0-8", "cells-0-0-8"];
/// Bytes of a word to be put in.
const STEP: usize = 13;
/// Words that are put in, at most.
const WORDS: usize = 4096;

/// A second after the last sign of life of [`LAYOUT`].
const NOW: Situation = Situation {
    boot_id: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
    tsc_hz: 1_000,
    tsc: 66_000,
    fingerprint: 9,
    workers: 1,
    buckets: 8,
};

/// A line of [`LAYOUT`] in two halves: the file, and the rest.
fn of_file(line: &str) -> Option<(usize, &str)> {
    let (name, rest) = line.split_once(' ')?;
    Some((FILES.iter().position(|file| *file == name)?, rest))
}

/// All of the state, and the directory alone.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let words: Vec<_> = LAYOUT
        .lines()
        .filter_map(|line| {
            let (file, rest) = of_file(line)?;
            let (place, value) = rest.split_once(' ')?;
            let value = u64::from_str_radix(value, 16).ok()?;
            let place = place.parse::<u32>().ok()?.to_le_bytes();
            Some((file, [&[file as u8][..], &place, &value.to_le_bytes()].concat()))
        })
        .collect();
    let of = |files: &[usize]| {
        let chosen = words.iter().filter(|(file, _)| files.contains(file));
        chosen.flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>()
    };
    vec![of(&[0, 1, 2]), of(&[0]), of(&[0, 1])]
}

/// Bytes of a file.
fn length(file: usize) -> u64 {
    let lengths = LAYOUT.lines().filter_map(of_file).filter(|(of, _)| *of == file);
    lengths.filter_map(|(_, rest)| rest.parse().ok()).next().unwrap_or(0)
}

fn write(folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    let mut files = Vec::new();
    for (number, name) in FILES.iter().enumerate() {
        let mut options = OpenOptions::new();
        let file: File =
            options.write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        file.set_len(length(number))?;
        files.push((file, length(number) / 8));
    }
    for step in bytes.chunks_exact(STEP).take(WORDS) {
        let (file, words) = &files[usize::from(step[0]) % FILES.len()];
        let place = u32::from_le_bytes([step[1], step[2], step[3], step[4]]);
        file.write_all_at(&step[5..], u64::from(place) % words.max(&1) * 8)?;
    }
    Ok(())
}

/// Flows that a daemon finds in the tables of its workers.
fn opened(folder: &Path) -> Option<u64> {
    let state = Opened::new(folder, &NOW).ok()?;
    Some(state.owners.iter().map(|owner| u64::from(owner.used())).sum())
}

pub(crate) fn run(bytes: &[u8]) {
    let thread = std::thread::current().id();
    let name = format!("/dev/shm/sluice-fuzz-state-{}-{thread:?}", std::process::id());
    let folder = PathBuf::from(name);
    let _ = std::fs::remove_dir_all(&folder);
    write(&folder, bytes).expect("a folder below /dev/shm");
    let first = opened(&folder);
    // What was not whole is gone by now; the others are as they were.
    let second = opened(&folder);
    let _ = std::fs::remove_dir_all(&folder);
    assert!(first.is_some(), "files of the right kind are used or emptied");
    assert_eq!(first, second, "flows of the first start and of the second");
    assert!(first.unwrap_or_default() <= 4 * u64::from(NOW.buckets));
}
