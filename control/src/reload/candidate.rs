//! [`Candidate`]: a configuration that the running one may become.

use std::path::{Path, PathBuf};

use balancer::HashKey;
use config::{Command, LbAs, Problem, Span, Startup, Statement, VipKey};
use dataplane::interface::{MacAddress, PortId};

use super::Mistakes;
use crate::accounts::Accounts;
use crate::control::Draft;
use crate::execute::MAX_NESTING;
use crate::model::Model;
use crate::privileges;
use crate::runtime::Plan;

/// Where a configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file on this machine.
    File(PathBuf),
    /// A text that somebody sent.
    Text(String),
}

impl Source {
    fn read(self) -> Result<(String, String), Mistakes> {
        match self {
            Self::File(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| Mistakes::unreadable(&name, &error.to_string()))?;
                Ok((name, text))
            }
            Self::Text(text) => Ok(("request".to_owned(), text)),
        }
    }
}

/// A file that would do for a start.
pub struct Checked {
    /// What it says.
    pub startup: Startup,
    /// What a start would make of it.
    pub plan: Plan,
    /// Its name.
    name: String,
    /// The configuration commands of its `exec` file and of those that it calls.
    script: Vec<Command>,
}

/// The state that a file asks for, on the devices that are running.
#[derive(Debug)]
pub struct Candidate {
    /// The file's name.
    pub name: String,
    /// What it says.
    pub startup: Startup,
    /// The state.
    pub model: Model,
    /// The key of the flow hash.
    pub hash_key: HashKey,
    /// Commands of the file that need a device that is not running.
    pub waiting: Vec<String>,
}

impl Checked {
    /// Reads a configuration and checks it as far as that is possible without starting anything.
    /// The CPUs are those that the daemon may use.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn read(source: Source, cpus: &[u16]) -> Result<Self, Mistakes> {
        let (name, text) = source.read()?;
        let mistakes = |problems| Mistakes::of(&name, &text, problems);
        let startup = Startup::parse(&text).map_err(mistakes)?;
        let mut trial = Trial::on(box_with_devices(&startup));
        let problems = trial.statements(&startup.commands);
        if !problems.is_empty() {
            return Err(mistakes(problems));
        }
        let mut script = Vec::new();
        if let Some(file) = &startup.unix.exec {
            let text = std::fs::read_to_string(&file.value).map_err(|error| {
                let reason = format!("cannot read {}: {error}", file.value.display());
                mistakes(vec![Problem::new(file.span, reason)])
            })?;
            let mut wrong = Mistakes::default();
            read_script(&file.value, &text, 0, &mut trial, &mut script, &mut wrong);
            if !wrong.is_empty() {
                return Err(wrong);
            }
        }
        privileges::identity(&startup, &Accounts::here())
            .map_err(|problem| mistakes(vec![problem]))?;
        let plan = Plan::new(&startup, cpus).map_err(|problem| mistakes(vec![problem]))?;
        Ok(Self { startup, plan, name, script })
    }

    /// All commands of the file and of its `exec` file, as a start carries them out.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        let statements = self.startup.commands.iter().map(|statement| &statement.command);
        statements.chain(&self.script)
    }

    /// The state it asks for on the devices of `running`. What needs a device that is not there is
    /// left out.
    pub fn onto(self, running: &Model) -> Candidate {
        let mut trial = Trial::on(running.unconfigured());
        let mut waiting = Vec::new();
        for command in self.commands() {
            if trial.apply(command).is_err() {
                waiting.push(command.to_string());
            }
        }
        let hash_key = match &trial.model.lb.settings.hash_key_file {
            Some(_) => trial.hash_key.unwrap_or_default(),
            None => HashKey::default(),
        };
        let Self { name, startup, .. } = self;
        Candidate { name, startup, model: trial.model, hash_key, waiting }
    }
}

/// Reads the commands of a file and of those it calls, applies them, and notes what is wrong.
/// Commands that are not configuration are for the start only.
fn read_script(
    path: &Path,
    text: &str,
    depth: usize,
    trial: &mut Trial,
    script: &mut Vec<Command>,
    wrong: &mut Mistakes,
) {
    let mut problems = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let done = config::parse(line.trim_end()).and_then(|command| match command {
            Command::Exec { file } => {
                if depth + 1 >= MAX_NESTING {
                    let reason =
                        format!("command files call each other more than {MAX_NESTING} deep");
                    return Err(Problem::new(file.span, reason));
                }
                let text = std::fs::read_to_string(&file.value).map_err(|error| {
                    let reason = format!("cannot read {}: {error}", file.value.display());
                    Problem::new(file.span, reason)
                })?;
                read_script(&file.value, &text, depth + 1, trial, script, wrong);
                Ok(())
            }
            command => {
                trial.apply(&command)?;
                script.extend(Some(command).filter(Command::is_configuration));
                Ok(())
            }
        });
        if let Err(mut problem) = done {
            let Span { start: from, end: to } = problem.span;
            problem.span = Span::new(start + from, start + to);
            problem.related.clear();
            problems.push(problem);
        }
        start += line.len();
    }
    if !problems.is_empty() {
        wrong.extend(Mistakes::of(&path.display().to_string(), text, problems));
    }
}

/// A box that commands are tried on, one after the other.
struct Trial {
    model: Model,
    hash_key: Option<HashKey>,
}

impl Trial {
    fn on(model: Model) -> Self {
        Self { model, hash_key: None }
    }

    /// Applies a command; one that fails changes nothing.
    fn apply(&mut self, command: &Command) -> Result<(), Problem> {
        let mut draft = Draft::of(self.model.clone());
        draft.apply(command)?;
        let (model, hash_key) = draft.into_parts();
        self.model = model;
        self.hash_key = hash_key.or(self.hash_key.take());
        Ok(())
    }

    /// What is wrong with the commands of a file.
    fn statements(&mut self, statements: &[Statement]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut failed_vips: Vec<VipKey> = Vec::new();
        for statement in statements {
            if let Command::LbAs(LbAs { vip, .. }) = &statement.command
                && failed_vips.contains(vip)
            {
                // Only follows from the VIP's own problem.
                continue;
            }
            if let Err(mut problem) = self.apply(&statement.command) {
                if problem.span == Span::default() {
                    problem.span = statement.span;
                }
                if let Command::LbVipAdd(vip) = &statement.command {
                    failed_vips.push(vip.key);
                }
                problems.push(problem);
            }
        }
        problems
    }
}

/// An unconfigured box with the file's devices.
fn box_with_devices(startup: &Startup) -> Model {
    let mut model = Model::default();
    for (port, dev) in startup.dpdk.devs.iter().enumerate() {
        let mtu = config::defaults::MTU;
        model.add_device(&dev.name, PortId(port as u16), MacAddress::default(), mtu);
    }
    if let Some(punt) = &startup.punt {
        let port = PortId(startup.dpdk.devs.len() as u16);
        model.add_punt(&punt.tap, port, MacAddress::default());
    }
    model
}
