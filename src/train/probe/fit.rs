//! Fits the heads of a probe, and measures them on what was left out.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::{
    baselines::{length, refusal_rule},
    report::{Comparison, CurvePoint, HeadReport, SourceFigure},
    states::StateTable,
    task::{Kind, Task, check_agreement, groups, shuffled, source},
};
use crate::{
    dataset::LabelRecord,
    error::{Error, Result},
    guards::{HeadCard, ProbeCard, ProbeData, ProbeMeasure, ProbeWeights},
    learn::{Design, Fit, Grams, Problem},
    measure::{PlattScaling, Proportion, auc, delong},
};

const FOLDS: usize = 5;
const CONFIDENCE: f64 = 0.95;
/// Penalties that are tried, as scikit-learn's C.
const PENALTIES: [f64; 5] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2];
/// The penalty of n-grams, and of single numbers: scikit-learn's own.
const BASELINE_C: f64 = 1.0;
/// Points of a learning curve, in labels; after them half of all.
const CURVE: [usize; 3] = [50, 100, 300];
/// Fewest labels of each kind that a head is fitted on.
const FEWEST: usize = 10;

/// Fits probes on labelled responses whose states have been read.
///
/// Each head is a logistic regression with an L2 penalty on the means of the states, each column standardised. The
/// penalty is the one with the least cross entropy in five folds by group; the log-odds of the folds calibrate the
/// probability (Platt scaling), and are what the head is measured by, beside baselines that are fitted in the same
/// folds: the length, a rule for refusals, and n-grams of words.
#[derive(Clone, Debug, Default)]
pub struct ProbeTrainer {
    seed: u64,
    measure_on: Vec<String>,
    licences: BTreeMap<String, String>,
    not_for: Vec<String>,
}

/// A probe that was fitted, and how good it is.
#[derive(Clone, Debug)]
pub struct FittedProbe {
    /// The probe.
    pub weights: ProbeWeights,
    /// Its heads.
    pub heads: Vec<HeadReport>,
    /// Heads that could not be fitted, and why.
    pub left_out: Vec<(String, String)>,
}

impl ProbeTrainer {
    /// Fits on all sources, with seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the seed of the folds. By default 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Measures on some sources and does not fit on them. By default none.
    #[must_use]
    pub fn with_measured_sources(mut self, sources: impl IntoIterator<Item = String>) -> Self {
        self.measure_on = sources.into_iter().collect();
        self
    }

    /// Sets the licence of a source, an SPDX identifier for the card. By default it is unknown.
    #[must_use]
    pub fn with_licence(mut self, source: impl Into<String>, licence: impl Into<String>) -> Self {
        self.licences.insert(source.into(), licence.into());
        self
    }

    /// Adds to the card what the probe must not be used for.
    #[must_use]
    pub fn with_not_for(mut self, sentence: impl Into<String>) -> Self {
        self.not_for.push(sentence.into());
        self
    }

    /// Fits each head that there are labels for.
    ///
    /// # Errors
    /// [`Error::Config`] if no head has enough labels of both kinds, or the states of a response are missing.
    pub fn fit(&self, records: &[LabelRecord], states: &StateTable) -> Result<FittedProbe> {
        let [measured, fitted] = self.divide(records)?;
        let (mut heads, mut weights) = (BTreeMap::new(), BTreeMap::new());
        let (mut reports, mut left_out) = (Vec::new(), Vec::new());
        for kind in Kind::ALL {
            check_agreement(kind, &fitted)?;
            let task = Task::of(kind, &fitted, states)?;
            if let Some(reason) = too_few(&task) {
                left_out.push((kind.name().to_owned(), reason));
                continue;
            }
            let Some((mut report, head, fit)) = self.head(&task) else {
                let reason =
                    "nearly all labels of one kind are of one group, so nothing can be measured";
                left_out.push((kind.name().to_owned(), reason.to_owned()));
                continue;
            };
            report.measured = other_sources(kind, &measured, states, &fit)?;
            heads.insert(kind.name().to_owned(), head);
            weights.insert(kind.name().to_owned(), with_last(&fit, states.hidden()));
            reports.push(report);
        }
        if reports.is_empty() {
            let reasons: Vec<String> = left_out
                .iter()
                .map(|(head, reason)| format!("{head}: {reason}"))
                .collect();
            return Err(Error::config("labels", reasons.join("; ")));
        }
        let mut data: BTreeMap<&str, usize> = BTreeMap::new();
        for record in &fitted {
            *data.entry(source(record)).or_default() += 1;
        }
        let card = ProbeCard {
            format: ProbeCard::FORMAT,
            base: states.model().clone(),
            layers: states.layers().to_vec(),
            hidden: states.hidden(),
            max_tokens: states.max_tokens(),
            heads,
            data: data
                .into_iter()
                .map(|(name, rows)| ProbeData {
                    name: name.to_owned(),
                    rows,
                    licence: self.licences.get(name).cloned().unwrap_or_default(),
                })
                .collect(),
            seed: self.seed,
            measures: reports.iter().flat_map(measures).collect(),
            not_for: self.not_for.clone(),
        };
        Ok(FittedProbe {
            weights: ProbeWeights::new(card, weights)?,
            heads: reports,
            left_out,
        })
    }

    /// The records that are only measured on, and those that are fitted on. What shares a group with these is in neither.
    fn divide<'a>(&self, records: &'a [LabelRecord]) -> Result<[Vec<&'a LabelRecord>; 2]> {
        let sources: BTreeSet<&str> = records.iter().map(source).collect();
        if let Some(name) = self
            .measure_on
            .iter()
            .find(|name| !sources.contains(name.as_str()))
        {
            let there: Vec<&str> = sources.into_iter().collect();
            let reason = format!(
                "no record has the source {name}; there are: {}",
                there.join(", ")
            );
            return Err(Error::config("measure_on", reason));
        }
        let is_measured =
            |record: &LabelRecord| self.measure_on.iter().any(|name| name == source(record));
        let all: Vec<&LabelRecord> = records.iter().collect();
        let groups = groups(&all);
        let of_fitted: BTreeSet<usize> = all
            .iter()
            .zip(&groups)
            .filter(|(record, _)| !is_measured(record))
            .map(|(_, group)| *group)
            .collect();
        let (mut measured, mut fitted) = (Vec::new(), Vec::new());
        for (record, group) in all.into_iter().zip(groups) {
            if !is_measured(record) {
                fitted.push(record);
            } else if !of_fitted.contains(&group) {
                measured.push(record);
            }
        }
        Ok([measured, fitted])
    }

    /// Fits and measures a head; `None` if no fold has labels of both kinds to fit on and to measure on.
    fn head(&self, task: &Task<'_>) -> Option<(HeadReport, HeadCard, Fit)> {
        let folds = task.folds(FOLDS, self.seed);
        let splits = splits_of_folds(&folds);
        let (c, scores) = choose(task, &splits);
        let texts: Vec<Vec<&str>> = task.rows.iter().map(|row| row.texts.clone()).collect();
        let grams = Grams::of(&texts);
        let singles = [
            ("length", length(task)),
            ("refusal rule", refusal_rule(task)),
        ];
        let compare = |scores: Vec<Option<f64>>, splits: &[Split]| {
            let mut baselines = vec![("constant".to_owned(), 0.5)];
            for (name, design) in &singles {
                let scores = left_out_scores(task, design, BASELINE_C, splits);
                baselines.extend(figure(task, &scores).map(|value| ((*name).to_owned(), value)));
            }
            let of_grams = left_out_scores(task, &grams, BASELINE_C, splits);
            baselines.extend(figure(task, &of_grams).map(|value| ("n-grams".to_owned(), value)));
            compared(task, &scores, baselines)
        };
        let by_source = splits_of_sources(task);
        let left_out = by_source.and_then(|splits| {
            let scores = left_out_scores(task, &task.design, c, &splits);
            compare(scores, &splits)
        });
        let curve = curve(task, c, &splits, self.seed);
        let scaling = calibrate(task, &scores);
        let folds = compare(scores, &splits)?;
        let rows: Vec<(usize, bool)> = labelled(task, |_| true);
        let fit = Problem {
            design: &task.design,
            rows: &rows,
            c,
            bias: !task.kind.is_pairwise(),
        }
        .solve();
        let fit = unstandardised(task, &fit);
        let head = HeadCard {
            bias: fit.bias,
            slope: scaling.slope,
            offset: scaling.intercept,
        };
        let report = HeadReport {
            head: task.kind.name().to_owned(),
            rows: task.rows.len(),
            positives: task.counts().0,
            c,
            folds,
            left_out,
            curve,
            measured: Vec::new(),
        };
        Some((report, head, fit))
    }
}

/// The figures of a head on sources that it was not fitted on.
fn other_sources(
    kind: Kind,
    records: &[&LabelRecord],
    states: &StateTable,
    fit: &Fit,
) -> Result<Vec<SourceFigure>> {
    let task = Task::as_read(kind, records, states)?;
    let scores: Vec<Option<f64>> = (0..task.rows.len())
        .map(|row| Some(fit.log_odds(&task.design, row)))
        .collect();
    Ok(figures_of_sources(&task, &scores))
}

/// Why a head cannot be fitted.
fn too_few(task: &Task<'_>) -> Option<String> {
    let (so, not) = task.counts();
    let groups: BTreeSet<usize> = task.rows.iter().map(|row| row.group).collect();
    if so + not == 0 {
        return Some("no labels of this kind".to_owned());
    }
    if task.kind.is_pairwise() && so < FEWEST {
        return Some(format!("{so} pairs, and {FEWEST} are needed"));
    }
    if !task.kind.is_pairwise() && so.min(not) < FEWEST {
        return Some(format!(
            "{so} labels say yes and {not} say no, and {FEWEST} of each are needed"
        ));
    }
    (groups.len() < FOLDS).then(|| {
        format!(
            "the labels are of {} groups (same prompt, response or group), and {FOLDS} are needed: with fewer, what is \
             measured on would be known from the fitting",
            groups.len()
        )
    })
}

/// Rows to measure on, and what may not be fitted on for it.
struct Split {
    measured: Vec<usize>,
    fitted: Vec<usize>,
}

fn splits_of_folds(folds: &[usize]) -> Vec<Split> {
    let rows = |keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
        let places = folds.iter().enumerate();
        places
            .filter(|(_, fold)| keep(**fold))
            .map(|(row, _)| row)
            .collect()
    };
    (0..FOLDS)
        .map(|fold| Split {
            measured: rows(&|of| of == fold),
            fitted: rows(&|of| of != fold),
        })
        .collect()
}

/// Each source in turn; rows of others that belong to one of its groups are not fitted on.
fn splits_of_sources(task: &Task<'_>) -> Option<Vec<Split>> {
    let places = |keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
        (0..task.rows.len()).filter(|row| keep(*row)).collect()
    };
    let of = |row: usize| task.rows.get(row);
    let mut splits = Vec::new();
    for place in 0..task.sources.len() {
        let measured = places(&|row| of(row).is_some_and(|row| row.source == place));
        if measured.is_empty() {
            continue;
        }
        let groups: BTreeSet<usize> = measured
            .iter()
            .filter_map(|row| of(*row))
            .map(|row| row.group)
            .collect();
        let fitted = places(&|row| {
            of(row).is_some_and(|row| row.source != place && !groups.contains(&row.group))
        });
        splits.push(Split { measured, fitted });
    }
    (splits.len() > 1).then_some(splits)
}

fn labelled(task: &Task<'_>, keep: impl Fn(usize) -> bool) -> Vec<(usize, bool)> {
    let rows = task.rows.iter().enumerate();
    rows.filter(|(at, _)| keep(*at))
        .map(|(at, row)| (at, row.so))
        .collect()
}

/// The log-odds of every row that is measured on, by a model that was fitted without it; the share of yes is taken to be
/// that of all rows.
fn left_out_scores<D: Design>(
    task: &Task<'_>,
    design: &D,
    c: f64,
    splits: &[Split],
) -> Vec<Option<f64>> {
    let (all_so, all_not) = task.counts();
    let prior = (all_so as f64 / all_not.max(1) as f64).ln();
    let found: Vec<Vec<(usize, f64)>> = splits
        .par_iter()
        .map(|split| {
            let rows: Vec<(usize, bool)> = split
                .fitted
                .iter()
                .filter_map(|row| Some((*row, task.rows.get(*row)?.so)))
                .collect();
            let (so, not) =
                rows.iter().fold(
                    (0, 0),
                    |(so, not), (_, is)| {
                        if *is { (so + 1, not) } else { (so, not + 1) }
                    },
                );
            if so == 0 || (not == 0 && !task.kind.is_pairwise()) {
                return Vec::new();
            }
            let fit = Problem {
                design,
                rows: &rows,
                c,
                bias: !task.kind.is_pairwise(),
            }
            .solve();
            // The bias follows the share of yes among the fitted; between splits it would be the difference of two shares.
            let shift = if task.kind.is_pairwise() {
                0.0
            } else {
                prior - (so as f64 / not as f64).ln()
            };
            let scores = split
                .measured
                .iter()
                .map(|row| (*row, fit.log_odds(design, *row) + shift));
            scores.collect()
        })
        .collect();
    let mut scores = vec![None; task.rows.len()];
    for (row, score) in found.into_iter().flatten() {
        if let Some(slot) = scores.get_mut(row) {
            *slot = Some(score);
        }
    }
    scores
}

/// The penalty with the least cross entropy on what was left out, and the log-odds with it.
fn choose(task: &Task<'_>, splits: &[Split]) -> (f64, Vec<Option<f64>>) {
    let tried = PENALTIES.into_iter().map(|c| {
        let scores = left_out_scores(task, &task.design, c, splits);
        let losses = task.rows.iter().zip(&scores).map(|(row, score)| {
            let z = score.unwrap_or_default();
            let target = f64::from(u8::from(row.so));
            z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z
        });
        (losses.sum::<f64>(), c, scores)
    });
    let best = tried.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or((1e-3, Vec::new()), |(_, c, scores)| (c, scores))
}

/// The area under the ROC curve; of pairs, the share of positive log-odds, ties by half.
fn figure(task: &Task<'_>, scores: &[Option<f64>]) -> Option<f64> {
    let scored = scored(task, scores, |_| true);
    if task.kind.is_pairwise() {
        return (!scored.is_empty()).then(|| hits_of(&scored));
    }
    auc(&scored)
}

fn scored(
    task: &Task<'_>,
    scores: &[Option<f64>],
    keep: impl Fn(usize) -> bool,
) -> Vec<(f64, bool)> {
    let rows = task.rows.iter().zip(scores);
    rows.filter(|(row, _)| keep(row.source))
        .filter_map(|(row, score)| Some(((*score)?, row.so)))
        .collect()
}

fn compared(
    task: &Task<'_>,
    scores: &[Option<f64>],
    baselines: Vec<(String, f64)>,
) -> Option<Comparison> {
    let all = scored(task, scores, |_| true);
    let estimate = |scored: &[(f64, bool)]| {
        if task.kind.is_pairwise() {
            let hits = scored.iter().map(|(score, _)| *score > 0.0);
            Proportion::of(hits)?.wilson(CONFIDENCE).map(|mut found| {
                // The middle of a Wilson interval is not the rate.
                found.value = hits_of(scored);
                found
            })
        } else {
            delong(scored, CONFIDENCE)
        }
    };
    Some(Comparison {
        rows: all.len(),
        probe: estimate(&all)?,
        baselines,
        sources: figures_of_sources(task, scores),
    })
}

fn figures_of_sources(task: &Task<'_>, scores: &[Option<f64>]) -> Vec<SourceFigure> {
    let figures = task.sources.iter().enumerate().filter_map(|(at, name)| {
        let scored = scored(task, scores, |source| source == at);
        let value = if task.kind.is_pairwise() {
            (!scored.is_empty()).then(|| hits_of(&scored))
        } else {
            auc(&scored)
        };
        value.map(|value| SourceFigure {
            name: name.clone(),
            rows: scored.len(),
            value,
        })
    });
    figures.collect()
}

/// The share of pairs with positive log-odds; a tie is half a hit.
fn hits_of(scored: &[(f64, bool)]) -> f64 {
    let hits = scored.iter().map(|(score, _)| match score {
        0.0 => 0.5,
        score => f64::from(u8::from(*score > 0.0)),
    });
    hits.sum::<f64>() / scored.len().max(1) as f64
}

/// The figure of the folds with fewer rows to fit on, chosen by the seed.
fn curve(task: &Task<'_>, c: f64, splits: &[Split], seed: u64) -> Vec<CurvePoint> {
    let all = task.rows.len();
    let counts = CURVE
        .into_iter()
        .chain([all / 2])
        .filter(|count| count * 5 < all * 4);
    let counts: BTreeSet<usize> = counts.collect();
    counts
        .into_iter()
        .filter_map(|count| {
            let fewer: Vec<Split> = splits
                .iter()
                .map(|split| {
                    let mut fitted = split.fitted.clone();
                    fitted.sort_by_key(|row| shuffled(seed, *row));
                    fitted.truncate(count);
                    Split {
                        measured: split.measured.clone(),
                        fitted,
                    }
                })
                .collect();
            // With the same c the penalty weighs more on fewer rows, as it should.
            let scores = left_out_scores(task, &task.design, c, &fewer);
            Some(CurvePoint {
                rows: count,
                value: figure(task, &scores)?,
            })
        })
        .collect()
}

/// The probability of log-odds that were left out. Of pairs, both orders count, so that no order is preferred.
fn calibrate(task: &Task<'_>, scores: &[Option<f64>]) -> PlattScaling {
    let mut items = scored(task, scores, |_| true);
    if task.kind.is_pairwise() {
        let turned: Vec<(f64, bool)> = items.iter().map(|(score, _)| (-score, false)).collect();
        items.extend(turned);
    }
    let as_it_is = PlattScaling {
        slope: 1.0,
        intercept: 0.0,
    };
    PlattScaling::fit(&items).unwrap_or(as_it_is)
}

/// The same model on states as they come.
fn unstandardised(task: &Task<'_>, fit: &Fit) -> Fit {
    let weights: Vec<f64> = fit
        .weights
        .iter()
        .zip(&task.scales)
        .map(|(weight, scale)| weight / scale)
        .collect();
    let taken_off: f64 = weights
        .iter()
        .zip(&task.means)
        .map(|(w, mean)| w * mean)
        .sum();
    Fit {
        bias: fit.bias - taken_off,
        weights,
    }
}

/// Weights `(layers, 2, hidden)`: of the means, and 0 of the last states, which the fit does not use.
fn with_last(fit: &Fit, hidden: usize) -> Vec<f32> {
    let layers = fit.weights.chunks(hidden.max(1));
    layers
        .flat_map(|layer| {
            let means = layer.iter().map(|weight| *weight as f32);
            means.chain(std::iter::repeat_n(0.0, layer.len()))
        })
        .collect()
}

/// The figures of a head for the card.
fn measures(report: &HeadReport) -> Vec<ProbeMeasure> {
    let of = |compared: &Comparison, how: &str| {
        let (baseline, baseline_value) = compared.best_baseline();
        ProbeMeasure {
            head: report.head.clone(),
            what: format!("{}, {} labels, {how}", report.figure(), compared.rows),
            value: compared.probe.value,
            interval: [compared.probe.low, compared.probe.high],
            baseline: baseline.to_owned(),
            baseline_value,
        }
    };
    let left_out = report.left_out.as_ref();
    left_out
        .map(|compared| of(compared, "each source left out in turn"))
        .into_iter()
        .chain([of(&report.folds, "five folds by group")])
        .collect()
}
