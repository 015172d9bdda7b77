//! The options of `tune`.

use std::path::PathBuf;

use clap::Args;
use safer_instruct::hub::ModelSource;

use crate::training::{Model, OnExisting};

/// What to tune on, how, and where to.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Pairs of instruction and response: JSONL or CSV with these columns, ShareGPT or `messages`; or `sharegpt`:
    /// conversations that are downloaded, which have no licence and serve to measure [default: pairs of free licence
    /// that are downloaded]
    #[arg(long, value_name = "PATH")]
    pub(crate) pairs: Option<PathBuf>,
    /// Skip bad records of these files and report each [default: the first one ends the run]
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Let a model write this many pairs itself, and train on those whose response decides their instruction. What it
    /// writes is kept in `written.jsonl` in the output folder, even with --overwrite
    #[arg(long, value_name = "PAIRS", conflicts_with = "pairs")]
    pub(crate) self_instruct: Option<usize>,
    /// Model that writes them, named as for --model [default: the model that is tuned]
    #[arg(long, value_name = "MODEL", requires = "self_instruct")]
    pub(crate) writer: Option<ModelSource>,
    /// How much likelier a response must make its instruction, in nats a token; 0 keeps nearly all pairs
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
    /// Hold out this many pairs, to measure on
    #[arg(long, value_name = "PAIRS", default_value_t = 100)]
    pub(crate) held_out: usize,
    /// Train on this many pairs at most
    #[arg(long, value_name = "PAIRS", default_value_t = 1_600)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) model: Model,
    /// Folder of the adapter
    #[arg(long, value_name = "DIR", default_value = "adapter")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) existing: OnExisting,
    /// Rank of the adapter: how much it can learn, and how large it is. Alpha is twice the rank
    #[arg(long, default_value_t = 16)]
    pub(crate) rank: usize,
    /// Share of the adapter's inputs that each step leaves out, against overfitting
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
    /// Steps [default: as many as the epochs need]
    #[arg(long)]
    pub(crate) steps: Option<usize>,
    /// End after this many evaluations in a row without a lower held-out loss; there is one every 50 steps [default:
    /// never]
    #[arg(long, value_name = "EVALUATIONS")]
    pub(crate) patience: Option<usize>,
    /// Most tokens of a pair; longer responses are cut at their end
    #[arg(long, value_name = "TOKENS", default_value_t = 320)]
    pub(crate) max_tokens: usize,
    /// Write the adapter in 16 bits
    #[arg(long)]
    pub(crate) half: bool,
    /// Induce the instructions of this many held-out pairs, before and after, for the table; 0 for no table
    #[arg(long, value_name = "PAIRS", default_value_t = 100)]
    pub(crate) measure: usize,
    /// Also print the instructions of the first pairs of the table
    #[arg(long, value_name = "PAIRS", default_value_t = 3)]
    pub(crate) show: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}
