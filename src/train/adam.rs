//! AdamW on a flat vector of parameters.

use rayon::prelude::*;

/// The moments of AdamW (arXiv 1711.05101, algorithm 2; the arithmetic of `torch.optim.AdamW`).
#[derive(Clone, Debug)]
pub(super) struct Adam {
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
}

/// Constants of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) betas: (f64, f64),
    pub(super) epsilon: f64,
    pub(super) weight_decay: f64,
}

/// Parameters that one thread works on at a time.
const PART: usize = 1 << 14;

impl Adam {
    pub(super) fn new(len: usize) -> Self {
        Self {
            first: vec![0.0; len],
            second: vec![0.0; len],
        }
    }

    /// One step, the `step`-th counted from 1, along `scale` times the gradient.
    pub(super) fn step(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        scale: f64,
        learning_rate: f64,
        step: u64,
        rates: Rates,
    ) {
        let (one, two) = rates.betas;
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        let size = (learning_rate / (1.0 - one.powi(exponent))) as f32;
        let root = (1.0 - two.powi(exponent)).sqrt() as f32;
        let decay = (1.0 - learning_rate * rates.weight_decay) as f32;
        let (scale, epsilon) = (scale as f32, rates.epsilon as f32);
        let (one, two) = (one as f32, two as f32);
        parameters
            .par_chunks_mut(PART)
            .zip(gradient.par_chunks(PART))
            .zip(self.first.par_chunks_mut(PART))
            .zip(self.second.par_chunks_mut(PART))
            .for_each(|(((parameters, gradient), first), second)| {
                let moments = first.iter_mut().zip(second);
                for ((p, g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
                    let g = g * scale;
                    *m += (g - *m) * (1.0 - one);
                    *v = *v * two + g * g * (1.0 - two);
                    *p = *p * decay - size * *m / (v.sqrt() / root + epsilon);
                }
            });
    }
}

/// The length of a gradient, in double precision and in an order that does not depend on threads.
pub(super) fn norm(gradient: &[f32]) -> f64 {
    let parts = gradient.par_chunks(PART).map(|part| {
        part.iter()
            .map(|x| f64::from(*x) * f64::from(*x))
            .sum::<f64>()
    });
    parts.collect::<Vec<_>>().iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_torch() {
        // torch.optim.AdamW(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01) on p = [1, -2], gradients
        // [0.5, -0.1], [0.3, 0.2].
        let mut adam = Adam::new(2);
        let mut p = [1.0, -2.0];
        let rates = Rates {
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.01,
        };
        adam.step(&mut p, &[0.5, -0.1], 1.0, 0.1, 1, rates);
        assert!(
            (p[0] - 0.899).abs() < 1e-6 && (p[1] + 1.898).abs() < 1e-6,
            "{p:?}"
        );
        adam.step(&mut p, &[0.6, 0.4], 0.5, 0.1, 2, rates);
        // By hand: m = .075, v = .00033975; m/.19 = .3947368, v/.001999 = .1699600; and m = .011, v = .00004999.
        let first = 0.899 * 0.999 - 0.1 * (0.075 / 0.19) / (0.000_339_75_f64 / 0.001_999).sqrt();
        let second = -1.898 * 0.999 - 0.1 * (0.011 / 0.19) / (0.000_049_99_f64 / 0.001_999).sqrt();
        assert!((f64::from(p[0]) - first).abs() < 1e-5, "{p:?} {first}");
        assert!((f64::from(p[1]) - second).abs() < 1e-5, "{p:?} {second}");
        assert_eq!(norm(&[3.0, 4.0]), 5.0);
    }
}
