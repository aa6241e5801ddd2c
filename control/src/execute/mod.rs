//! Command lines, however they come in: one, a batch, or a file.

mod change;
mod file;
mod ping;
mod recovery;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use config::{Command, CommandError, FlowsQuery, Problem, Show, WaitDrained};
use serde::Serialize;
use tokio::sync::Notify;

use crate::control::{Control, Draft};
use crate::show::flows::Flows;
use crate::show::to_json;

pub use change::Refusal;
pub use file::MAX_NESTING;

/// A publication that takes longer is not followed by another at once.
const LONG: Duration = Duration::from_millis(20);

/// What the client is told whose command panicked.
const PANICKED: &str = "internal error: control panicked and was rebuilt; nothing was changed";

/// Lines run in one go.
pub(crate) const LINES_AT_ONCE: usize = 64;
/// Longest line, in bytes.
pub(crate) const MAX_LINE: usize = 128 * 1024;
/// Bytes that are told back of a line that is too long.
const TOLD_BACK: usize = 64;

/// Asks for so many more bytes of an answer, in JSON; `false` if there is no room for them.
pub type Room<'a> = &'a mut dyn FnMut(usize) -> bool;

/// Control, shared by the tasks of its one thread. It is never borrowed across an await.
#[derive(Clone)]
pub struct Shared {
    control: Rc<RefCell<Control>>,
    /// Tells that control has taken up what happened.
    pumped: Rc<Notify>,
    /// When [`Self::pump`] published last, and how long that took.
    published: Rc<Cell<(Instant, Duration)>>,
    start: Instant,
}

/// What became of one line; an element of the `results` of `POST /v1/cli`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineResult {
    /// The line.
    pub line: String,
    /// Was it carried out?
    pub ok: bool,
    /// What it printed.
    pub output: String,
    /// Why it was not carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<CommandError>,
}

impl LineResult {
    fn new(line: &str, result: Result<String, Failure>) -> Self {
        let told = if line.len() > MAX_LINE { beginning(line) } else { line };
        let line = told.to_owned();
        match result {
            Ok(output) => Self { line, ok: true, output, error: None },
            Err(Failure { output, error }) => Self { line, ok: false, output, error: Some(error) },
        }
    }

    /// For a line that was not run, because the results before it fill the room for the answer.
    fn no_room(line: &str) -> Self {
        let reason = "the answer has grown too long: neither this line nor those after it were run";
        let mut error = Problem::new(config::Span::default(), reason).in_line("");
        error.hint = Some("send fewer lines at a time".to_owned());
        Self {
            ok: false,
            output: String::new(),
            error: Some(error),
            line: beginning(line).to_owned(),
        }
    }

    /// At least the bytes it takes, here and in JSON.
    fn bytes(&self) -> usize {
        let escaped = |text: &str| {
            let bytes = text.bytes().map(|byte| match byte {
                ..0x20 => 6,
                b'"' | b'\\' => 2,
                _ => 1,
            });
            bytes.sum::<usize>()
        };
        let error = self.error.as_ref().map_or(0, |error| {
            let hint = error.hint.as_deref().unwrap_or_default();
            escaped(&error.token) + escaped(&error.reason) + escaped(hint)
        });
        escaped(&self.line) + escaped(&self.output) + error + size_of::<Self>()
    }
}

/// The first characters of a line.
fn beginning(line: &str) -> &str {
    line.char_indices().nth(TOLD_BACK).map_or(line, |(end, _)| &line[..end])
}

/// Refuses a line that nobody writes.
fn check_length(line: &str) -> Result<(), CommandError> {
    if line.len() <= MAX_LINE {
        return Ok(());
    }
    let reason = format!("a line has at most {MAX_LINE} bytes, not {}", line.len());
    Err(Problem::new(config::Span::default(), reason).in_line(""))
}

/// A line that was not carried out, or only in part.
struct Failure {
    /// What it printed before: a command file runs up to its first error.
    output: String,
    error: CommandError,
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self { output: String::new(), error }
    }
}

impl Shared {
    /// Shares `control`, whose time starts now.
    pub fn new(control: Control) -> Self {
        let (control, pumped) = (Rc::new(RefCell::new(control)), Rc::new(Notify::new()));
        let start = Instant::now();
        let published = Rc::new(Cell::new((start, Duration::ZERO)));
        Self { control, pumped, published, start }
    }

    /// Control again, if nobody else shares it any more.
    pub fn into_inner(self) -> Option<Control> {
        Rc::into_inner(self.control).map(RefCell::into_inner)
    }

    /// Does something with control, at the present time. After a panic inside, control is rebuilt
    /// before the panic goes on to the caller.
    pub fn with<T>(&self, what: impl FnOnce(&mut Control) -> T) -> T {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut control = self.control.borrow_mut();
            control.set_time(self.start.elapsed().as_millis() as u64);
            what(&mut control)
        }));
        done.unwrap_or_else(|panic| {
            self.rebuild();
            resume_unwind(panic)
        })
    }

    /// The same, but a panic inside is an error.
    pub(super) fn guarded<T>(
        &self,
        what: impl FnOnce(&mut Control) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        catch_unwind(AssertUnwindSafe(|| self.with(what)))
            .unwrap_or_else(|_| Err(Problem::new(config::Span::default(), PANICKED)))
    }

    /// Takes up events, lets time pass, and publishes what follows; true while an answer from the
    /// network is awaited. What a large configuration takes to be published, others are to have
    /// twice of, and the more so while tables are being built that will be published too.
    pub fn pump(&self) -> bool {
        let (at, took) = self.published.get();
        let waiting = self.with(|control| {
            control.listen();
            let rest = match control.tables_waiting() {
                0 if took < LONG => Duration::ZERO,
                0 => 2 * took,
                _ => 5 * took.max(Duration::from_millis(1)),
            };
            if at.elapsed() >= rest {
                let (start, before) = (Instant::now(), control.snapshot().generation);
                control.publish_built();
                if control.snapshot().generation != before {
                    self.published.set((Instant::now(), start.elapsed()));
                }
            }
            control.is_waiting()
        });
        self.pumped.notify_waiters();
        waiting
    }

    /// Waits until the new-flow tables that were wished for from number `first` on are published.
    /// Others are served meanwhile.
    pub(super) async fn settle(&self, first: u64) {
        let end = self.with(|control| control.next_wish());
        loop {
            // Made before looking, so that nothing is missed.
            let pumped = self.pumped.notified();
            if self.with(|control| control.is_settled(first, end)) {
                return;
            }
            pumped.await;
        }
    }

    /// Runs one line; what it changes is published when this ends.
    ///
    /// # Errors
    ///
    /// The word that is wrong, why, and what would be right.
    pub async fn line(&self, line: &str) -> Result<String, CommandError> {
        let first = self.with(|control| control.next_wish());
        let (result, commits) = self.numbered_line(line).await;
        self.publish();
        self.settle(first).await;
        let result = result.map_err(|failure| failure.error)?;
        self.keeps(&commits).map_err(|problem| problem.in_line(line))?;
        Ok(result)
    }

    /// Runs one line; what it changes is published by the caller, once for many lines.
    async fn nested_line(&self, line: &str, depth: usize) -> Result<String, Failure> {
        check_length(line)?;
        let command = config::parse_line(line)?;
        if let Command::Exec { file } = &command {
            return Box::pin(self.file(line, file, depth)).await;
        }
        if command.is_change() {
            return self.change(line, &command).await;
        }
        Ok(self.command(&command).await.map_err(|problem| problem.in_line(line))?)
    }

    /// Runs one command other than `exec` and those that `change` runs.
    async fn command(&self, command: &Command) -> Result<String, Problem> {
        match command {
            Command::Ping(ping) => return self.ping(ping).await,
            Command::Show { show: Show::LbFlows(query), json } => {
                let flows = self.flows(query).await?;
                return Ok(if *json { to_json(&flows) } else { flows.to_string() });
            }
            _ => {}
        }
        self.guarded(|control| control.execute(command))
    }

    /// A page of flows, read in slices between which others are served.
    ///
    /// # Errors
    ///
    /// A VIP, an AS or a thread that there is not.
    pub async fn flows(&self, query: &FlowsQuery) -> Result<Flows, Problem> {
        let mut page = self.guarded(|control| control.flows_page(query))?;
        while self.guarded(|control| Ok(control.read_flows(&mut page)))? {
            tokio::task::yield_now().await;
        }
        Ok(page.finish())
    }

    /// Runs a batch, each line for itself, and goes on after errors. What it changes is published
    /// when this ends. Where there is no `room` for more results, it stops, and the last says so.
    pub async fn batch(&self, lines: &str, room: Room<'_>) -> Vec<LineResult> {
        let first = self.with(|control| control.next_wish());
        let (mut results, mut numbers) = (Vec::new(), Vec::new());
        let mut fits = true;
        for (number, line) in lines.lines().enumerate() {
            if number % LINES_AT_ONCE == LINES_AT_ONCE - 1 {
                // Others want to be served too.
                tokio::task::yield_now().await;
            }
            if is_blank(line) {
                continue;
            }
            if !fits {
                results.push(LineResult::no_room(line));
                break;
            }
            let (result, commits) = self.numbered_line(line).await;
            let result = LineResult::new(line, result);
            fits = room(result.bytes());
            results.push(result);
            numbers.push(commits);
        }
        self.publish();
        self.settle(first).await;
        for (result, commits) in results.iter_mut().zip(&numbers).filter(|(result, _)| result.ok) {
            if let Err(problem) = self.keeps(commits) {
                let lost = Err(problem.in_line(&result.line).into());
                *result = LineResult::new(&std::mem::take(&mut result.line), lost);
            }
        }
        results
    }

    /// Runs a batch as one transaction: everything or nothing. Only commands that change the
    /// configuration can take part. Without `room` for all results it is nothing.
    pub async fn atomic_batch(&self, lines: &str, room: Room<'_>) -> Vec<LineResult> {
        let first = self.with(|control| control.next_wish());
        let results = self.transaction(lines, room);
        self.settle(first).await;
        results
    }

    fn transaction(&self, lines: &str, room: Room<'_>) -> Vec<LineResult> {
        let commands = || lines.lines().filter(|line| !is_blank(line));
        let mut results = Vec::new();
        let outcome = self.guarded(|control| {
            let mut draft = control.draft();
            let mut ok = true;
            let mut fits = true;
            for line in commands() {
                if !fits {
                    results.push(LineResult::no_room(line));
                    ok = false;
                    break;
                }
                let result = check_length(line).and_then(|()| in_transaction(&mut draft, line));
                ok &= result.is_ok();
                let result = LineResult::new(line, result.map_err(Failure::from));
                fits = room(result.bytes());
                results.push(result);
            }
            if ok {
                control.commit(draft);
                control.publish();
            }
            Ok(ok)
        });
        match outcome {
            Ok(true) => {}
            Ok(false) => {
                for result in results.iter_mut().filter(|result| result.ok) {
                    result.output.clear();
                }
            }
            Err(problem) => {
                let tried = commands().take(results.len() + 1);
                let failed = |line| LineResult::new(line, Err(problem.in_line(line).into()));
                results = tried.map(failed).collect();
            }
        }
        results
    }
}

/// Waiting is the client's business.
fn not_here(wait: &WaitDrained) -> Problem {
    Problem::new(wait.server.span, "the daemon does not wait, sluicectl does")
        .with_hint("run it with sluicectl, or ask GET /v1/lb/drain now and then")
}

/// Applies one line of a transaction.
fn in_transaction(draft: &mut Draft, line: &str) -> Result<String, CommandError> {
    let applied = config::parse(line).and_then(|command| match command {
        command if command.is_configuration() => draft.apply(&command),
        _ => Err(Problem::new(
            config::Span::new(0, line.len()),
            "only commands that change the configuration can be atomic",
        )),
    });
    applied.map_err(|problem| problem.in_line(line))
}

/// Does a line hold no command?
fn is_blank(line: &str) -> bool {
    line.len() <= MAX_LINE && matches!(config::parse(line), Ok(Command::Blank))
}

impl Control {
    /// Runs a command that ends at once: all but `ping`, `exec`, and those about the configuration as
    /// a whole ([`Command::is_change`]). A command that changes the
    /// configuration is a transaction of its own; it is published with the next command that does
    /// not, or by [`Self::publish`].
    ///
    /// # Errors
    ///
    /// The word that is wrong, why, and what would be right; nothing has changed then.
    pub fn execute(&mut self, command: &Command) -> Result<String, Problem> {
        if command.is_configuration() {
            let mut draft = self.draft();
            let output = draft.apply(command)?;
            self.commit(draft);
            return Ok(output);
        }
        self.publish();
        match command {
            Command::Show { show, json } => return self.show(show, *json),
            Command::TraceAdd { node, count } => self.trace_add(node, count.value)?,
            Command::ClearTrace => self.clear_trace(),
            Command::ClearRuntime => self.clear_runtime(),
            Command::ClearErrors => self.clear_errors(),
            Command::ClearInterfaces => self.clear_interfaces(),
            Command::Debug(debug) => self.break_on_purpose(debug)?,
            Command::WaitDrained(wait) => return Err(not_here(wait)),
            Command::Help { topic } => return Ok(config::grammar::help(topic)),
            _ => {}
        }
        Ok(String::new())
    }
}
