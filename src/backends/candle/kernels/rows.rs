//! Small operations on rows: RMS norm, SwiGLU, rotary embedding.

use multiversion::multiversion;
use rayon::prelude::*;

use super::exp;

/// Elements below which a hand-over to other threads costs more than it gains.
const WORTH_SHARING: usize = 1 << 16;

/// Calls `work` on matching rows of input and output, on several threads if that pays.
fn each_row(
    input: &[f32],
    in_width: usize,
    output: &mut [f32],
    out_width: usize,
    work: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    let rows_each = if input.len() < WORTH_SHARING {
        input.len() / in_width.max(1)
    } else {
        (WORTH_SHARING / 4 / in_width.max(1)).max(1)
    }
    .max(1);
    let run = |input: &[f32], output: &mut [f32]| {
        for (x, y) in input
            .chunks_exact(in_width)
            .zip(output.chunks_exact_mut(out_width))
        {
            work(x, y);
        }
    };
    if input.len() < WORTH_SHARING {
        run(input, output);
    } else {
        input
            .par_chunks(rows_each * in_width)
            .zip(output.par_chunks_mut(rows_each * out_width))
            .for_each(|(x, y)| run(x, y));
    }
}

/// `x + y`.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
pub(in super::super) fn add(x: &[f32], y: &[f32]) -> Vec<f32> {
    x.iter().zip(y).map(|(x, y)| x + y).collect()
}

/// `x / sqrt(mean(x^2) + eps) * gain` for each row of `width` (Zhang and Sennrich, arXiv 1910.07467); no gain counts as
/// 1.
pub(in super::super) fn rms_norm(
    x: &[f32],
    width: usize,
    gain: Option<&[f32]>,
    eps: f32,
) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    each_row(x, width, &mut out, width, |x, y| norm_row(x, gain, eps, y));
    out
}

/// [`rms_norm`] of each head in rows of `width`: first so many heads by the one gain, then so many by the other; what
/// comes behind them stays.
pub(in super::super) fn head_norms(
    x: &[f32],
    width: usize,
    gains: [(usize, &[f32]); 2],
    eps: f32,
) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    each_row(x, width, &mut out, width, |mut x, mut y| {
        for (heads, gain) in gains {
            let (normed, rest) = x.split_at(heads * gain.len());
            let (to, behind) = y.split_at_mut(normed.len());
            for (x, y) in normed
                .chunks_exact(gain.len())
                .zip(to.chunks_exact_mut(gain.len()))
            {
                norm_row(x, Some(gain), eps, y);
            }
            (x, y) = (rest, behind);
        }
        y.copy_from_slice(x);
    });
    out
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn norm_row(x: &[f32], gain: Option<&[f32]>, eps: f32, y: &mut [f32]) {
    let scale = 1.0 / (sum_of_squares(x) / x.len() as f32 + eps).sqrt();
    match gain {
        None => {
            for (y, x) in y.iter_mut().zip(x) {
                *y = x * scale;
            }
        }
        Some(gain) => {
            for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
                *y = x * scale * gain;
            }
        }
    }
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (chunks, rest) = x.as_chunks::<16>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = x.mul_add(*x, *lane);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = x.mul_add(*x, *lane);
    }
    lanes.iter().sum()
}

/// `silu(gate) * up` for rows of `gate` and `up`, `width` each (Shazeer, arXiv 2002.05202).
pub(in super::super) fn swiglu(gate_up: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; gate_up.len() / 2];
    each_row(gate_up, 2 * width, &mut out, width, swiglu_row);
    out
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn swiglu_row(gate_up: &[f32], y: &mut [f32]) {
    let (gate, up) = gate_up.split_at(y.len());
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        *y = gate / (1.0 + exp(-gate)) * up;
    }
}

/// Which dimensions of a head a rotation pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Pairs {
    /// (0, 1), (2, 3), …
    Neighbours,
    /// (0, d/2), (1, d/2 + 1), …
    Halves,
}

/// Rotates one head by the angles whose cosines and sines are given, times `scale`
/// (RoFormer, arXiv 2104.09864, section 3.4.2).
#[inline(always)]
pub(super) fn rotate(
    head: &[f32],
    out: &mut [f32],
    (cos, sin): (&[f32], &[f32]),
    pairs: Pairs,
    scale: f32,
) {
    match pairs {
        Pairs::Halves => {
            let (a, b) = head.split_at(head.len() / 2);
            let (y, z) = out.split_at_mut(head.len() / 2);
            for (((((y, z), a), b), cos), sin) in
                y.iter_mut().zip(z).zip(a).zip(b).zip(cos).zip(sin)
            {
                *y = (a * cos - b * sin) * scale;
                *z = (a * sin + b * cos) * scale;
            }
        }
        Pairs::Neighbours => {
            let (pairs, _) = head.as_chunks::<2>();
            let (outs, _) = out.as_chunks_mut::<2>();
            for (((out, [a, b]), cos), sin) in outs.iter_mut().zip(pairs).zip(cos).zip(sin) {
                *out = [(a * cos - b * sin) * scale, (a * sin + b * cos) * scale];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_and_gates_are_the_formulas() {
        let x: Vec<f32> = (0..200_000).map(|n| (n as f32 * 0.7).sin() * 3.0).collect();
        let width = 40;
        let gain: Vec<f32> = (0..width).map(|n| 1.0 + n as f32).collect();
        let normed = rms_norm(&x, width, Some(&gain), 1e-5);
        let gated = swiglu(&x, width);
        for row in [0, 1, 777, 2499] {
            let x = &x[row * 2 * width..][..2 * width];
            let (a, b) = x.split_at(width);
            let mean = a.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
            for at in 0..width {
                let norm = f64::from(a[at]) / (mean + 1e-5).sqrt() * f64::from(gain[at]);
                assert!((f64::from(normed[row * 2 * width + at]) - norm).abs() < 1e-4);
                let gate = f64::from(a[at]);
                let swiglu = gate / (1.0 + (-gate).exp()) * f64::from(b[at]);
                assert!((f64::from(gated[row * width + at]) - swiglu).abs() < 1e-5);
            }
        }
        assert_eq!(
            rms_norm(&x[..width], width, Some(&gain), 1e-5),
            normed[..width],
            "a row alone"
        );
    }

    #[test]
    fn heads_are_normed_by_their_own_gain_and_the_last_ones_stay() {
        // Enough rows for several threads; 3 heads of q, 1 of k, 1 of v.
        let (d, width, rows) = (6, 30, 3000);
        let x: Vec<f32> = (0..rows * width).map(|n| (n as f32 * 0.7).sin()).collect();
        let q: Vec<f32> = (0..d).map(|n| 1.0 + n as f32).collect();
        let k: Vec<f32> = (0..d).map(|n| -0.5 * n as f32).collect();
        let normed = head_norms(&x, width, [(3, &q), (1, &k)], 1e-6);
        for (head, (x, y)) in x.chunks_exact(d).zip(normed.chunks_exact(d)).enumerate() {
            let gain = match head % 5 {
                0..3 => Some(&q),
                3 => Some(&k),
                _ => None,
            };
            let right = gain.map_or(x.to_vec(), |gain| rms_norm(x, d, Some(gain), 1e-6));
            assert_eq!(y, right, "head {head}");
        }
    }
}
