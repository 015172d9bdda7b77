//! Orthogonal transforms that spread what is large in few places over all places, so that 8 bits hold it.
//!
//! The residual stream of a language model has a few very large features, and one scale a row then leaves few levels
//! for the others. A rotation mixes them and changes nothing else: it is folded into the weights on both sides (QuaRot,
//! arXiv 2404.00456, section 4).

use std::f64::consts::TAU;

use multiversion::multiversion;

/// The largest power of two that divides `n`: the block in which [`butterflies`] mix.
pub(in super::super) fn block(n: usize) -> usize {
    1 << n.trailing_zeros()
}

/// Multiplies every block of a row with the Hadamard matrix of its size, scaled to be orthogonal. `block` is a power of
/// two that divides the length.
#[inline(always)]
pub(super) fn butterflies(row: &mut [f32], block: usize) {
    let scale = 1.0 / (block as f32).sqrt();
    for block in row.chunks_exact_mut(block) {
        let mut half = 1;
        // The small strides have loops of known length, so that the compiler vectorises them.
        while half < 8.min(block.len()) {
            match half {
                1 => small::<1>(block),
                2 => small::<2>(block),
                _ => small::<4>(block),
            }
            half *= 2;
        }
        while half < block.len() {
            for pair in block.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        for x in block {
            *x *= scale;
        }
    }
}

#[inline(always)]
fn small<const HALF: usize>(block: &mut [f32]) {
    for pair in block.chunks_exact_mut(2 * HALF) {
        let (low, high) = pair.split_at_mut(HALF);
        for (a, b) in low.iter_mut().zip(high) {
            (*a, *b) = (*a + *b, *a - *b);
        }
    }
}

/// [`butterflies`] on each of several rows.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
pub(in super::super) fn transform(rows: &mut [f32], width: usize, block: usize) {
    for row in rows.chunks_exact_mut(width) {
        butterflies(row, block);
    }
}

/// The largest odd part of a size, for which a matrix has to be held and multiplied with. Hidden sizes of published
/// models are powers of two times at most some dozens.
const MAX_ODD: usize = 511;

/// An orthogonal matrix of any size: signs, then a Hadamard matrix on the power of two that divides it, and a Hartley
/// matrix (`cas(2 pi j k / m) / sqrt m`, symmetric and orthogonal) on the odd rest `m`.
#[derive(Debug)]
pub(in super::super) struct Orthogonal {
    signs: Vec<f32>,
    block: usize,
    /// `(m, m)`
    hartley: Vec<f32>,
}

impl Orthogonal {
    /// The matrix of size `n`, the same one every time. `None` if its odd part is above [`MAX_ODD`].
    pub(in super::super) fn new(n: usize) -> Option<Self> {
        let block = block(n);
        let m = n / block;
        if m > MAX_ODD {
            return None;
        }
        let hartley = (0..m * m)
            .map(|at| {
                let angle = TAU * ((at / m) * (at % m) % m) as f64 / m as f64;
                ((angle.cos() + angle.sin()) / (m as f64).sqrt()) as f32
            })
            .collect();
        let mut state = 0x5afe_u64;
        let signs = (0..n)
            .map(|_| {
                if split_mix(&mut state) >> 63 == 0 {
                    1.0
                } else {
                    -1.0
                }
            })
            .collect();
        Some(Self {
            signs,
            block,
            hartley,
        })
    }

    /// Multiplies each of several rows with the matrix.
    pub(in super::super) fn apply(&self, rows: &mut [f32]) {
        multiply(rows, &self.signs, self.block, &self.hartley);
    }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn multiply(rows: &mut [f32], signs: &[f32], block: usize, hartley: &[f32]) {
    let n = signs.len();
    let m = n / block;
    let mut mixed = vec![0.0; n];
    for row in rows.chunks_exact_mut(n) {
        for (x, sign) in row.iter_mut().zip(signs) {
            *x *= sign;
        }
        butterflies(row, block);
        if m == 1 {
            continue;
        }
        for (out, weights) in mixed.chunks_exact_mut(block).zip(hartley.chunks_exact(m)) {
            // As many sums at a time as fit into registers.
            let (tiles, rest) = out.as_chunks_mut::<64>();
            for (at, tile) in tiles.iter_mut().enumerate() {
                let mut sums = [0f32; 64];
                for (part, weight) in row.chunks_exact(block).zip(weights) {
                    if let Some(part) = part.as_chunks::<64>().0.get(at) {
                        for (sum, x) in sums.iter_mut().zip(part) {
                            *sum = weight.mul_add(*x, *sum);
                        }
                    }
                }
                *tile = sums;
            }
            rest.fill(0.0);
            let start = block - rest.len();
            for (part, weight) in row.chunks_exact(block).zip(weights) {
                for (sum, x) in rest.iter_mut().zip(part.iter().skip(start)) {
                    *sum = weight.mul_add(*x, *sum);
                }
            }
        }
        row.copy_from_slice(&mixed);
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    }

    #[test]
    fn all_sizes_keep_lengths_and_angles() {
        // Hidden sizes of SmolLM2, Qwen2.5, Llama and a small odd one.
        for n in [576, 1536, 896, 3584, 12, 7, 1] {
            let matrix = Orthogonal::new(n).unwrap();
            let mut unit = vec![0.0; n * n.min(40)];
            for (row, values) in unit.chunks_exact_mut(n).enumerate() {
                values[row * 13 % n] = 1.0;
            }
            let before = unit.clone();
            matrix.apply(&mut unit);
            for (a, x) in unit.chunks_exact(n).zip(before.chunks_exact(n)) {
                for (b, y) in unit.chunks_exact(n).zip(before.chunks_exact(n)) {
                    assert!((dot(a, b) - dot(x, y)).abs() < 1e-5, "size {n}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_out_of_proportion_is_not_made() {
        assert!(Orthogonal::new(511 << 4).is_some());
        assert!(Orthogonal::new(513).is_none());
        assert!(Orthogonal::new((1 << 24) - 1).is_none());
    }

    #[test]
    fn a_spike_is_spread() {
        let n = 576;
        let mut row = vec![0.0; n];
        row[100] = 24.0;
        Orthogonal::new(n).unwrap().apply(&mut row);
        // No entry is above sqrt(2) of the mean.
        assert!(row.iter().all(|x| x.abs() < 1.5), "{row:?}");
    }

    #[test]
    fn butterflies_undo_themselves() {
        let before: Vec<f32> = (0..1536).map(|n| (n * 37 % 101) as f32 - 50.0).collect();
        let mut row = before.clone();
        transform(&mut row, 1536, block(1536));
        assert!((row[0] - before.iter().take(512).sum::<f32>() / 512f32.sqrt()).abs() < 1e-2);
        transform(&mut row, 1536, block(1536));
        for (a, b) in row.iter().zip(&before) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }
}
