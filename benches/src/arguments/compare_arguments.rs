//! [`CompareArguments`].

use std::path::PathBuf;

use super::numbers::percent;

/// `sluice-bench compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArguments {
    /// Report of before
    pub before: PathBuf,
    /// Report of after
    pub after: PathBuf,
    /// Percent by which a case may be worse
    #[arg(long, default_value_t = 5.0, value_parser = percent)]
    pub threshold: f64,
}
