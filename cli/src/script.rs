//! Runs command lines: one from the arguments, or many from a script.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use config::{Command, CommandError, grammar, parse_line, report_line};
use serde_json::Value;

use crate::client::{Client, ClientError};
use crate::wait;

/// What became of one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Carried out.
    Done,
    /// Refused, and said so.
    Failed,
    /// Given up waiting, and said so.
    TimedOut,
    /// It was `quit`.
    Quit,
}

/// Why a script could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("reading the script: {0}")]
    Read(io::Error),
    #[error("writing the output: {0}")]
    Write(io::Error),
}

/// Something that runs a line and gives what to print: for `Ok` the output, for `Err` the report
/// of each error. The daemon, or a test.
pub(crate) trait Daemon {
    /// Runs one line.
    fn run(&self, line: &str) -> Result<Result<String, String>, ClientError>;

    /// The JSON body of a `GET`, or why it is refused.
    fn ask(&self, path: &str) -> Result<Result<Value, CommandError>, ClientError>;

    /// Lets time pass.
    fn rest(&self, time: Duration) -> Result<(), ClientError>;
}

impl Daemon for Client {
    fn run(&self, line: &str) -> Result<Result<String, String>, ClientError> {
        let (mut output, mut errors) = (String::new(), String::new());
        for answer in Client::run(self, line)? {
            output += &answer.output;
            match answer.error {
                Some(error) => errors += &report_line(line, &error),
                None if !answer.ok => errors += "the command failed\n",
                None => {}
            }
        }
        // What was printed before the error is worth seeing too.
        Ok(if errors.is_empty() { Ok(output) } else { Err(output + &errors) })
    }

    fn ask(&self, path: &str) -> Result<Result<Value, CommandError>, ClientError> {
        Client::ask(self, path)
    }

    fn rest(&self, time: Duration) -> Result<(), ClientError> {
        Client::rest(self, time)
    }
}

/// Runs one line. Help needs no daemon, and waiting is done here; everything else is judged by the
/// daemon, whose grammar may be newer than ours.
pub(crate) fn run_line(
    daemon: &impl Daemon,
    line: &str,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<Outcome, ScriptError> {
    let absolute = parse_line(line).ok().and_then(absolute);
    let line = absolute.as_deref().unwrap_or(line);
    match parse_line(line) {
        Ok(Command::Blank) => return Ok(Outcome::Done),
        Ok(Command::Quit) => return Ok(Outcome::Quit),
        Ok(Command::Help { topic }) => {
            let text = grammar::help(&topic);
            if text.is_empty() {
                let words = topic.join(" ");
                writeln!(err, "no command begins with `{words}`").map_err(ScriptError::Write)?;
                return Ok(Outcome::Failed);
            }
            out.write_all(text.as_bytes()).map_err(ScriptError::Write)?;
            return Ok(Outcome::Done);
        }
        Ok(Command::WaitDrained(wait)) => return wait::drained(daemon, line, &wait, out, err),
        _ => {}
    }
    match daemon.run(line)? {
        Ok(output) => {
            out.write_all(output.as_bytes()).map_err(ScriptError::Write)?;
            if !output.is_empty() && !output.ends_with('\n') {
                writeln!(out).map_err(ScriptError::Write)?;
            }
            out.flush().map_err(ScriptError::Write)?;
            Ok(Outcome::Done)
        }
        Err(report) => {
            err.write_all(report.as_bytes()).map_err(ScriptError::Write)?;
            Ok(Outcome::Failed)
        }
    }
}

/// The line of a command that names a configuration file by a relative path, with the path that it is
/// from here: the daemon, which opens it, is elsewhere.
fn absolute(mut command: Command) -> Option<String> {
    let file = command.configuration_file().filter(|file| file.is_relative())?;
    *file = std::path::absolute(&file).ok()?;
    Some(command.to_string())
}

/// Runs every line of a script, going on after a failed one, up to `quit`. Gives the number of
/// lines that failed; each is announced by its number.
pub(crate) fn run_script(
    daemon: &impl Daemon,
    script: impl BufRead,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<usize, ScriptError> {
    let mut failed = 0;
    for (index, line) in script.lines().enumerate() {
        let line = line.map_err(ScriptError::Read)?;
        let mut report = Vec::new();
        let outcome = run_line(daemon, line.trim_end(), out, &mut report)?;
        match outcome {
            Outcome::Done => {}
            Outcome::Quit => break,
            Outcome::Failed | Outcome::TimedOut => {
                failed += 1;
                writeln!(err, "line {}:", index + 1)
                    .and_then(|()| err.write_all(&report))
                    .map_err(ScriptError::Write)?;
            }
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Answers `echo …`, refuses everything else, remembers all.
    #[derive(Default)]
    struct Fake(RefCell<Vec<String>>);

    impl Daemon for Fake {
        fn run(&self, line: &str) -> Result<Result<String, String>, ClientError> {
            self.0.borrow_mut().push(line.to_owned());
            Ok(match line.strip_prefix("echo ") {
                Some(text) => Ok(text.to_owned()),
                None => Err(format!("{line}\n^ no\n")),
            })
        }

        fn ask(&self, path: &str) -> Result<Result<Value, CommandError>, ClientError> {
            self.0.borrow_mut().push(path.to_owned());
            Ok(Ok(serde_json::json!({
                "state": "draining", "flows": 3, "takes_flows": false, "drained": false
            })))
        }

        fn rest(&self, _: Duration) -> Result<(), ClientError> {
            Ok(())
        }
    }

    fn run(script: &str) -> (Vec<String>, usize, String, String) {
        let daemon = Fake::default();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let failed = run_script(&daemon, script.as_bytes(), &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (daemon.0.into_inner(), failed, text(out), text(err))
    }

    #[test]
    fn a_script_runs_to_its_end_and_numbers_its_errors() {
        let (sent, failed, out, err) = run("# setup\n\necho a\n  bad line\necho b # c\nworse\r\n");
        assert_eq!(sent, ["echo a", "  bad line", "echo b # c", "worse"]);
        assert_eq!(failed, 2);
        assert_eq!(out, "a\nb # c\n");
        assert_eq!(err, "line 4:\n  bad line\n^ no\nline 6:\nworse\n^ no\n");
    }

    #[test]
    fn the_daemon_gets_absolute_paths() {
        let (sent, ..) =
            run("reload a.toml confirm 9\nreload\n  diff /b.toml\nsave ./c\nreload cancel\n");
        let here = std::env::current_dir().unwrap();
        let at = |name: &str| here.join(name).display().to_string();
        let reload = format!("reload {} confirm 9", at("a.toml"));
        let save = format!("save {}", at("c"));
        assert_eq!(sent, [&*reload, "reload", "  diff /b.toml", &save, "reload cancel"]);
    }

    #[test]
    fn quit_ends_a_script() {
        let (sent, failed, ..) = run("echo a\nquit\necho b\n");
        assert_eq!(sent, ["echo a"]);
        assert_eq!(failed, 0);
    }

    #[test]
    fn a_wait_in_a_script_is_a_failed_line_when_it_takes_too_long() {
        let (sent, failed, out, err) = run("wait drained 10.0.0.1/32 10.1.0.1 timeout 0\necho b\n");
        assert_eq!(sent, ["/v1/lb/drain?vip=10.0.0.1/32&as=10.1.0.1", "echo b"]);
        assert_eq!((failed, &*out), (1, "b\n"));
        assert_eq!(err, "line 1:\nafter 0 s 3 flows of 10.1.0.1 are left\n");
    }

    #[test]
    fn help_is_answered_here() {
        let (sent, failed, out, err) = run("lb flush ?\nhelp nonsense\n");
        assert!(sent.is_empty());
        assert_eq!(failed, 1);
        assert!(out.contains("lb flush vip <vip-prefix>"), "{out}");
        assert_eq!(err, "line 2:\nno command begins with `nonsense`\n");
    }
}
