//! Logistic regression with an L2 penalty, by L-BFGS.

use std::collections::VecDeque;

/// Steps that the approximation of the curvature remembers.
const MEMORY: usize = 10;
const MAX_STEPS: usize = 500;
/// The greatest entry of the gradient at which the minimum counts as reached, for c and a row. scikit-learn takes ten
/// times as much.
const TOLERANCE: f64 = 1e-5;

/// Rows of numbers that a model is fitted to.
pub(crate) trait Design: Sync {
    /// The numbers in a row.
    fn width(&self) -> usize;
    /// weights · row
    fn dot(&self, row: usize, weights: &[f64]) -> f64;
    /// sum += factor · row
    fn add(&self, row: usize, factor: f64, sum: &mut [f64]);
}

/// A fitted model: log-odds = weights · row + bias.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fit {
    pub(crate) weights: Vec<f64>,
    pub(crate) bias: f64,
}

impl Fit {
    pub(crate) fn log_odds(&self, design: &impl Design, row: usize) -> f64 {
        design.dot(row, &self.weights) + self.bias
    }
}

/// What is minimised: ½ |w|² + c · Σ ln(1 + exp(−± (w · x + b))), plus for a row that is so and minus for one that is
/// not. The bias has no penalty, as in scikit-learn's `LogisticRegression(C=c)`; without `bias` it stays 0.
pub(crate) struct Problem<'a, D> {
    pub(crate) design: &'a D,
    /// The rows that count, each with whether the thing is so.
    pub(crate) rows: &'a [(usize, bool)],
    pub(crate) c: f64,
    pub(crate) bias: bool,
}

impl<D: Design> Problem<'_, D> {
    /// The minimum, by L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5) with halved steps.
    pub(crate) fn solve(&self) -> Fit {
        let width = self.design.width();
        // The last entry is the bias.
        let mut at = vec![0.0; width + 1];
        let (mut loss, mut slope) = self.loss(&at);
        let mut memory: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
        let enough = TOLERANCE * self.c * self.rows.len().max(1) as f64;
        for _ in 0..MAX_STEPS {
            if slope.iter().fold(0.0_f64, |most, one| most.max(one.abs())) <= enough {
                break;
            }
            let mut direction = towards(&memory, &slope);
            let mut descent = dot(&direction, &slope);
            if descent >= 0.0 {
                memory.clear();
                direction = slope.iter().map(|one| -one).collect();
                descent = -dot(&slope, &slope);
            }
            // Without memory the length of the gradient says nothing about the length of the step.
            let first = 1.0 / dot(&slope, &slope).sqrt().max(1.0);
            let mut share = if memory.is_empty() { first } else { 1.0 };
            let taken = loop {
                let next: Vec<f64> = at
                    .iter()
                    .zip(&direction)
                    .map(|(at, step)| at + share * step)
                    .collect();
                let (next_loss, next_slope) = self.loss(&next);
                if next_loss <= loss + 1e-4 * share * descent {
                    break Some((next, next_loss, next_slope));
                }
                share /= 2.0;
                if share < 1e-12 {
                    break None;
                }
            };
            // The loss no longer shows which step is better.
            let Some((next, next_loss, next_slope)) = taken else {
                break;
            };
            let step = less(&next, &at);
            let bend = less(&next_slope, &slope);
            let curvature = dot(&step, &bend);
            if curvature > 1e-300 {
                if memory.len() == MEMORY {
                    memory.pop_front();
                }
                memory.push_back(Pair {
                    step,
                    bend,
                    curvature,
                });
            }
            (at, loss, slope) = (next, next_loss, next_slope);
        }
        let bias = at.pop().unwrap_or_default();
        Fit { weights: at, bias }
    }

    fn loss(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let (bias, weights) = match at.split_last() {
            Some((bias, weights)) => (*bias, weights),
            None => (0.0, at),
        };
        let mut slope = weights.to_vec();
        let mut loss = dot(weights, weights) / 2.0;
        let mut of_bias = 0.0;
        for (row, so) in self.rows {
            let z = self.design.dot(*row, weights) + bias;
            let target = f64::from(u8::from(*so));
            loss += self.c * (z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z);
            let miss = self.c * (1.0 / (1.0 + (-z).exp()) - target);
            self.design.add(*row, miss, &mut slope);
            of_bias += miss;
        }
        slope.push(if self.bias { of_bias } else { 0.0 });
        (loss, slope)
    }
}

/// A step that was taken, and how the gradient changed with it.
struct Pair {
    step: Vec<f64>,
    bend: Vec<f64>,
    curvature: f64,
}

/// The direction of the next step: minus the approximated inverse Hessian times the gradient.
fn towards(memory: &VecDeque<Pair>, slope: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = slope.iter().map(|one| -one).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for pair in memory.iter().rev() {
        let share = dot(&pair.step, &direction) / pair.curvature;
        add(-share, &pair.bend, &mut direction);
        shares.push(share);
    }
    if let Some(last) = memory.back() {
        let scale = last.curvature / dot(&last.bend, &last.bend);
        direction.iter_mut().for_each(|one| *one *= scale);
    }
    for (pair, share) in memory.iter().zip(shares.into_iter().rev()) {
        let back = dot(&pair.bend, &direction) / pair.curvature;
        add(share - back, &pair.step, &mut direction);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(factor: f64, from: &[f64], to: &mut [f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

fn less(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::dense::Dense, *};

    fn table(rows: &[[f32; 2]]) -> Dense {
        Dense {
            width: 2,
            values: rows.concat(),
        }
    }

    const ROWS: &[[f32; 2]] = &[
        [0.5, 1.0],
        [1.5, -0.5],
        [-1.0, 0.25],
        [2.0, 2.0],
        [-0.5, -1.5],
        [0.0, 0.75],
    ];
    const SO: [bool; 6] = [true, true, false, true, false, false];

    fn labelled() -> Vec<(usize, bool)> {
        SO.into_iter().enumerate().collect()
    }

    /// At the minimum the gradient is 0: w + c Σ (p − y) x = 0, Σ (p − y) = 0, worked out here with plain loops.
    fn gradient(fit: &Fit, c: f64) -> [f64; 3] {
        let mut sums = [fit.weights[0], fit.weights[1], 0.0];
        for (row, so) in ROWS.iter().zip(SO) {
            let [x, y] = row.map(f64::from);
            let z = fit.weights[0] * x + fit.weights[1] * y + fit.bias;
            let miss = 1.0 / (1.0 + (-z).exp()) - f64::from(u8::from(so));
            sums[0] += c * miss * x;
            sums[1] += c * miss * y;
            sums[2] += miss;
        }
        sums
    }

    #[test]
    fn at_the_minimum_the_gradient_is_nought() {
        let design = table(ROWS);
        for c in [0.01, 0.5, 20.0] {
            let fit = Problem {
                design: &design,
                rows: &labelled(),
                c,
                bias: true,
            }
            .solve();
            for one in gradient(&fit, c) {
                assert!(one.abs() < 1e-4 * c.max(1.0), "{c}: {one}");
            }
        }
    }

    /// `LogisticRegression(C=0.5, tol=1e-12).fit(ROWS, SO)` of scikit-learn 1.9.1.
    #[test]
    fn it_is_the_fit_of_scikit_learn() {
        let fit = Problem {
            design: &table(ROWS),
            rows: &labelled(),
            c: 0.5,
            bias: true,
        }
        .solve();
        let found = [fit.weights[0], fit.weights[1], fit.bias];
        for (found, expected) in found
            .iter()
            .zip([0.732_096_67, 0.269_761_36, -0.377_609_07])
        {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn without_a_bias_none_is_fitted() {
        let design = table(&[[1.0, 0.5], [0.5, 1.0], [2.0, -1.0]]);
        let rows: Vec<_> = (0..3).map(|row| (row, true)).collect();
        let fit = Problem {
            design: &design,
            rows: &rows,
            c: 1.0,
            bias: false,
        }
        .solve();
        assert_eq!(fit.bias, 0.0);
        // Differences that all point one way, so the weights do too.
        assert!((0..3).all(|row| fit.log_odds(&design, row) > 0.0));
    }
}
