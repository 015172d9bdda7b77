//! How good a probe is, and what it was compared with.

use serde::Serialize;

use crate::measure::Estimate;

/// How good a head is on rows that it was not fitted on.
#[derive(Clone, Debug, Serialize)]
pub struct HeadReport {
    /// The head: `harm`, `refusal` or `preference`.
    pub head: String,
    /// Labels that it was fitted on.
    pub rows: usize,
    /// How many of them say that the thing is so; of pairs all.
    pub positives: usize,
    /// The inverse of the penalty that was chosen: the one with the least cross entropy in the folds.
    pub c: f64,
    /// Five folds: a fifth of the groups is left out in turn.
    pub folds: Comparison,
    /// Each source is left out in turn; `None` if there is one alone.
    pub left_out: Option<Comparison>,
    /// The figure of the folds for fewer labels to fit on.
    pub curve: Vec<CurvePoint>,
    /// The figures on sources that were kept out of the fitting altogether.
    pub measured: Vec<SourceFigure>,
}

impl HeadReport {
    /// The comparison that counts: with each source left out, or that of the folds where there is one source.
    #[must_use]
    pub fn decisive(&self) -> &Comparison {
        self.left_out.as_ref().unwrap_or(&self.folds)
    }

    /// What the figures are.
    #[must_use]
    pub fn figure(&self) -> &'static str {
        if self.head == "preference" {
            "accuracy"
        } else {
            "area under the ROC curve"
        }
    }

    /// How much the figure grew by the second half of the labels; `None` without a curve.
    #[must_use]
    pub fn gain_of_last_half(&self) -> Option<f64> {
        let half = self
            .curve
            .iter()
            .rev()
            .find(|point| point.rows * 2 <= self.rows)?;
        Some(self.folds.probe.value - half.value)
    }
}

/// A probe beside its baselines, on the same rows: areas under the ROC curve, or, of pairs, the share in which the better
/// response has the greater log-odds.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Rows that were measured on.
    pub rows: usize,
    /// The probe, with its interval at 95 %.
    pub probe: Estimate,
    /// The baselines by name.
    pub baselines: Vec<(String, f64)>,
    /// The probe for each source that has rows of both kinds.
    pub sources: Vec<SourceFigure>,
}

impl Comparison {
    /// The baseline with the highest figure.
    #[must_use]
    pub fn best_baseline(&self) -> (&str, f64) {
        let best = self.baselines.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(("none", 0.5), |(name, value)| (name, *value))
    }

    /// Whether the probe is better than each baseline.
    #[must_use]
    pub fn beats_baselines(&self) -> bool {
        self.probe.value > self.best_baseline().1
    }

    /// The mean of the figures of the sources.
    #[must_use]
    pub fn mean_of_sources(&self) -> Option<f64> {
        let count = self.sources.len();
        (count > 0)
            .then(|| self.sources.iter().map(|source| source.value).sum::<f64>() / count as f64)
    }
}

/// The figure of one source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceFigure {
    /// The source.
    pub name: String,
    /// Its rows.
    pub rows: usize,
    /// The figure of the probe on them.
    pub value: f64,
}

/// A point of a learning curve.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CurvePoint {
    /// Labels that were fitted on.
    pub rows: usize,
    /// The figure on those left out.
    pub value: f64,
}
