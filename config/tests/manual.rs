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
    for (path, at_least) in [("docs/cli.md", 100), ("docs/forwarding.md", 60)] {
        let text = read(path);
        let lines: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("sluice# ")).collect();
        assert!(lines.len() > at_least, "{path}: only {} examples were found", lines.len());
        for line in &lines {
            parse_line(line)
                .unwrap_or_else(|error| panic!("{path}: {}", report_line(line, &error)));
        }
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
        "[api]",
        "[privileges]",
        "[punt]",
        "[state]",
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

/// Markdown files of the manual.
fn pages() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let names = std::fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().file_name());
    let docs = names.map(|name| format!("docs/{}", name.to_str().unwrap()));
    docs.chain(["README.md".to_owned()]).collect()
}

/// What a page's headings are called in links to them.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let named = |c: char| match c {
        ' ' => Some('-'),
        c => Some(c).filter(|c| c.is_alphanumeric() || "-_".contains(*c)),
    };
    let text = |line: &str| line.trim_start_matches('#').trim().to_lowercase();
    headings.map(|line| text(line).chars().filter_map(named).collect()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for name in pages() {
        let page = read(&name);
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match (file.is_empty(), name.starts_with("docs/")) {
                (true, _) => name.clone(),
                (false, true) => format!("docs/{file}"),
                (false, false) => file.to_owned(),
            };
            let text = read(&file);
            let known = anchor.is_empty() || anchors(&text).iter().any(|own| own == anchor);
            assert!(known, "{name}: {file} has no heading #{anchor}");
        }
    }
}
