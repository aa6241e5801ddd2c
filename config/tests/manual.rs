//! The manual: its examples parse, and it leaves out no key and no command.

use std::path::Path;

use config::grammar::help;
use config::{Startup, parse_line, report, report_line};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Checks a TOML text; its report names `what`.
fn check(what: &str, text: &str) {
    if let Err(problems) = Startup::parse(text) {
        panic!("{}", report(what, text, &problems));
    }
}

#[test]
fn every_toml_block_is_accepted() {
    for path in ["docs/configuration.md", "docs/getting-started.md"] {
        let text = read(path);
        let blocks: Vec<&str> = text
            .split("```toml\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap_or_default())
            .collect();
        assert!(!blocks.is_empty(), "{path} has no TOML");
        for (n, block) in blocks.into_iter().enumerate() {
            check(&format!("{path}, TOML block {}", n + 1), block);
        }
    }
    check("packaging/sluice.toml", &read("packaging/sluice.toml"));
}

#[test]
fn every_command_line_is_accepted() {
    let text = read("docs/cli.md");
    let lines: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("sluice# ")).collect();
    assert!(lines.len() > 40, "only {} examples were found", lines.len());
    for line in &lines {
        parse_line(line).unwrap_or_else(|error| panic!("{}", report_line(line, &error)));
    }
}

#[test]
fn every_command_is_described() {
    let text = read("docs/cli.md");
    for line in help::<&str>(&[]).lines() {
        let path = line[2..42].trim_end();
        assert!(text.contains(path), "docs/cli.md does not describe `{path}`");
    }
}

#[test]
fn every_key_is_described() {
    let text = read("docs/configuration.md");
    let sections = [
        "[cpu]",
        "[dpdk]",
        "[[dpdk.dev]]",
        "[unix]",
        "[punt]",
        "[[interface]]",
        "[[sub-interface]]",
        "[[tunnel]]",
        "[[route]]",
        "[[neighbor]]",
        "[lb]",
        "[[no-match]]",
        "[[vip]]",
    ];
    for header in sections {
        let heading = format!("## `{header}`\n");
        let (_, section) = text.split_once(&heading).unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("\n##").next().unwrap_or_default();
        // The reader names the keys it knows when it meets one it does not.
        let problems = Startup::parse(&format!("{header}\nqqqqqqqqqq = 1\n")).unwrap_err();
        let hint = problems
            .iter()
            .find_map(|p| p.hint.as_deref()?.strip_prefix("the keys here are "))
            .unwrap_or_else(|| panic!("{problems:?}"));
        // Those are sections of their own.
        for key in hint.split(", ").filter(|key| !["dev", "vip"].contains(key)) {
            assert!(section.contains(&format!("| `{key}` |")), "{header} does not list {key}");
        }
    }
}
