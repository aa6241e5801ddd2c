//! The sticky tables to start with.

use std::path::PathBuf;

use balancer::{HashKey, StickyOwner};
use config::{Command, LbConf, defaults};

use super::start::StartError;
use crate::compile::{LbCompiler, new_instance_key, new_sticky_owner};
use crate::control::TscBase;
use crate::reload::Checked;
use crate::state::{Keeper, Opened, Situation};

/// What tables are to be like, and where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyPlan {
    /// Buckets of each worker's.
    pub buckets: u32,
    /// Of the cluster's hash key.
    pub fingerprint: String,
    /// Where flows outlive the daemon (`[state] dir`).
    pub dir: Option<PathBuf>,
}

/// Tables, in the order of the workers.
pub(super) struct StickyTables {
    pub(super) owners: Vec<StickyOwner>,
    pub(super) keeper: Option<Keeper>,
    /// The time by which flows expire.
    pub(super) clock: TscBase,
}

impl StickyPlan {
    /// By the configuration file and its command file: what they set last is what kept tables have
    /// to agree with.
    ///
    /// # Errors
    ///
    /// A hash key that cannot be read.
    pub fn new(checked: &Checked) -> Result<Self, String> {
        let state = checked.startup.state.as_ref();
        let mut plan = Self {
            buckets: defaults::BUCKETS,
            fingerprint: HashKey::default().fingerprint(),
            dir: state.map(|state| state.dir.value.clone()),
        };
        for command in checked.commands() {
            if let Command::LbConf(conf) = command {
                plan.follow(conf)?;
            }
        }
        Ok(plan)
    }

    fn follow(&mut self, conf: &LbConf) -> Result<(), String> {
        if let Some(buckets) = &conf.buckets {
            self.buckets = buckets.value;
        }
        if let Some(file) = &conf.hash_key_file {
            self.fingerprint = LbCompiler::read_key(&file.value)?.fingerprint();
        }
        Ok(())
    }

    /// Makes the tables of so many workers, or opens those that were kept. `now` is the present time.
    pub(super) fn open(&self, workers: usize, now: TscBase) -> Result<StickyTables, StartError> {
        let Some(dir) = &self.dir else {
            let instance = new_instance_key()?;
            let owners = (0..workers).map(|_| new_sticky_owner(self.buckets, instance));
            let owners = owners.collect::<Result<_, _>>()?;
            return Ok(StickyTables { owners, keeper: None, clock: now });
        };
        let time = (now.start, now.hz);
        let situation = Situation::here(workers, self.buckets, &self.fingerprint, time)?;
        let Opened { keeper, owners, tsc_start, tsc_hz } = Opened::new(dir, &situation)?;
        let clock = TscBase { start: tsc_start, hz: tsc_hz };
        Ok(StickyTables { owners, keeper: Some(keeper), clock })
    }
}
