//! Command lines: parsed or refused with a place inside the line, and what is parsed is written as
//! a line that means the same.

/// The commands of the manual.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let manual = include_str!("../../docs/cli.md");
    let lines = manual.lines().filter_map(|line| line.strip_prefix("sluice# "));
    lines.map(|line| line.as_bytes().to_vec()).collect()
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for line in text.lines().take(8) {
        one(line);
    }
}

fn one(line: &str) {
    match config::parse_line(line) {
        Ok(command) => {
            let rendered = command.to_string();
            // What somebody wants help for need not be a command.
            if rendered.starts_with("help") {
                return;
            }
            match config::parse_line(&rendered) {
                Ok(again) => assert_eq!(again.to_string(), rendered, "{line:?}"),
                Err(error) => panic!("{line:?} became {rendered:?}: {error:?}"),
            }
        }
        Err(error) => {
            assert!(!error.reason.is_empty());
            let report = config::report_line(line, &error);
            assert!(report.contains(&error.reason), "{report}");
        }
    }
}
