//! The command line.

use std::path::PathBuf;

use clap::Parser;
use safer_instruct::{dataset::Existing, hub::ModelSource};

/// Tunes a small model on preference pairs: first on the chosen responses, then to prefer them to the rejected ones.
#[derive(Debug, Parser)]
#[command(name = "preference_tune")]
pub(crate) struct Options {
    /// JSONL with the columns `prompt`, `chosen` and `rejected`, such as the quickstart's pairs.jsonl; others are passed over [default:
    /// pairs that prefer short answers, made of texts that are downloaded]
    #[arg(long, value_name = "PATH")]
    pub(crate) pairs: Option<PathBuf>,
    /// How many pairs are held out, to measure on [default: 40, or one in five if that is less]
    #[arg(long, value_name = "PAIRS")]
    pub(crate) held_out: Option<usize>,
    /// Train on this many pairs at most
    #[arg(long, value_name = "PAIRS", default_value_t = 200)]
    pub(crate) limit: usize,
    /// Model, named as in the quickstart
    #[arg(long, default_value = "smollm2-135m")]
    pub(crate) model: ModelSource,
    /// Folder for downloaded models [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Folder for the adapters `sft` and `dpo`
    #[arg(long, value_name = "DIR", default_value = "preference-adapter")]
    pub(crate) output: PathBuf,
    /// Remove the runs that are in the folder
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Go on with the runs that are in the folder, if they were begun with the same settings
    #[arg(long)]
    pub(crate) resume: bool,
    /// Rank of the adapter; alpha is twice as much
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
    /// How near the model is held to where it began
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
    /// Answers to held-out prompts that are written before and after, for the table; 0 for none
    #[arg(long, value_name = "PROMPTS", default_value_t = 40)]
    pub(crate) measure: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

impl Options {
    /// What to do with runs that are in the output folder.
    pub(crate) fn existing(&self) -> Existing {
        match (self.overwrite, self.resume) {
            (true, _) => Existing::Overwrite,
            (_, true) => Existing::Resume,
            _ => Existing::Refuse,
        }
    }
}
