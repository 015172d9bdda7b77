//! The area under the ROC curve.

use serde::{Deserialize, Serialize};

use super::{
    estimate::Estimate,
    special::normal_tail,
    vectors::{mean, midranks, variance},
};

/// The area under the ROC curve of scores, each with whether it belongs to a positive item.
///
/// It is the probability that a positive item has a greater score than a negative one; equal scores count half (the
/// statistic of Mann and Whitney). 0.5 is chance. `None` if one of the two kinds is missing or a score is NaN.
///
/// ```
/// use safer_instruct::measure::auc;
///
/// assert_eq!(auc(&[(0.9, true), (0.4, true), (0.4, false), (0.1, false)]), Some(0.875));
/// assert_eq!(auc(&[(0.9, true)]), None);
/// ```
#[must_use]
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    mean(&Placements::of(scores)?.positives)
}

/// The area under the ROC curve with its variance and interval by DeLong, DeLong and Clarke-Pearson (Biometrics 1988).
///
/// The placement of an item is the share of the other kind that it stands on the right side of. The variance is that of
/// the placements of the m positive items by m, plus that of the n negative ones by n. The ranks are those of Sun and
/// Xu (IEEE Signal Processing Letters 2014), so the time is that of sorting. The interval is the normal one, cut to 0
/// and 1; it has no width where the kinds are separate, which no number of items proves.
///
/// `None` if there are fewer than two items of a kind or a score is NaN.
///
/// ```
/// use safer_instruct::measure::delong;
///
/// let area = delong(&[(0.9, true), (0.4, true), (0.4, false), (0.1, false)], 0.95).unwrap();
/// assert_eq!(area.value, 0.875);
/// assert!(area.low < 0.6 && area.high == 1.0);
/// ```
#[must_use]
pub fn delong(scores: &[(f64, bool)], confidence: f64) -> Option<Estimate> {
    let area = Placements::of(scores)?.estimate(confidence)?;
    Some(area.within(0.0, 1.0))
}

/// Two areas under the ROC curve of the same items, and their difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AucComparison {
    /// The area of the first scores.
    pub first: f64,
    /// The area of the second scores.
    pub second: f64,
    /// The first area less the second.
    pub difference: Estimate,
    /// The difference in standard errors.
    pub z: f64,
    /// The probability of a `z` as far from 0 or farther, if the true areas are equal.
    pub p: f64,
}

/// Compares the areas of two scores of the same items (DeLong, DeLong and Clarke-Pearson 1988).
///
/// Each item is its first score, its second score, and whether it is positive. The variance is that of the differences
/// of the placements, so it takes into account that the scores are of the same items.
///
/// `None` if there are fewer than two items of a kind, a score is NaN, or the areas differ and have no variance.
///
/// ```
/// use safer_instruct::measure::delong_test;
///
/// let items = [(0.9, 0.2, true), (0.6, 0.7, true), (0.7, 0.5, false), (0.1, 0.6, false), (0.3, 0.1, false)];
/// let compared = delong_test(&items, 0.95).unwrap();
/// assert!(compared.first > compared.second && compared.p > 0.05);
/// ```
#[must_use]
pub fn delong_test(items: &[(f64, f64, bool)], confidence: f64) -> Option<AucComparison> {
    let column = |pick: fn(&(f64, f64, bool)) -> (f64, bool)| {
        Placements::of(&items.iter().map(pick).collect::<Vec<_>>())
    };
    let first = column(|item| (item.0, item.2))?;
    let second = column(|item| (item.1, item.2))?;
    let difference = first.minus(&second).estimate(confidence)?;
    let z = if difference.value == 0.0 {
        0.0
    } else {
        difference.value / difference.std_error()
    };
    z.is_finite().then_some(AucComparison {
        first: mean(&first.positives)?,
        second: mean(&second.positives)?,
        difference,
        z,
        p: (2.0 * normal_tail(z.abs())).min(1.0),
    })
}

/// The shares of the other kind that stand on the right side of each item.
struct Placements {
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

impl Placements {
    fn of(scores: &[(f64, bool)]) -> Option<Self> {
        if scores.iter().any(|(score, _)| score.is_nan()) {
            return None;
        }
        let among_all = midranks(&scores.iter().map(|(score, _)| *score).collect::<Vec<_>>());
        // Of the ranks among all, those among the own kind are taken away: what remains counts the other kind.
        let others = |positive: bool| -> Vec<f64> {
            let own = scores.iter().filter(|item| item.1 == positive);
            let among_own = midranks(&own.map(|(score, _)| *score).collect::<Vec<_>>());
            let all = among_all.iter().zip(scores);
            let all = all.filter(|(_, item)| item.1 == positive);
            all.zip(among_own)
                .map(|((rank, _), own)| rank - own)
                .collect()
        };
        let (below, above) = (others(true), others(false));
        let (m, n) = (below.len() as f64, above.len() as f64);
        (!below.is_empty() && !above.is_empty()).then(|| Self {
            positives: below.iter().map(|count| count / n).collect(),
            negatives: above.iter().map(|count| 1.0 - count / m).collect(),
        })
    }

    fn minus(&self, other: &Self) -> Self {
        let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        Self {
            positives: minus(&self.positives, &other.positives),
            negatives: minus(&self.negatives, &other.negatives),
        }
    }

    fn estimate(&self, confidence: f64) -> Option<Estimate> {
        let variance = variance(&self.positives)? / self.positives.len() as f64
            + variance(&self.negatives)? / self.negatives.len() as f64;
        Estimate::normal(mean(&self.positives)?, variance, confidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_area_is_none() {
        let nan = [(f64::NAN, true), (0.0, true), (0.0, false), (1.0, false)];
        assert_eq!(auc(&nan), None);
        assert_eq!(delong(&nan, 0.95), None);
        assert_eq!(auc(&[]), None);
        assert_eq!(auc(&[(1.0, false), (2.0, false)]), None);
        let one = [(1.0, true), (0.5, false), (0.2, false)];
        assert_eq!((auc(&one), delong(&one, 0.95)), (Some(1.0), None));
        assert_eq!(
            delong(&[(1.0, true), (2.0, true), (0.0, false), (0.1, false)], 1.0),
            None
        );
    }

    #[test]
    fn a_score_and_itself_do_not_differ() {
        let items = [
            (0.9, 0.9, true),
            (0.2, 0.2, true),
            (0.5, 0.5, false),
            (0.1, 0.1, false),
        ];
        let compared = delong_test(&items, 0.95).unwrap();
        assert_eq!((compared.z, compared.p), (0.0, 1.0));
        let sure = [
            (2.0, 0.0, true),
            (2.0, 0.0, true),
            (1.0, 1.0, false),
            (1.0, 1.0, false),
        ];
        assert_eq!(delong_test(&sure, 0.95), None);
    }

    #[test]
    fn infinite_scores_have_ranks() {
        let scores = [
            (f64::INFINITY, true),
            (0.0, true),
            (f64::NEG_INFINITY, false),
        ];
        assert_eq!(auc(&scores), Some(1.0));
    }
}
