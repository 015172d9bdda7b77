//! The settings of a run: defaults, then a file, then the command line.

mod check;
mod chosen;
mod field;
mod file;
mod given;
mod nearest;

use std::{num::NonZeroU32, path::PathBuf};

pub(crate) use chosen::{Chosen, Place, millionths, money};
use clap::ValueEnum;
pub(crate) use field::Field;
pub(crate) use file::from_file;
pub(crate) use given::Given;
use safer_instruct::{Error, Result};
use serde::{Deserialize, Serialize};

/// All defaults, with what they mean: what `init` writes.
pub(crate) const DEFAULTS: &str = include_str!("run.toml");

/// The settings of a run. What is `None` is not set, or follows from the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) input: Input,
    pub(crate) model: Model,
    pub(crate) induce: Induce,
    pub(crate) respond: Respond,
    pub(crate) judge: Judge,
    pub(crate) guard: Guard,
    pub(crate) filters: Filters,
    pub(crate) run: Run,
    #[serde(default)]
    pub(crate) budget: Budget,
    pub(crate) output: Output,
}

/// Which texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Input {
    pub(crate) path: Option<PathBuf>,
    pub(crate) demo: bool,
    pub(crate) text_column: String,
    pub(crate) id_column: Option<String>,
    pub(crate) category_column: Option<String>,
    pub(crate) limit: Option<u64>,
    pub(crate) skip_bad: bool,
}

/// The model of all stages that name no other one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) base_url: Option<String>,
    pub(crate) key_variable: String,
    pub(crate) endpoints: Vec<String>,
    pub(crate) fields: Vec<String>,
    pub(crate) price_read: f64,
    pub(crate) price_written: f64,
    pub(crate) requests_per_minute: Option<NonZeroU32>,
    pub(crate) tokens_per_minute: Option<NonZeroU32>,
    pub(crate) timeout: u64,
    pub(crate) cache: Option<PathBuf>,
}

/// What a stage says of its model that differs from [`Model`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StageModel {
    pub(crate) model: Option<String>,
    pub(crate) base_url: Option<String>,
    pub(crate) key_variable: Option<String>,
    pub(crate) price_read: Option<f64>,
    pub(crate) price_written: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Induce {
    #[serde(flatten)]
    pub(crate) by: StageModel,
    pub(crate) form: Option<Form>,
    pub(crate) adapter: Option<String>,
    pub(crate) candidates: Option<u32>,
    pub(crate) min_gain: Option<f64>,
    pub(crate) temperature: Option<f64>,
    pub(crate) max_tokens: u32,
    pub(crate) prompt_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Respond {
    #[serde(flatten)]
    pub(crate) by: StageModel,
    pub(crate) adapter: Option<String>,
    pub(crate) candidates: Option<u32>,
    pub(crate) policy_file: Option<PathBuf>,
    pub(crate) temperature: Option<f64>,
    pub(crate) repetition_penalty: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) prompt_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judge {
    #[serde(flatten)]
    pub(crate) by: StageModel,
    pub(crate) form: Option<Judging>,
    pub(crate) probe: Option<PathBuf>,
    pub(crate) policy_file: Option<PathBuf>,
    pub(crate) tie_margin: Option<f64>,
    pub(crate) source_wins: SourceWins,
    pub(crate) prompt_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Guard {
    #[serde(flatten)]
    pub(crate) by: StageModel,
    pub(crate) form: Option<String>,
    pub(crate) policy_file: Option<PathBuf>,
    pub(crate) max_chosen: f64,
    pub(crate) min_rejected: f64,
    pub(crate) max_refusal: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Filters {
    pub(crate) languages: Option<Vec<String>>,
    pub(crate) min_source_chars: usize,
    pub(crate) max_source_chars: usize,
    pub(crate) min_instruction_chars: usize,
    pub(crate) max_instruction_chars: usize,
    pub(crate) keep_about_task: bool,
    pub(crate) max_quoted_share: f64,
    pub(crate) min_distinct_share: f64,
    pub(crate) keep_truncated: bool,
    pub(crate) min_words_beside_refusal: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) draws: u32,
    pub(crate) seed: u64,
    pub(crate) concurrency: u32,
    pub(crate) drain: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Budget {
    pub(crate) money: Option<f64>,
    pub(crate) tokens: Option<u64>,
    pub(crate) requests: Option<u64>,
    pub(crate) minutes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub(crate) folder: PathBuf,
}

/// How instructions are induced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// The paper's template, for models that were tuned in reverse; a server must complete raw text
    Reversed,
    /// By request and example, for instruct models
    Chat,
}

/// How two responses are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Judging {
    /// How likely the model finds either label; a server must give scores
    Likelihood,
    /// The model says which response is better, in both orders
    Pairwise,
    /// A probe of the model's hidden states, which was fitted on labels; for models of this machine
    Probe,
}

/// What happens if the judge finds the source text better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SourceWins {
    /// The text is dropped
    Drop,
    /// The pair is kept with the source text as the chosen side
    Flip,
}

impl Settings {
    /// The defaults, changed by each of `given` in turn.
    pub(crate) fn of(given: &[&Given]) -> Result<Self> {
        let broken = |error: toml::de::Error| Error::Other(error.into());
        let mut table: toml::Table = DEFAULTS.parse().map_err(broken)?;
        for given in given {
            lay_over(&mut table, given.table()?);
        }
        let settings: Self = table.try_into().map_err(broken)?;
        settings.check()?;
        Ok(settings)
    }
}

/// Puts the keys of `over` in the place of those of `table`.
fn lay_over(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(value)) => lay_over(below, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
