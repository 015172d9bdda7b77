//! Platt scaling.

use serde::{Deserialize, Serialize};

use super::vectors::{mean, sigmoid, squares};

/// A score as a probability by a logistic curve: `1 / (1 + exp(-(slope · score + intercept)))` (Platt 1999).
///
/// ```
/// use safer_instruct::measure::PlattScaling;
///
/// let known = [(-2.0, false), (-1.0, false), (-0.5, true), (0.5, false), (1.0, true), (2.0, true)];
/// let scaling = PlattScaling::fit(&known).unwrap();
/// assert!(scaling.apply(2.0) > 0.6 && scaling.apply(-2.0) < 0.4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlattScaling {
    /// What a score is multiplied with; negative if high scores speak against the thing.
    pub slope: f64,
    /// What is added.
    pub intercept: f64,
}

impl PlattScaling {
    /// Fits the curve to scores, each with whether the thing is so.
    ///
    /// It minimises the cross entropy with Platt's targets, `(P + 1) / (P + 2)` for the P items that are so and
    /// `1 / (N + 2)` for the N others, so the curve is finite also where the two kinds are separate. By Newton's method
    /// with halved steps (Lin, Lin and Weng, Machine Learning 2007).
    ///
    /// `None` if a kind is missing, a score is not finite, or all scores are equal.
    #[must_use]
    pub fn fit(items: &[(f64, bool)]) -> Option<Self> {
        let scores: Vec<f64> = items.iter().map(|(score, _)| *score).collect();
        let positives = items.iter().filter(|(_, so)| *so).count();
        let negatives = items.len() - positives;
        let (high, low) = (
            (positives as f64 + 1.0) / (positives as f64 + 2.0),
            1.0 / (negatives as f64 + 2.0),
        );
        // In standard units the two directions are alike.
        let centre = mean(&scores)?;
        let scale = (squares(&scores) / scores.len() as f64).sqrt();
        let fits = positives > 0 && negatives > 0 && scale.is_finite() && scale > 0.0;
        if !fits {
            return None;
        }
        let points: Vec<(f64, f64)> = items
            .iter()
            .map(|(score, so)| ((score - centre) / scale, if *so { high } else { low }))
            .collect();
        let (slope, intercept) = newton(&points);
        Some(Self {
            slope: slope / scale,
            intercept: intercept - slope * centre / scale,
        })
    }

    /// The probability for a score; NaN of NaN.
    #[must_use]
    pub fn apply(&self, score: f64) -> f64 {
        sigmoid(self.slope * score + self.intercept)
    }
}

/// The slope and the intercept with the least cross entropy.
fn newton(points: &[(f64, f64)]) -> (f64, f64) {
    let (mut a, mut b) = (0.0, 0.0);
    let mut loss = cross_entropy(points, a, b);
    for _ in 0..100 {
        let (mut da, mut db, mut aa, mut ab, mut bb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, target) in points {
            let p = sigmoid(a * x + b);
            let (miss, weight) = (p - target, p * (1.0 - p));
            da += miss * x;
            db += miss;
            aa += weight * x * x;
            ab += weight * x;
            bb += weight;
        }
        let determinant = aa * bb - ab * ab;
        if determinant <= 0.0 {
            break;
        }
        let step_a = (bb * da - ab * db) / determinant;
        let step_b = (aa * db - ab * da) / determinant;
        let mut share = 1.0;
        let mut next = cross_entropy(points, a - step_a, b - step_b);
        while next > loss && share > 1e-10 {
            share /= 2.0;
            next = cross_entropy(points, a - share * step_a, b - share * step_b);
        }
        // Near the end the loss no longer shows which step is better, and the step is right.
        if next > loss {
            share = 1.0;
        }
        a -= share * step_a;
        b -= share * step_b;
        loss = next.min(loss);
        if step_a.abs() + step_b.abs() < 1e-13 * (1.0 + a.abs() + b.abs()) {
            break;
        }
    }
    (a, b)
}

fn cross_entropy(points: &[(f64, f64)], a: f64, b: f64) -> f64 {
    let losses = points.iter().map(|(x, target)| {
        let z = a * x + b;
        z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z
    });
    losses.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_fitted_is_none() {
        assert_eq!(PlattScaling::fit(&[]), None);
        assert_eq!(PlattScaling::fit(&[(1.0, true), (2.0, true)]), None);
        assert_eq!(PlattScaling::fit(&[(1.0, true), (1.0, false)]), None);
        for bad in [f64::NAN, f64::INFINITY] {
            assert_eq!(PlattScaling::fit(&[(bad, true), (1.0, false)]), None);
        }
    }

    #[test]
    fn separate_kinds_have_a_finite_curve_at_any_distance() {
        for far in [1e-9, 1.0, 1e9] {
            let items = [
                (0.0, false),
                (far, true),
                (0.1 * far, false),
                (0.9 * far, true),
            ];
            let scaling = PlattScaling::fit(&items).unwrap();
            assert!(scaling.slope.is_finite() && scaling.slope > 0.0);
            assert!((scaling.apply(far / 2.0) - 0.5).abs() < 1e-9);
        }
    }
}
