//! The options of `prefer`.

use std::path::PathBuf;

use clap::Args;

use crate::training::{Model, OnExisting};

/// What to tune on, how, and where to.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// JSONL with the columns `prompt`, `chosen` and `rejected`, such as the pairs.jsonl of a run; other columns are
    /// ignored [default: pairs that prefer short answers, made of texts that are downloaded]
    #[arg(long, value_name = "PATH")]
    pub(crate) pairs: Option<PathBuf>,
    /// Hold out this many pairs, to measure on [default: 40, or one in five if that is less]
    #[arg(long, value_name = "PAIRS")]
    pub(crate) held_out: Option<usize>,
    /// Train on this many pairs at most
    #[arg(long, value_name = "PAIRS", default_value_t = 200)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) model: Model,
    /// Folder for the adapters `sft` and `dpo`
    #[arg(long, value_name = "DIR", default_value = "preference-adapter")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) existing: OnExisting,
    /// Rank of the adapter; alpha is twice the rank
    #[arg(long, default_value_t = 16)]
    pub(crate) rank: usize,
    /// Epochs on the chosen responses; 0 leaves this part out
    #[arg(long, value_name = "EPOCHS", default_value_t = 1)]
    pub(crate) sft_epochs: usize,
    /// Epochs on the preferences
    #[arg(long, value_name = "EPOCHS", default_value_t = 1)]
    pub(crate) epochs: usize,
    /// Highest learning rate on the chosen responses
    #[arg(long, value_name = "RATE", default_value_t = 2e-4)]
    pub(crate) sft_learning_rate: f64,
    /// Highest learning rate on the preferences
    #[arg(long, value_name = "RATE", default_value_t = 2e-5)]
    pub(crate) learning_rate: f64,
    /// Beta of DPO: how closely the model is held to the one that this part begins with
    #[arg(long, default_value_t = 0.1)]
    pub(crate) beta: f64,
    /// Share of the preferences that is taken to be wrong
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) label_smoothing: f64,
    /// Pairs in a step
    #[arg(long, value_name = "PAIRS", default_value_t = 8)]
    pub(crate) batch: usize,
    /// Most tokens of a prompt and a response; longer pairs are left out
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    pub(crate) max_tokens: usize,
    /// Write the adapters in 16 bits
    #[arg(long)]
    pub(crate) half: bool,
    /// Answer this many held-out prompts with each model, for the table; 0 for no table
    #[arg(long, value_name = "PROMPTS", default_value_t = 40)]
    pub(crate) measure: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}
