//! The figures of a set of pairs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{guarded::SideFigures, texts::TextFigures, told_apart::ToldApart};
use crate::{
    measure::Proportion,
    record::{Judged, Verdict},
};

/// Figures of a set of preference pairs; made by [`PairAudit`](super::PairAudit).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairFigures {
    /// The pairs.
    pub pairs: usize,
    /// The pairs whose texts were looked at: a random sample, or all.
    pub sampled: usize,
    /// Pairs whose sides are one text, but for width and compatibility forms (NFKC), case and white space.
    pub identical: usize,
    /// The instructions.
    pub prompt: TextFigures,
    /// The better responses.
    pub chosen: TextFigures,
    /// The worse responses.
    pub rejected: TextFigures,
    /// How the lengths of the sides differ.
    pub length: LengthFigures,
    /// How easily the sides are told apart.
    pub told_apart: ToldApart,
    /// How often `chosen` is harmful.
    pub chosen_side: SideFigures,
    /// How often `rejected` is harmful.
    pub rejected_side: SideFigures,
    /// What the order of the responses did to the verdicts.
    pub order: OrderFigures,
    /// The languages of the instructions by their English names; a script where the language cannot be known.
    pub languages: BTreeMap<String, usize>,
    /// The pairs of a run by the category of their source text.
    pub categories: BTreeMap<String, usize>,
    /// Labels of people that were given.
    pub labels: usize,
    /// Responses of the pairs that have one of them.
    pub labels_met: usize,
}

/// How the lengths of the sides differ, in words; in a text without spaces, characters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LengthFigures {
    /// The mean length of `chosen` less that of `rejected`, in standard deviations
    /// ([`cohens_d`](crate::measure::cohens_d)).
    pub cohens_d: Option<f64>,
    /// How often `chosen` is the longer side.
    pub chosen_longer: Option<Proportion>,
}

/// What the order of the responses did to the verdicts of kept pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderFigures {
    /// Judgements.
    pub judged: usize,
    /// Judgements that changed with the order of the responses.
    pub flipped: usize,
    /// Judgements for the response that the judge saw first. Without a liking for a place, about half of them.
    pub first_preferred: usize,
}

impl OrderFigures {
    pub(super) fn add(&mut self, judgement: &Judged) {
        self.judged += 1;
        self.flipped += usize::from(judgement.flipped);
        self.first_preferred += usize::from(judgement.verdict == Verdict::First);
    }
}
