//! Isotonic regression.

use serde::{Deserialize, Serialize};

/// A score as a probability by the curve that never falls and is nearest to what came true.
///
/// It supposes no form, and wants about 1,000 known items; for fewer use [`PlattScaling`](super::PlattScaling).
///
/// ```
/// use safer_instruct::measure::IsotonicRegression;
///
/// let known = [(0.1, false), (0.2, true), (0.3, false), (0.8, true)];
/// let curve = IsotonicRegression::fit(&known).unwrap();
/// assert_eq!((curve.apply(0.0), curve.apply(0.25), curve.apply(0.9)), (0.0, 0.5, 1.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IsotonicRegression {
    /// Scores and their probabilities; both rise.
    points: Vec<(f64, f64)>,
}

/// Neighbouring scores that share one probability.
struct Block {
    first: f64,
    last: f64,
    hits: f64,
    count: f64,
}

impl IsotonicRegression {
    /// Fits the curve to scores, each with whether the thing is so, with the least squared error.
    ///
    /// Neighbours that would make it fall are pooled (PAVA: Ayer et al., Annals of Mathematical Statistics 1955;
    /// Zadrozny and Elkan, KDD 2002). Equal scores count as one of their mean. `None` if there is no item or a score is
    /// not finite.
    #[must_use]
    pub fn fit(items: &[(f64, bool)]) -> Option<Self> {
        if items.is_empty() || !items.iter().all(|(score, _)| score.is_finite()) {
            return None;
        }
        let mut sorted = items.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut blocks: Vec<Block> = Vec::new();
        for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
            let score = equal.first()?.0;
            let mut block = Block {
                first: score,
                last: score,
                hits: equal.iter().filter(|(_, so)| *so).count() as f64,
                count: equal.len() as f64,
            };
            while let Some(before) = blocks.pop_if(|before| before.rate() >= block.rate()) {
                block = before.joined(&block);
            }
            blocks.push(block);
        }
        let mut points = Vec::with_capacity(blocks.len() * 2);
        for block in &blocks {
            points.push((block.first, block.rate()));
            if block.last > block.first {
                points.push((block.last, block.rate()));
            }
        }
        Some(Self { points })
    }

    /// The scores at which the curve bends and their probabilities, from low to high.
    #[must_use]
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The probability for a score: linear between two points, and that of the nearest one outside. NaN of NaN.
    #[must_use]
    pub fn apply(&self, score: f64) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        let after = self.points.partition_point(|(at, _)| *at < score);
        let below = after.checked_sub(1).and_then(|at| self.points.get(at));
        match (below, self.points.get(after)) {
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) / (x1 - x0) * (score - x0),
            (Some((_, y)), None) | (None, Some((_, y))) => *y,
            (None, None) => f64::NAN,
        }
    }
}

impl Block {
    fn rate(&self) -> f64 {
        self.hits / self.count
    }

    fn joined(&self, next: &Self) -> Self {
        Self {
            first: self.first,
            last: next.last,
            hits: self.hits + next.hits,
            count: self.count + next.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_fitted_is_none() {
        assert_eq!(IsotonicRegression::fit(&[]), None);
        assert_eq!(IsotonicRegression::fit(&[(f64::NAN, true)]), None);
        assert_eq!(IsotonicRegression::fit(&[(f64::INFINITY, true)]), None);
    }

    #[test]
    fn scores_of_the_wrong_direction_give_the_mean() {
        let curve =
            IsotonicRegression::fit(&[(0.0, true), (1.0, false), (2.0, false), (3.0, false)]);
        assert_eq!(curve.unwrap().points(), [(0.0, 0.25), (3.0, 0.25)]);
    }

    proptest! {
        #[test]
        fn the_curve_never_falls_and_keeps_the_mean(items in prop::collection::vec((0_u8..20, any::<bool>()), 1..60)) {
            let items: Vec<(f64, bool)> = items.into_iter().map(|(x, so)| (f64::from(x), so)).collect();
            let curve = IsotonicRegression::fit(&items).unwrap();
            let at: Vec<f64> = (-2..44).map(|x| curve.apply(f64::from(x) / 2.0)).collect();
            prop_assert!(at.is_sorted_by(|a, b| *b > a - 1e-12));
            let fitted: f64 = items.iter().map(|(x, _)| curve.apply(*x)).sum();
            let hits = items.iter().filter(|(_, so)| *so).count();
            prop_assert!((fitted - hits as f64).abs() < 1e-9);
        }
    }
}
