//! Rows of a table.

use super::logistic::Design;

/// Rows of a table `(rows, width)`.
pub(crate) struct Dense {
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

impl Dense {
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        let at = row * self.width;
        self.values.get(at..at + self.width).unwrap_or_default()
    }
}

/// Sums side by side, so that a processor adds several numbers at once; their order is the same on every machine.
const LANES: usize = 8;

impl Design for Dense {
    fn width(&self) -> usize {
        self.width
    }

    fn dot(&self, row: usize, weights: &[f64]) -> f64 {
        let (weights, weights_left) = weights.as_chunks::<LANES>();
        let (row, row_left) = self.row(row).as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (weights, row) in weights.iter().zip(row) {
            for ((sum, weight), value) in sums.iter_mut().zip(weights).zip(row) {
                *sum += weight * f64::from(*value);
            }
        }
        let left = weights_left.iter().zip(row_left);
        sums.iter().sum::<f64>() + left.map(|(w, x)| w * f64::from(*x)).sum::<f64>()
    }

    fn add(&self, row: usize, factor: f64, sum: &mut [f64]) {
        for (sum, value) in sum.iter_mut().zip(self.row(row)) {
            *sum += factor * f64::from(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_longer_than_the_lanes_is_summed_whole() {
        let values: Vec<f32> = (0..19).map(|value| value as f32).collect();
        let design = Dense { width: 19, values };
        let weights: Vec<f64> = (0..19).map(|weight| f64::from(weight % 3)).collect();
        let expected: f64 = (0..19).map(|n| f64::from(n % 3) * f64::from(n)).sum();
        assert_eq!(design.dot(0, &weights), expected);
    }
}
