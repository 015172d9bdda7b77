//! The angles by which queries and keys are rotated.

use super::config::Config;

/// Cosines and sines of all positions, each `(positions, D / 2)`.
pub(crate) type AngleTables = (Vec<f32>, Vec<f32>);

/// `(positions, D / 2)` cosines and sines of all angles (RoFormer, arXiv 2104.09864, section 3.2.2).
///
/// The angle of pair `i` at position `p` is `p / factor * theta^(-2i / D) / divisor_i`, as in ggml (`ggml_rope_ext`,
/// its `freq_scale` and `freq_factors`); the divisors, `(D / 2)`, are those of Llama 3.1 (`rope_freqs.weight`), or
/// none.
pub(crate) fn angles(config: &Config, divisors: Option<&[f32]>, positions: usize) -> AngleTables {
    let half = config.head_dim / 2;
    let divisors = divisors.unwrap_or_default().iter().copied();
    let frequencies: Vec<f32> = (0..half)
        .zip(divisors.chain(std::iter::repeat(1.0)))
        .map(|(i, divisor)| {
            let frequency = config
                .rope_theta
                .powf(-2.0 * i as f64 / config.head_dim as f64);
            (frequency / config.rope_factor / f64::from(divisor)) as f32
        })
        .collect();
    (0..positions)
        .flat_map(|position| {
            frequencies
                .iter()
                .map(move |frequency| f64::from(position as f32 * frequency))
        })
        .map(|angle| (angle.cos() as f32, angle.sin() as f32))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::{graph::config::tests::config as sample, kernels::rows::Pairs};

    #[test]
    fn positions_and_frequencies_are_divided() {
        let config = Config {
            head_dim: 4,
            rope_factor: 1.0,
            ..sample(Pairs::Halves)
        };
        let at = |table: (Vec<f32>, Vec<f32>), position: usize| -> Vec<f32> {
            (0..2).map(|i| table.1[2 * position + i].asin()).collect()
        };
        let close = |ours: Vec<f32>, right: [f32; 2]| {
            assert!(
                ours.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6),
                "{ours:?} {right:?}"
            );
        };
        close(at(angles(&config, None, 2), 1), [1.0, 0.01]);
        close(at(angles(&config, Some(&[2.0, 8.0]), 2), 1), [0.5, 0.00125]);
        let linear = Config {
            rope_factor: 4.0,
            ..config
        };
        close(at(angles(&linear, None, 4), 3), [0.75, 0.0075]);
        close(at(angles(&linear, Some(&[2.0, 1.0]), 4), 2), [0.25, 0.005]);
    }
}
