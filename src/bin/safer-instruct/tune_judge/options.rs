//! The options of `tune-judge`.

use std::path::PathBuf;

use clap::Args;

use crate::training::Model;

/// What to fit a judge on, and where to.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Labels: JSONL or CSV with `prompt`, `response` and `harmful` or `refusal`, or with `prompt`, `chosen` and
    /// `rejected`; `source` and `group` may be there too. May be given several times
    #[arg(long, value_name = "PATH", required = true)]
    pub(super) labels: Vec<PathBuf>,
    /// Skip bad records of these files and report each [default: the first one ends the command]
    #[arg(long)]
    pub(super) skip_bad: bool,
    #[command(flatten)]
    pub(super) model: Model,
    /// Folder of the judge
    #[arg(long, value_name = "DIR", default_value = "judge")]
    pub(super) output: PathBuf,
    /// Layers whose states are read, from 1 on [default: four in the middle of the model]
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    pub(super) layers: Option<Vec<usize>>,
    /// Most tokens of a response that are read
    #[arg(long, value_name = "TOKENS", default_value_t = 160)]
    pub(super) max_tokens: usize,
    /// Licence of a source of labels, an SPDX identifier for the card, as SOURCE=LICENCE; `name-*` names all sources that
    /// begin so. May be given several times
    #[arg(long, value_name = "SOURCE=LICENCE")]
    pub(super) licence: Vec<String>,
    /// Sources that are measured on, and not fitted on
    #[arg(long, value_name = "SOURCES", value_delimiter = ',')]
    pub(super) measure_on: Vec<String>,
    /// Keep the judge even if a baseline does as well
    #[arg(long)]
    pub(super) force: bool,
    /// Seed of the folds
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
}
