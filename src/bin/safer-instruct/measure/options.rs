//! The options of `measure`.

use std::path::PathBuf;

use clap::Args;

use crate::training::Model;

/// What to measure, and on what.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Pairs of instruction and response: JSONL or CSV with these columns, ShareGPT or `messages` [default:
    /// conversations that are downloaded]
    #[arg(long, value_name = "PATH")]
    pub(super) pairs: Option<PathBuf>,
    /// Skip bad records of the file and report each [default: the first one ends the command]
    #[arg(long)]
    pub(super) skip_bad: bool,
    /// Measure on this many pairs
    #[arg(long, value_name = "PAIRS", default_value_t = 200)]
    pub(super) count: usize,
    #[command(flatten)]
    pub(super) model: Model,
    /// Adapter of the model for the reversed template, a folder as `tune` or PEFT writes it
    #[arg(long, value_name = "DIR")]
    pub(super) adapter: Option<PathBuf>,
    /// How many instructions best-of chooses from
    #[arg(long, default_value_t = 4)]
    pub(super) candidates: u32,
    /// Most tokens of an instruction
    #[arg(long, value_name = "TOKENS", default_value_t = 64)]
    pub(super) max_tokens: usize,
    /// Responses that are worked on at once
    #[arg(long, default_value_t = 16)]
    pub(super) concurrency: usize,
    /// Seed of the choice of pairs and of sampling
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// Also write the pairs that are measured on to this JSONL file; `run` reads it with `--text-column response`
    #[arg(long, value_name = "PATH")]
    pub(super) save: Option<PathBuf>,
    /// Also print the instructions that were induced for the first pairs
    #[arg(long, value_name = "PAIRS", default_value_t = 0)]
    pub(super) show: usize,
}
