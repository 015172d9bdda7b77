//! Temperature scaling.

use serde::{Deserialize, Serialize};

use super::vectors::{mean, softmax};

/// Logits as probabilities by one temperature: `softmax(logits / T)` (Guo et al., arXiv 1706.04599).
///
/// The order of the categories stays as it is; a T above 1 makes a judge less sure. For a single logit of yes or no,
/// give the logits `[0, logit]`.
///
/// ```
/// use safer_instruct::measure::TemperatureScaling;
///
/// // Very sure, and wrong one time in four.
/// let known = [([0.0, 8.0], 1), ([0.0, 8.0], 1), ([0.0, 8.0], 1), ([0.0, 8.0], 0)];
/// let scaling = TemperatureScaling::fit(&known).unwrap();
/// assert!((scaling.apply(&[0.0, 8.0])[1] - 0.75).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemperatureScaling {
    /// What the logits are divided by.
    pub temperature: f64,
}

impl TemperatureScaling {
    /// Fits the temperature to logits, each with the category that is true, by the greatest likelihood.
    ///
    /// `None` if there is no item, a logit is not finite, or a true category has no logit; and where no temperature is
    /// best: if the true category always has the greatest logit, or the logits say no more than chance.
    #[must_use]
    pub fn fit<L: AsRef<[f64]>>(items: &[(L, usize)]) -> Option<Self> {
        let mut pairs: Vec<(&[f64], f64)> = Vec::with_capacity(items.len());
        for (logits, category) in items {
            let logits = logits.as_ref();
            let truth = *logits.get(*category)?;
            if !logits.iter().all(|logit| logit.is_finite()) {
                return None;
            }
            pairs.push((logits, truth));
        }
        // By the coldness 1/T the likelihood has one summit, and its slope falls.
        let slope = |coldness: f64| -> f64 {
            let slopes = pairs.iter().map(|(logits, truth)| {
                let scaled: Vec<f64> = logits.iter().map(|logit| logit * coldness).collect();
                let weighted = softmax(&scaled).into_iter().zip(*logits);
                truth - weighted.map(|(p, logit)| p * logit).sum::<f64>()
            });
            slopes.sum()
        };
        let is_sure = pairs
            .iter()
            .all(|(logits, truth)| logits.iter().all(|logit| logit <= truth));
        let at_chance: f64 = pairs
            .iter()
            .filter_map(|(logits, truth)| Some(truth - mean(logits)?))
            .sum();
        if is_sure || at_chance <= 0.0 {
            return None;
        }
        let (mut low, mut high) = (0.0_f64, 1.0_f64);
        while slope(high) > 0.0 {
            low = high;
            high *= 2.0;
            if !high.is_finite() {
                return None;
            }
        }
        // Down to the smallest number, if need be.
        for _ in 0..1_200 {
            let middle = low.midpoint(high);
            if middle <= low || middle >= high {
                break;
            }
            if slope(middle) > 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        let temperature = 1.0 / low.midpoint(high);
        temperature.is_finite().then_some(Self { temperature })
    }

    /// The probabilities of the categories for their logits.
    #[must_use]
    pub fn apply(&self, logits: &[f64]) -> Vec<f64> {
        let scaled: Vec<f64> = logits
            .iter()
            .map(|logit| logit / self.temperature)
            .collect();
        softmax(&scaled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_fitted_is_none() {
        let none = |items: &[([f64; 2], usize)]| assert_eq!(TemperatureScaling::fit(items), None);
        none(&[]);
        none(&[([0.0, 1.0], 2)]);
        none(&[([f64::NAN, 1.0], 1), ([0.0, 1.0], 0)]);
        none(&[([0.0, 1.0], 1), ([2.0, 1.0], 0)]);
        none(&[([0.0, 1.0], 0), ([0.0, 1.0], 1)]);
        assert!(
            TemperatureScaling { temperature: 1.0 }
                .apply(&[])
                .is_empty()
        );
    }

    #[test]
    fn the_unit_of_the_logits_does_not_count() {
        let items = |unit: f64| [([0.0, unit], 1), ([0.0, unit], 1), ([0.0, unit], 0)];
        for unit in [1e-200, 1.0, 1e200] {
            let scaling = TemperatureScaling::fit(&items(unit)).unwrap();
            assert!((scaling.temperature / unit - 1.0 / 2_f64.ln()).abs() < 1e-9);
            let found = scaling.apply(&[0.0, unit]);
            assert!(
                found
                    .iter()
                    .zip([1.0 / 3.0, 2.0 / 3.0])
                    .all(|(p, right)| (p - right).abs() < 1e-9)
            );
        }
    }
}
