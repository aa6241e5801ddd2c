//! `wait drained`: asks the daemon, now and then, until an AS has no flows any more.

use std::io::Write;
use std::time::{Duration, Instant};

use config::{CommandError, Problem, Span, WaitDrained, report_line};
use serde::Deserialize;

use crate::script::{Daemon, Outcome, ScriptError};

/// Time between two questions.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the daemon says of an AS.
#[derive(Debug, Deserialize)]
struct Status {
    state: String,
    flows: u64,
    takes_flows: bool,
    drained: bool,
}

/// The question.
fn path(wait: &WaitDrained) -> String {
    let WaitDrained { vip, server, .. } = wait;
    let port = vip.port.map_or_else(String::new, |port| {
        format!("&protocol={}&port={}", port.protocol, port.ports)
    });
    format!("/v1/lb/drain?vip={}{port}&as={server}", vip.prefix)
}

/// Waits. `TimedOut` says so on `err`.
pub(crate) fn drained(
    daemon: &impl Daemon,
    line: &str,
    wait: &WaitDrained,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<Outcome, ScriptError> {
    let limit = wait.timeout_s.map(|seconds| Duration::from_secs(u64::from(seconds.value)));
    let (path, start) = (path(wait), Instant::now());
    let WaitDrained { vip, server, .. } = wait;
    let mut was_there = false;
    let done = |out: &mut dyn Write, state: &str| {
        writeln!(out, "{server} of {vip} is {state}").map_err(ScriptError::Write)?;
        Ok(Outcome::Done)
    };
    let failed = |err: &mut dyn Write, error: &CommandError| {
        write!(err, "{}", report_line(line, error)).map_err(ScriptError::Write)?;
        Ok(Outcome::Failed)
    };
    loop {
        let flows = match daemon.ask(&path)? {
            Ok(body) => match serde_json::from_value::<Status>(body) {
                Ok(status) if status.drained => {
                    let gone = status.state == "gone";
                    return done(out, if gone { "gone" } else { "drained" });
                }
                Ok(status) if status.takes_flows => {
                    let again = if was_there { " again" } else { "" };
                    let problem = Problem::new(server.span, format!("it takes new flows{again}"));
                    let hint = format!("write `lb as {vip} {server} drain` first");
                    return failed(err, &problem.with_hint(hint).in_line(line));
                }
                Ok(status) => status.flows,
                Err(error) => {
                    let problem = Problem::new(server.span, format!("no answer to that: {error}"));
                    return failed(err, &problem.in_line(line));
                }
            },
            // Everybody forgets about an AS that left long ago.
            Err(_) if was_there => return done(out, "gone"),
            Err(error) => return failed(err, &in_line(error, line)),
        };
        was_there = true;
        let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
        if left == Some(Duration::ZERO) {
            let seconds = limit.unwrap_or_default().as_secs();
            writeln!(err, "after {seconds} s {flows} flows of {server} are left")
                .map_err(ScriptError::Write)?;
            return Ok(Outcome::TimedOut);
        }
        daemon.rest(left.unwrap_or(INTERVAL).min(INTERVAL))?;
    }
}

/// The daemon's complaint as one of this line: it has seen the same words in another one.
fn in_line(error: CommandError, line: &str) -> CommandError {
    let found = line.find(&error.token).filter(|_| !error.token.is_empty());
    let span = found.map(|at| Span::new(at, at + error.token.len())).unwrap_or_default();
    let CommandError { reason, hint, .. } = error;
    CommandError { hint, ..Problem::new(span, reason).in_line(line) }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use config::{Command, parse_line};
    use serde_json::{Value, json};

    use super::*;
    use crate::client::ClientError;

    /// Gives the answers one after the other, the last one for ever, and does not sleep.
    struct Answers(RefCell<Vec<Result<Value, CommandError>>>, RefCell<Vec<String>>);

    impl Daemon for Answers {
        fn run(&self, line: &str) -> Result<Result<String, String>, ClientError> {
            panic!("`{line}` was sent to the daemon")
        }

        fn ask(&self, path: &str) -> Result<Result<Value, CommandError>, ClientError> {
            self.1.borrow_mut().push(path.to_owned());
            let mut answers = self.0.borrow_mut();
            Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
        }

        fn rest(&self, time: Duration) -> Result<(), ClientError> {
            assert!(time <= INTERVAL);
            Ok(())
        }
    }

    fn status(flows: u64, takes_flows: bool, state: &str) -> Result<Value, CommandError> {
        let drained = !takes_flows && flows == 0;
        Ok(json!({"vip": "", "as": "", "state": state, "flows": flows,
                  "takes_flows": takes_flows, "drained": drained}))
    }

    fn unknown() -> Result<Value, CommandError> {
        let reason = "192.168.1.9 is not an AS of the VIP".to_owned();
        let hint = Some("its ASs: 192.168.1.1".to_owned());
        Err(CommandError { token: "192.168.1.9".to_owned(), column: 7, reason, hint })
    }

    fn wait(
        line: &str,
        answers: Vec<Result<Value, CommandError>>,
    ) -> (Outcome, String, String, Vec<String>) {
        let Ok(Command::WaitDrained(wait)) = parse_line(line) else { panic!("{line}") };
        let daemon = Answers(RefCell::new(answers), RefCell::default());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = drained(&daemon, line, &wait, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (outcome, text(out), text(err), daemon.1.into_inner())
    }

    const LINE: &str = "wait drained 10.10.2.2/32 protocol tcp port 80-89 192.168.1.9";

    #[test]
    fn it_asks_until_nothing_is_left() {
        let answers = vec![
            status(7, false, "draining"),
            status(1, false, "draining"),
            status(0, false, "drained"),
        ];
        let (outcome, out, err, asked) = wait(LINE, answers);
        assert_eq!(outcome, Outcome::Done);
        let vip = "10.10.2.2/32 protocol tcp port 80-89";
        assert_eq!((out, err), (format!("192.168.1.9 of {vip} is drained\n"), String::new()));
        let path = "/v1/lb/drain?vip=10.10.2.2/32&protocol=tcp&port=80-89&as=192.168.1.9";
        assert_eq!(asked, [path; 3]);
        let (outcome, out, _, asked) = wait(LINE, vec![status(7, false, "removed"), unknown()]);
        assert_eq!((outcome, asked.len()), (Outcome::Done, 2));
        assert!(out.ends_with(" is gone\n"), "{out}");
    }

    #[test]
    fn it_gives_up_in_time() {
        let line = format!("{LINE} timeout 0");
        let (outcome, out, err, _) = wait(&line, vec![status(7, false, "draining")]);
        assert_eq!((outcome, out), (Outcome::TimedOut, String::new()));
        assert_eq!(err, "after 0 s 7 flows of 192.168.1.9 are left\n");
    }

    #[test]
    fn what_will_never_be_drained_is_not_waited_for() {
        let (outcome, _, err, asked) = wait(LINE, vec![unknown()]);
        assert_eq!((outcome, asked.len()), (Outcome::Failed, 1));
        assert!(err.contains("^^^^^^^^^^^ 192.168.1.9 is not an AS of the VIP"), "{err}");
        assert!(err.contains("hint: its ASs: 192.168.1.1"), "{err}");
        let (outcome, _, err, _) = wait(LINE, vec![status(0, true, "used")]);
        assert_eq!(outcome, Outcome::Failed);
        assert!(err.contains("it takes new flows\n") && err.contains("192.168.1.9 drain"), "{err}");
        let answers = vec![status(5, false, "draining"), status(6, true, "used")];
        let (outcome, _, err, _) = wait(LINE, answers);
        assert_eq!(outcome, Outcome::Failed);
        assert!(err.contains("it takes new flows again"), "{err}");
    }
}
