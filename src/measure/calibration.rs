//! Whether probabilities are worth their name.

use serde::{Deserialize, Serialize};

/// The Brier score (Monthly Weather Review 1950): the mean squared difference of a probability and what came true.
///
/// Each item is a probability and whether the thing is so. 0 is best, and 0.25 is that of always saying one half.
/// `None` if there is no item, or a probability is not between 0 and 1.
///
/// ```
/// use safer_instruct::measure::brier_score;
///
/// assert_eq!(brier_score(&[(1.0, true), (0.5, false)]), Some(0.125));
/// ```
#[must_use]
pub fn brier_score(items: &[(f64, bool)]) -> Option<f64> {
    are_probabilities(items)?;
    let squares = items.iter().map(|(p, so)| (p - f64::from(*so)).powi(2));
    Some(squares.sum::<f64>() / items.len() as f64)
}

/// How probabilities are put into bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bins {
    /// So many bins of equal width from 0 to 1; a bin takes its upper end (Guo et al., arXiv 1706.04599).
    EqualWidth(usize),
    /// So many bins of as many items each, for probabilities that crowd together (adaptive bins: Nixon et al., arXiv
    /// 1904.01685). Equal probabilities share the bin of the first.
    EqualMass(usize),
}

/// The items whose probabilities are in one bin: a point of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// How many items there are.
    pub count: usize,
    /// The mean of their probabilities.
    pub probability: f64,
    /// The share of them that is so.
    pub rate: f64,
}

/// The bins that are not empty, from low to high probabilities.
///
/// `None` if there is no item or no bin, or a probability is not between 0 and 1.
///
/// ```
/// use safer_instruct::measure::{Bins, reliability};
///
/// let items = [(0.1, false), (0.2, true), (0.9, true)];
/// let bins = reliability(&items, Bins::EqualWidth(2)).unwrap();
/// assert_eq!((bins.len(), bins[0].count, bins[0].rate), (2, 2, 0.5));
/// ```
#[must_use]
pub fn reliability(items: &[(f64, bool)], bins: Bins) -> Option<Vec<ReliabilityBin>> {
    are_probabilities(items)?;
    let mut sorted = items.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut placed: Vec<(usize, f64, bool)> = Vec::with_capacity(sorted.len());
    for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
        let rank = placed.len();
        placed.extend(
            equal
                .iter()
                .map(|(p, so)| (bins.place(*p, rank, items.len()), *p, *so)),
        );
    }
    let (Bins::EqualWidth(count) | Bins::EqualMass(count)) = bins;
    let found = placed.chunk_by(|a, b| a.0 == b.0).map(|bin| {
        let n = bin.len() as f64;
        ReliabilityBin {
            count: bin.len(),
            probability: bin.iter().map(|(_, p, _)| p).sum::<f64>() / n,
            rate: bin.iter().filter(|(_, _, so)| *so).count() as f64 / n,
        }
    });
    (count > 0).then(|| found.collect())
}

/// The expected calibration error (ECE): how far the mean probability of a bin is from the rate in it, on average over
/// the items (Naeini, Cooper and Hauskrecht, AAAI 2015).
///
/// It depends on the bins; state them with it. `None` where [`reliability`] is.
///
/// ```
/// use safer_instruct::measure::{Bins, calibration_error};
///
/// let items = [(0.9, true), (0.9, false)];
/// let error = calibration_error(&items, Bins::EqualWidth(10)).unwrap();
/// assert!((error - 0.4).abs() < 1e-9);
/// ```
#[must_use]
pub fn calibration_error(items: &[(f64, bool)], bins: Bins) -> Option<f64> {
    let bins = reliability(items, bins)?;
    let sum: f64 = bins
        .iter()
        .map(|bin| bin.count as f64 * (bin.probability - bin.rate).abs())
        .sum();
    Some(sum / items.len() as f64)
}

impl Bins {
    /// The bin of a probability whose rank, counted from 0, is that of the first of its equals.
    fn place(self, probability: f64, rank: usize, items: usize) -> usize {
        match self {
            // The cast cuts at 0.
            Self::EqualWidth(bins) => ((probability * bins as f64).ceil() - 1.0) as usize,
            Self::EqualMass(bins) => (rank as u128 * bins as u128 / items.max(1) as u128) as usize,
        }
    }
}

fn are_probabilities(items: &[(f64, bool)]) -> Option<()> {
    let all = items.iter().all(|(p, _)| (0.0..=1.0).contains(p));
    (all && !items.is_empty()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_probability_has_no_score() {
        for items in [
            vec![],
            vec![(1.1, true)],
            vec![(-0.1, true)],
            vec![(f64::NAN, true)],
        ] {
            assert_eq!(brier_score(&items), None);
            assert_eq!(calibration_error(&items, Bins::EqualMass(5)), None);
        }
        assert_eq!(calibration_error(&[(0.5, true)], Bins::EqualWidth(0)), None);
        assert_eq!(calibration_error(&[(0.5, true)], Bins::EqualMass(0)), None);
    }

    #[test]
    fn ends_belong_to_the_bin_below_and_equals_stay_together() {
        let items = [(0.0, false), (0.5, true), (0.51, true), (1.0, true)];
        let counts = |items: &[(f64, bool)], bins| -> Vec<usize> {
            let bins = reliability(items, bins).unwrap();
            bins.iter().map(|bin| bin.count).collect()
        };
        assert_eq!(counts(&items, Bins::EqualWidth(2)), [2, 2]);
        assert_eq!(counts(&items, Bins::EqualMass(4)), [1; 4]);
        let crowd = [(0.2, true), (0.9, true), (0.9, false), (0.9, true)];
        assert_eq!(counts(&crowd, Bins::EqualMass(2)), [4]);
        assert_eq!(counts(&crowd, Bins::EqualMass(usize::MAX)), [1, 3]);
    }
}
