//! The commands.

use clap::{Parser, Subcommand};

use crate::{
    audit, completions, export, init, measure, merge, models, prefer, run, status, tune, tune_judge,
};

/// Makes preference pairs {prompt, chosen, rejected} of texts that should not be said
///
/// Begin with `safer-instruct run --demo`, or with `safer-instruct run --input FILE`. Exit codes: 0 done, 1 failed, 2
/// bad arguments, 3 over budget, 130 stopped with Ctrl-C or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "safer-instruct", version, propagate_version = true)]
pub(crate) struct Program {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes pairs of texts, with a model of this machine or a served one
    Run(run::Begin),
    /// Goes on with a run that was stopped or killed
    Resume(run::GoOn),
    /// Works on the texts of a run that failed, and on no others
    Retry(run::GoOn),
    /// Shows the progress of a run, also while it works
    Status(status::Options),
    /// Writes the files of the outcomes that a run has so far
    Export(export::Options),
    /// Measures a set of preference pairs: how varied, how safe, how easily the sides are told apart
    Audit(audit::Options),
    /// Tunes a small model in reverse, from a response to the instruction that it answers
    Tune(tune::Options),
    /// Fits a judge on human labels, and says how far it can be trusted
    TuneJudge(tune_judge::Options),
    /// Tunes a small model on preference pairs: first on the chosen responses, then by DPO
    Prefer(prefer::Options),
    /// Merges an adapter into its model and writes one GGUF file, for llama.cpp and others
    Merge(merge::Options),
    /// Measures how good the instructions are that a model induces
    Measure(measure::Options),
    /// Writes a file of settings with all defaults and what they mean
    Init(init::Options),
    /// Lists the models that are known by name
    Models(models::Options),
    /// Prints completions of the command line for a shell
    Completions(completions::Options),
}
