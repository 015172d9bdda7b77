//! The hidden states of a continuation while it is read.

/// A layer with the mean of its rows and the last of them.
pub(crate) type Rows = (usize, Vec<f32>, Vec<f32>);

/// Sums of the rows of some layers, from one token of a sequence on.
#[derive(Debug)]
pub(crate) struct StateSums {
    /// The first token of the sequence that counts.
    from: usize,
    layers: Vec<LayerSums>,
}

#[derive(Debug)]
struct LayerSums {
    layer: usize,
    rows: usize,
    /// `(hidden)`, in 64 bits, so that the order of the rows alone decides the sum.
    sum: Vec<f64>,
    /// `(hidden)`
    last: Vec<f32>,
}

impl StateSums {
    /// Of the tokens from `from` on; `layers` is how many layers a token has gone through.
    pub(crate) fn new(from: usize, layers: &[usize]) -> Self {
        let layers = layers.iter().map(|layer| LayerSums {
            layer: *layer,
            rows: 0,
            sum: Vec::new(),
            last: Vec::new(),
        });
        Self {
            from,
            layers: layers.collect(),
        }
    }

    /// How many of `count` tokens after `past` others come before the first that counts here; `None` if none counts.
    pub(crate) fn wants(&self, layer: usize, past: usize, count: usize) -> Option<usize> {
        let skipped = self.from.saturating_sub(past);
        let is_wanted = self.layers.iter().any(|sums| sums.layer == layer);
        (is_wanted && skipped < count).then_some(skipped)
    }

    /// Adds rows `(n, hidden)` of a layer.
    pub(crate) fn add(&mut self, layer: usize, rows: &[Vec<f32>]) {
        for sums in self.layers.iter_mut().filter(|sums| sums.layer == layer) {
            for row in rows {
                sums.sum.resize(row.len(), 0.0);
                for (sum, value) in sums.sum.iter_mut().zip(row) {
                    *sum += f64::from(*value);
                }
            }
            sums.rows += rows.len();
            if let Some(last) = rows.last() {
                sums.last.clone_from(last);
            }
        }
    }

    /// Each layer with the mean of its rows and the last of them; `None` if they are no numbers.
    pub(crate) fn finish(self) -> Option<Vec<Rows>> {
        let layers = self.layers.into_iter().map(|sums| {
            let count = sums.rows as f64;
            let mean: Vec<f32> = sums.sum.iter().map(|sum| (sum / count) as f32).collect();
            (sums.layer, mean, sums.last)
        });
        let layers: Vec<_> = layers.collect();
        let are_numbers = layers
            .iter()
            .all(|(_, mean, last)| mean.iter().chain(last).all(|value| value.is_finite()));
        are_numbers.then_some(layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rows_from_the_first_token_on_are_counted() {
        let mut sums = StateSums::new(3, &[2, 5]);
        assert_eq!(sums.wants(1, 0, 8), None);
        assert_eq!(sums.wants(2, 0, 3), None);
        assert_eq!(sums.wants(2, 0, 4), Some(3));
        assert_eq!(sums.wants(5, 2, 4), Some(1));
        assert_eq!(sums.wants(5, 6, 4), Some(0));
        sums.add(2, &[vec![1.0, -2.0]]);
        sums.add(2, &[vec![3.0, 2.0], vec![5.0, 6.0]]);
        sums.add(5, &[vec![1.0, 1.0]]);
        let layers = sums.finish().unwrap();
        assert_eq!(
            layers,
            [
                (2, vec![3.0, 2.0], vec![5.0, 6.0]),
                (5, vec![1.0, 1.0], vec![1.0, 1.0])
            ]
        );
    }

    #[test]
    fn states_that_are_no_numbers_are_none() {
        let mut sums = StateSums::new(0, &[1]);
        sums.add(1, &[vec![f32::NAN]]);
        assert_eq!(sums.finish(), None);
    }
}
