//! Startup files, which are also what `PUT /v1/config` takes: read, or refused with places inside
//! the text.

/// The examples of the manual.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let manual = include_str!("../../docs/configuration.md");
    let blocks = manual.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(|block| block.as_bytes().to_vec()).collect()
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match config::Startup::parse(text) {
        Ok(startup) => {
            for statement in &startup.commands {
                let line = statement.command.to_string();
                assert!(config::parse_line(&line).is_ok(), "{line}");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            let report = config::report("file.toml", text, &problems);
            assert!(problems.iter().all(|problem| !problem.reason.is_empty()), "{report}");
        }
    }
}
