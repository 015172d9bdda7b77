//! A mean from few items that are known and many that a model predicts.

use serde::{Deserialize, Serialize};

use super::{
    estimate::Estimate,
    vectors::{mean, squares, variance},
};

/// The mean of [`ppi_mean`], and how far the predictions were trusted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ppi {
    /// The mean, its variance and its interval.
    pub mean: Estimate,
    /// The weight of the predictions, between 0 (the known items alone count) and 1.
    pub lambda: f64,
}

/// The mean of a quantity by PPI++ (Angelopoulos, Duchi and Zrnic, arXiv 2311.01453): unbiased like that of the known
/// items alone, and surer, the better the predictions are.
///
/// The `known` items are pairs of the true value and the prediction; of the `predicted` ones there is the prediction
/// alone. For the rate at which texts are unsafe, a value is 1 or 0, and the judge predicts. The known items must be a
/// random sample of the same texts as the predicted ones.
///
/// Of n pairs (y, f) and N predictions g, the mean is `λ mean(g) + mean(y - λ f)`, its variance
/// `λ² var(g) / N + var(y - λ f) / n`, and `λ = cov(y, f) / ((1 + n/N) var(f, g))`, cut to 0 and 1. As in the authors'
/// package, `var(f, g)` divides by one less than the number of values, and the others by the number. The interval is
/// the normal one: too narrow for fewer than about 200 known items or a handful of hits among them.
///
/// `None` if there are fewer than two items of a kind, a number is not finite, or the confidence is none.
///
/// ```
/// use safer_instruct::measure::ppi_mean;
///
/// // The judge takes one text in ten for unsafe that is not.
/// let known: Vec<(f64, f64)> = (0..400).map(|n| (f64::from(n % 10 == 0), f64::from(n % 5 == 0))).collect();
/// let judged: Vec<f64> = (0..20_000).map(|n| f64::from(n % 5 == 0)).collect();
/// let rate = ppi_mean(&known, &judged, 0.95).unwrap();
/// assert!((rate.mean.value - 0.1).abs() < 1e-9, "not 0.2");
/// ```
#[must_use]
pub fn ppi_mean(known: &[(f64, f64)], predicted: &[f64], confidence: f64) -> Option<Ppi> {
    if known.len() < 2 || predicted.len() < 2 {
        return None;
    }
    let (n, all) = (known.len() as f64, predicted.len() as f64);
    let truths: Vec<f64> = known.iter().map(|(truth, _)| *truth).collect();
    let checked: Vec<f64> = known.iter().map(|(_, prediction)| *prediction).collect();
    let (truth_mean, checked_mean) = (mean(&truths)?, mean(&checked)?);
    let covariance: f64 = known
        .iter()
        .map(|(truth, prediction)| (truth - truth_mean) * (prediction - checked_mean))
        .sum::<f64>()
        / n;
    let spread = variance(&[&checked, predicted].concat())?;
    // Predictions that are all the same say nothing.
    let lambda = if spread > 0.0 {
        (covariance / ((1.0 + n / all) * spread)).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let corrections: Vec<f64> = known
        .iter()
        .map(|(truth, prediction)| truth - lambda * prediction)
        .collect();
    let value = lambda * mean(predicted)? + mean(&corrections)?;
    let variance =
        lambda.powi(2) * squares(predicted) / all.powi(2) + squares(&corrections) / n.powi(2);
    let mean = Estimate::normal(value, variance, confidence)?;
    Some(Ppi { mean, lambda })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_mean_is_none() {
        assert_eq!(ppi_mean(&[(1.0, 1.0)], &[1.0, 0.0], 0.95), None);
        assert_eq!(ppi_mean(&[(1.0, 1.0), (0.0, 0.0)], &[1.0], 0.95), None);
        assert_eq!(
            ppi_mean(&[(f64::NAN, 1.0), (0.0, 0.0)], &[1.0, 0.0], 0.95),
            None
        );
        assert_eq!(
            ppi_mean(&[(1.0, 1.0), (0.0, 0.0)], &[f64::INFINITY, 0.0], 0.95),
            None
        );
        assert_eq!(ppi_mean(&[(1.0, 1.0), (0.0, 0.0)], &[1.0, 0.0], 1.0), None);
    }

    #[test]
    fn predictions_that_say_nothing_have_no_weight() {
        let known = [(1.0, 0.5), (0.0, 0.5), (0.0, 0.5), (1.0, 0.5)];
        let found = ppi_mean(&known, &[0.5; 9], 0.95).unwrap();
        assert_eq!((found.lambda, found.mean.value), (0.0, 0.5));
    }
}
