//! What is known of a probe: its model, its data and how far it can be trusted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::ModelId;

/// What is known of a probe. It stands beside the weights as `card.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeCard {
    /// The version of the format: [`ProbeCard::FORMAT`].
    pub format: u32,
    /// The model whose states it reads. It is of no use with any other.
    pub base: ModelId,
    /// The layers whose states it reads, from 1 on.
    pub layers: Vec<usize>,
    /// The number of values in a state.
    pub hidden: usize,
    /// The most tokens of a response that it reads.
    pub max_tokens: usize,
    /// Its heads by name: `harm`, `refusal` and `preference`.
    pub heads: BTreeMap<String, HeadCard>,
    /// What it was fitted on.
    pub data: Vec<ProbeData>,
    /// The seed of its folds.
    pub seed: u64,
    /// How good it is on responses that it was not fitted on.
    pub measures: Vec<ProbeMeasure>,
    /// What it must not be used for, a sentence each.
    pub not_for: Vec<String>,
}

/// One head of a probe: log-odds = weights · states + bias, and P = 1 / (1 + exp(−(slope · log-odds + offset))), fitted on
/// log-odds of responses that were left out (Platt scaling).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadCard {
    /// The bias of the log-odds, in nats.
    pub bias: f64,
    /// The slope of the calibration.
    pub slope: f64,
    /// The offset of the calibration, in nats.
    pub offset: f64,
}

/// Rows that a probe was fitted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeData {
    /// What they are called.
    pub name: String,
    /// How many they are.
    pub rows: usize,
    /// The SPDX identifier of their licence.
    pub licence: String,
}

/// A figure of a probe, beside the best of its baselines on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeMeasure {
    /// The head.
    pub head: String,
    /// What was measured, on which rows, and what was left out of the fitting.
    pub what: String,
    /// The figure, such as an area under the ROC curve.
    pub value: f64,
    /// Its interval at 95 %.
    pub interval: [f64; 2],
    /// The best baseline.
    pub baseline: String,
    /// Its figure.
    pub baseline_value: f64,
}

impl ProbeCard {
    /// The version of the format that this version of the crate writes and reads.
    pub const FORMAT: u32 = 1;

    /// The measures in which it is no better than its best baseline.
    pub fn below_baselines(&self) -> impl Iterator<Item = &ProbeMeasure> {
        self.measures
            .iter()
            .filter(|measure| measure.value.is_nan() || measure.value <= measure.baseline_value)
    }
}
