//! Gradients of the small operations on rows.

use multiversion::multiversion;
use rayon::prelude::*;

use super::exp;

/// Rows that one thread works on at a time.
const ROWS: usize = 16;

/// Adds the gradient of [`rms_norm`](super::rows::rms_norm) in `x`: with `s = 1 / sqrt(mean(x^2) + eps)` it is
/// `s (gain dy) - x s^3 mean(gain dy x)` for each row of `width`.
pub(in super::super) fn rms_norm(
    x: &[f32],
    dy: &[f32],
    width: usize,
    gain: Option<&[f32]>,
    eps: f32,
    dx: &mut [f32],
) {
    x.par_chunks(ROWS * width)
        .zip(dy.par_chunks(ROWS * width))
        .zip(dx.par_chunks_mut(ROWS * width))
        .for_each(|((x, dy), dx)| {
            let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
            for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(width)) {
                norm_row(x, dy, gain, eps, dx);
            }
        });
}

/// Adds the gradient of [`head_norms`](super::rows::head_norms).
pub(in super::super) fn head_norms(
    x: &[f32],
    dy: &[f32],
    width: usize,
    gains: [(usize, &[f32]); 2],
    eps: f32,
    dx: &mut [f32],
) {
    let rows = x.par_chunks(width).zip(dy.par_chunks(width));
    rows.zip(dx.par_chunks_mut(width))
        .for_each(|((mut x, mut dy), mut dx)| {
            for (heads, gain) in gains {
                let (x_now, x_rest) = x.split_at(heads * gain.len());
                let (dy_now, dy_rest) = dy.split_at(x_now.len());
                let (dx_now, dx_rest) = dx.split_at_mut(x_now.len());
                let d = gain.len();
                let heads = x_now.chunks_exact(d).zip(dy_now.chunks_exact(d));
                for ((x, dy), dx) in heads.zip(dx_now.chunks_exact_mut(d)) {
                    norm_row(x, dy, Some(gain), eps, dx);
                }
                (x, dy, dx) = (x_rest, dy_rest, dx_rest);
            }
            for (dx, dy) in dx.iter_mut().zip(dy) {
                *dx += dy;
            }
        });
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn norm_row(x: &[f32], dy: &[f32], gain: Option<&[f32]>, eps: f32, dx: &mut [f32]) {
    let width = x.len() as f32;
    let mut squares = [0f32; 16];
    let mut dots = [0f32; 16];
    let ones = [1f32; 16];
    let mut at = 0;
    while at < x.len() {
        let end = (at + 16).min(x.len());
        let part = |values: &[f32]| -> [f32; 16] {
            let mut lanes = [0f32; 16];
            if let Some(values) = values.get(at..end) {
                for (lane, value) in lanes.iter_mut().zip(values) {
                    *lane = *value;
                }
            }
            lanes
        };
        let (x, dy, gain) = (part(x), part(dy), gain.map_or(ones, part));
        for (((square, dot), x), (dy, gain)) in squares
            .iter_mut()
            .zip(&mut dots)
            .zip(x)
            .zip(dy.into_iter().zip(gain))
        {
            *square = x.mul_add(x, *square);
            *dot = (dy * gain).mul_add(x, *dot);
        }
        at = end;
    }
    let (squares, dot) = (squares.iter().sum::<f32>(), dots.iter().sum::<f32>());
    let s = 1.0 / (squares / width + eps).sqrt();
    let back = s * s * s * dot / width;
    match gain {
        None => {
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx += dy * s - x * back;
            }
        }
        Some(gain) => {
            for (((dx, x), dy), gain) in dx.iter_mut().zip(x).zip(dy).zip(gain) {
                *dx += dy * gain * s - x * back;
            }
        }
    }
}

/// The gradient of [`swiglu`](super::rows::swiglu) in its inputs, `(rows, 2 width)`: with `σ = 1 / (1 + exp(-gate))` it
/// is `dy up σ (1 + gate (1 - σ))` for the gate and `dy gate σ` for up.
pub(in super::super) fn swiglu(gate_up: &[f32], dy: &[f32], width: usize, out: &mut [f32]) {
    let rows = gate_up.par_chunks(2 * width).zip(dy.par_chunks(width));
    rows.zip(out.par_chunks_mut(2 * width))
        .with_min_len(ROWS)
        .for_each(|((x, dy), out)| swiglu_row(x, dy, out));
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn swiglu_row(gate_up: &[f32], dy: &[f32], out: &mut [f32]) {
    let (gate, up) = gate_up.split_at(dy.len());
    let (d_gate, d_up) = out.split_at_mut(dy.len());
    for ((((d_gate, d_up), gate), up), dy) in d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(dy)
    {
        let sigmoid = 1.0 / (1.0 + exp(-gate));
        *d_up = dy * gate * sigmoid;
        *d_gate = dy * up * sigmoid * gate.mul_add(1.0 - sigmoid, 1.0);
    }
}

/// `to += from`.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
pub(in super::super) fn add_to(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

#[cfg(test)]
pub(in super::super) mod tests {
    use super::*;
    use crate::backends::candle::kernels::{rows, tests::values};

    /// Compares a gradient with finite differences of `sum(weights * f(x))`, in the direction of each of some places.
    pub(in super::super::super) fn check(
        x: &[f32],
        gradient: &[f32],
        weights: &[f32],
        f: impl Fn(&[f32]) -> Vec<f32>,
    ) {
        let at = |place: usize, step: f32| -> f64 {
            let mut moved = x.to_vec();
            moved[place] += step;
            let y = f(&moved);
            assert_eq!(y.len(), weights.len());
            y.iter()
                .zip(weights)
                .map(|(y, w)| f64::from(*y) * f64::from(*w))
                .sum()
        };
        assert_eq!(x.len(), gradient.len());
        let largest = gradient.iter().fold(0f32, |a, b| a.max(b.abs()));
        assert!(largest > 1e-3, "a gradient of nothing");
        let stride = (x.len() / 61).max(1);
        for place in (0..x.len()).step_by(stride) {
            let step = 0.01;
            let slope = (at(place, step) - at(place, -step)) / (2.0 * f64::from(step));
            let off = (slope - f64::from(gradient[place])).abs();
            assert!(
                off < 2e-3 * f64::from(largest),
                "place {place}: {slope} {}",
                gradient[place]
            );
        }
    }

    #[test]
    fn gradients_are_the_slopes() {
        // More rows than one thread takes, and a width that is no multiple of 16.
        let (width, rows) = (42, 37);
        let x: Vec<f32> = values(width * rows, 1).iter().map(|x| 2.0 * x).collect();
        let gain: Vec<f32> = values(width, 2).iter().map(|x| 1.0 + x).collect();
        let dy = values(width * rows, 3);
        for gain in [Some(gain.as_slice()), None] {
            let mut dx = vec![0.0; x.len()];
            rms_norm(&x, &dy, width, gain, 1e-5, &mut dx);
            check(&x, &dx, &dy, |x| rows::rms_norm(x, width, gain, 1e-5));
            // It adds.
            let once = dx.clone();
            rms_norm(&x, &dy, width, gain, 1e-5, &mut dx);
            assert!(
                once.iter()
                    .zip(&dx)
                    .all(|(a, b)| (2.0 * a - b).abs() < 1e-5)
            );
        }
        let gains = [(3, &gain[..6]), (2, &gain[6..12])];
        let mut dx = vec![0.0; x.len()];
        head_norms(&x, &dy, width, gains, 1e-5, &mut dx);
        check(&x, &dx, &dy, |x| rows::head_norms(x, width, gains, 1e-5));
        let mut dx = vec![0.0; x.len()];
        swiglu(&x, &dy[..x.len() / 2], width / 2, &mut dx);
        check(&x, &dx, &dy[..x.len() / 2], |x| rows::swiglu(x, width / 2));
    }
}
