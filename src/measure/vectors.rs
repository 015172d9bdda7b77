//! Means, variances and ranks of lists of numbers.

/// The mean; `None` of no values.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sum of the squared distances from the mean; 0 of no values.
pub(super) fn squares(values: &[f64]) -> f64 {
    let Some(mean) = mean(values) else { return 0.0 };
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// The variance of a sample, divided by n - 1; `None` of fewer than two values.
pub(super) fn variance(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| squares(values) / (values.len() - 1) as f64)
}

/// The rank of each value, counted from 1; equal values share the mean of their ranks.
pub(super) fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = Vec::with_capacity(order.len());
    for equal in order.chunk_by(|a, b| a.1 == b.1) {
        let rank = ranks.len() as f64 + (equal.len() + 1) as f64 / 2.0;
        ranks.extend(equal.iter().map(|(at, _)| (*at, rank)));
    }
    ranks.sort_by_key(|(at, _)| *at);
    ranks.into_iter().map(|(_, rank)| rank).collect()
}

/// Probabilities from the logarithms of weights; even ones if all weights are 0.
pub(super) fn softmax(logs: &[f64]) -> Vec<f64> {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return vec![1.0 / logs.len() as f64; logs.len()];
    }
    let weights: Vec<f64> = logs.iter().map(|log| (log - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// `1 / (1 + exp(-x))`, without overflow.
pub(super) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(midranks(&[0.0, 3.0, -0.0, 1.0]), [1.5, 4.0, 1.5, 3.0]);
        assert_eq!(midranks(&[f64::INFINITY, f64::NEG_INFINITY]), [2.0, 1.0]);
        assert!(midranks(&[]).is_empty());
    }

    #[test]
    fn probabilities_stay_finite() {
        assert_eq!(softmax(&[2_000.0, 2_000.0]), [0.5, 0.5]);
        assert_eq!(softmax(&[f64::NEG_INFINITY; 4]), [0.25; 4]);
        assert_eq!((sigmoid(-1_000.0), sigmoid(1_000.0)), (0.0, 1.0));
    }
}
