//! The command line.

use std::path::PathBuf;

use clap::Parser;
use safer_instruct::{dataset::Existing, hub::ModelSource};

/// Tunes a small model in reverse, from a response to the instruction that it answers, and shows what it has learnt.
#[derive(Debug, Parser)]
#[command(name = "reverse_tune")]
pub(crate) struct Options {
    /// Pairs of instruction and response: JSONL or CSV with such columns, ShareGPT or `messages`; or `sharegpt` for conversations
    /// that are downloaded and have no licence, to measure with [default: pairs of free licence that are downloaded]
    #[arg(long, value_name = "PATH")]
    pub(crate) pairs: Option<PathBuf>,
    /// Passes over bad records of these files, with a word about each [default: the first one ends the run]
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Lets a model write so many pairs itself, and trains on those whose response decides their instruction; what it writes is kept
    /// in `written.jsonl` in the output folder, also by --overwrite
    #[arg(long, value_name = "PAIRS", conflicts_with = "pairs")]
    pub(crate) self_instruct: Option<usize>,
    /// Model that writes them, named as --model [default: the model that is tuned]
    #[arg(long, value_name = "MODEL", requires = "self_instruct")]
    pub(crate) writer: Option<ModelSource>,
    /// Nats a token that a response must make its instruction likelier by; 0 keeps nearly all pairs
    #[arg(
        long,
        value_name = "NATS",
        default_value_t = 0.3,
        allow_negative_numbers = true,
        requires = "self_instruct"
    )]
    pub(crate) grounding: f64,
    /// Pairs to measure on, or `sharegpt` [default: some of --pairs]
    #[arg(long, value_name = "PATH")]
    pub(crate) held_out_pairs: Option<PathBuf>,
    /// How many pairs are held out, to measure on
    #[arg(long, value_name = "PAIRS", default_value_t = 100)]
    pub(crate) held_out: usize,
    /// Train on this many pairs at most
    #[arg(long, value_name = "PAIRS", default_value_t = 1_600)]
    pub(crate) limit: usize,
    /// Model, named as in the quickstart
    #[arg(long, default_value = "smollm2-135m")]
    pub(crate) model: ModelSource,
    /// Folder for downloaded models [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Folder of the adapter
    #[arg(long, value_name = "DIR", default_value = "adapter")]
    pub(crate) output: PathBuf,
    /// Remove the run that is in the folder
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Go on with the run that is in the folder, if it was begun with the same settings
    #[arg(long)]
    pub(crate) resume: bool,
    /// Rank of the adapter: how much it can learn, and how large it is. Alpha is twice as much
    #[arg(long, default_value_t = 16)]
    pub(crate) rank: usize,
    /// Share of what the adapter reads that it does without in each step, so that it learns less by heart
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) dropout: f32,
    /// Highest learning rate
    #[arg(long, value_name = "RATE", default_value_t = 5e-4)]
    pub(crate) learning_rate: f64,
    /// Pairs in a step
    #[arg(long, value_name = "PAIRS", default_value_t = 8)]
    pub(crate) batch: usize,
    /// How often every pair is seen
    #[arg(long, default_value_t = 1)]
    pub(crate) epochs: usize,
    /// Steps [default: what the epochs need]
    #[arg(long)]
    pub(crate) steps: Option<usize>,
    /// End when so many evaluations in a row, of which there is one every 50 steps, are no better than the best [default: never]
    #[arg(long, value_name = "EVALUATIONS")]
    pub(crate) patience: Option<usize>,
    /// Most tokens of a pair; longer responses lose their end
    #[arg(long, value_name = "TOKENS", default_value_t = 320)]
    pub(crate) max_tokens: usize,
    /// Write the adapter in 16 bits
    #[arg(long)]
    pub(crate) half: bool,
    /// Held-out pairs that instructions are induced for, before and after, for the table; 0 for no table
    #[arg(long, value_name = "PAIRS", default_value_t = 100)]
    pub(crate) measure: usize,
    /// Also prints the instructions of the first so many pairs
    #[arg(long, value_name = "PAIRS", default_value_t = 3)]
    pub(crate) show: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

impl Options {
    /// What to do with a run that is in the output folder.
    pub(crate) fn existing(&self) -> Existing {
        match (self.overwrite, self.resume) {
            (true, _) => Existing::Overwrite,
            (_, true) => Existing::Resume,
            _ => Existing::Refuse,
        }
    }
}
