//! [`Child`]: one of a pair's two processes, as its parent has it.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::ports::orders::{Answer, Order};
use crate::ports::stop_signal::StopSignal;

/// How often it is looked whether somebody wants to end.
const LOOK: Duration = Duration::from_millis(50);
/// A process whose input has ended goes by itself, unless it is busy: then it is told by a signal after
/// so long, and killed after so much longer. Killed, it would leave EAL's files behind.
const END: Duration = Duration::from_millis(200);
const TERMINATE: Duration = Duration::from_secs(10);

/// A process that takes orders. It ends with its owner.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    name: &'static str,
    stop: StopSignal,
}

impl Child {
    /// Starts a process that obeys [`Order`]s, in a network namespace if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(
        name: &'static str,
        namespace: Option<&str>,
        program: &std::path::Path,
        arguments: &[String],
        stop: StopSignal,
    ) -> Result<Self, String> {
        let mut command = match namespace {
            // ip becomes the program: no process is in between.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(arguments).arg("--controlled");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|e| format!("starting the {name}: {e}"))?;
        let orders = process.stdin.take();
        let (sender, answers) = channel();
        if let Some(output) = process.stdout.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                lines.for_each(|line| drop(sender.send(line)));
            });
        }
        Ok(Self { process, orders, answers, name, stop })
    }

    /// Gives an order.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn order(&mut self, order: Order) -> Result<(), String> {
        let text = serde_json::to_string(&order).map_err(|error| error.to_string())?;
        let pipe = self.orders.as_mut().ok_or("internal error: no pipe")?;
        pipe.write_all((text + "\n").as_bytes()).map_err(|_| self.ended())
    }

    /// Waits for an answer. What else the process prints is passed on to standard error.
    ///
    /// # Errors
    ///
    /// What the process says went wrong, that it ended, that it takes too long, or that somebody
    /// interrupted us.
    pub fn answer(&mut self, patience: Duration) -> Result<Answer, String> {
        let start = Instant::now();
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(Answer::Failed(reason)) => {
                        return Err(format!("the {}: {reason}", self.name));
                    }
                    Ok(answer) => return Ok(answer),
                    Err(_) => eprintln!("{}: {line}", self.name),
                },
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.stop.came() {
                return Err("interrupted".to_owned());
            }
            if start.elapsed() > patience {
                let seconds = patience.as_secs();
                return Err(format!("the {} has not answered for {seconds} s", self.name));
            }
        }
    }

    fn ended(&mut self) -> String {
        let status = self.process.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
        format!("the {} ended ({status})", self.name)
    }
}

impl Child {
    /// Waits until the process has ended; false when it takes too long.
    fn ends_within(&mut self, patience: Duration) -> bool {
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if start.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.orders = None;
        if self.ends_within(END) {
            return;
        }
        // SAFETY: the process is our child and has not been waited for, so the number is still its.
        unsafe { libc::kill(self.process.id() as libc::pid_t, libc::SIGTERM) };
        if !self.ends_within(TERMINATE) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A process that obeys as a shell can.
    fn child(script: &str) -> Child {
        let stop = StopSignal::catch();
        let arguments = ["-c".to_owned(), script.to_owned()];
        Child::start("toy", None, Path::new("/bin/sh"), &arguments, stop).unwrap()
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn answers_are_told_from_other_output() {
        let mut child = child("echo noise; read order; echo '{\"ready\":[\"'$order'\"]}'");
        child.orders.as_mut().unwrap().write_all(b"hello\n").unwrap();
        assert_eq!(child.answer(PATIENCE), Ok(Answer::Ready(vec!["hello".to_owned()])));
        let ended = child.answer(PATIENCE).unwrap_err();
        assert!(ended.contains("the toy ended (exit status: 0)"), "{ended}");
    }

    #[test]
    fn failures_are_said() {
        let mut child = child("echo '{\"failed\":\"no port\"}'; read order");
        assert_eq!(child.answer(PATIENCE), Err("the toy: no port".to_owned()));
        let mut mute = self::child("read order");
        let error = mute.answer(Duration::from_millis(1)).unwrap_err();
        assert!(error.contains("not answered"), "{error}");
        let mut gone = self::child("exit 3");
        assert!(gone.answer(PATIENCE).unwrap_err().contains("exit status: 3"));
    }

    #[test]
    fn it_ends_with_its_owner_even_when_it_is_busy() {
        for script in ["read order", "exec sleep 1000"] {
            let child = child(script);
            let id = child.process.id();
            drop(child);
            assert!(!Path::new(&format!("/proc/{id}/exe")).exists(), "{script}");
        }
    }

    #[test]
    fn a_busy_process_is_told_before_it_is_killed() {
        let file = std::env::temp_dir().join(format!("sluice-bench-told-{}", std::process::id()));
        let told = file.display();
        let script = format!(
            "trap 'touch {told}; exit' TERM; echo '{{\"ready\":[]}}'; while :; do sleep 0.01; done"
        );
        let mut child = child(&script);
        assert_eq!(child.answer(PATIENCE), Ok(Answer::Ready(Vec::new())));
        drop(child);
        std::fs::remove_file(&file).unwrap();
    }
}
