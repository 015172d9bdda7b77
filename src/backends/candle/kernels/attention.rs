//! Attention of the new tokens of one sequence over all its tokens, with keys and values in blocks.
//!
//! `softmax(q k^T / sqrt D) v` (Vaswani et al., arXiv 1706.03762, section 3.2.1), with `G` query heads for each key
//! head (grouped queries, arXiv 2305.13245). Letters: `n` new tokens, `L` all tokens up to one, `H` query heads, `K`
//! key and value heads, `G = H / K`, `D` head dimension.

use std::sync::Arc;

use multiversion::multiversion;
use rayon::prelude::*;
use rten_simd::SimdOp;

use super::{
    accumulate::Accumulate,
    blocks::{BLOCK, Block, Shape},
    exp,
    rows::rotate,
};

/// New tokens that are worked on together, so that a block of keys is read once for all of them.
const TILE: usize = 8;

/// Cosines and sines of the angles of all positions, each `(positions, D / 2)`.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Angles<'a> {
    pub(in super::super) cos: &'a [f32],
    pub(in super::super) sin: &'a [f32],
}

impl<'a> Angles<'a> {
    #[inline(always)]
    pub(super) fn at(&self, position: usize, head_dim: usize) -> (&'a [f32], &'a [f32]) {
        let half = head_dim / 2;
        let part = |table: &'a [f32]| {
            table
                .get(position * half..(position + 1) * half)
                .unwrap_or_default()
        };
        (part(self.cos), part(self.sin))
    }
}

/// Writes the keys and values of the new tokens of `qkv` `(n, (H + 2K) D)` behind the `past` tokens of a layer, the
/// keys rotated.
///
/// The blocks must have room; a block that others hold too is copied first.
pub(in super::super) fn append(
    qkv: &[f32],
    shape: &Shape,
    layer: usize,
    past: usize,
    angles: Angles<'_>,
    blocks: &mut [Arc<Block>],
) {
    let d = shape.head_dim;
    let mut rotated = vec![0.0; d];
    for (position, row) in (past..).zip(qkv.chunks_exact(shape.qkv())) {
        let Some(block) = blocks.get_mut(position / BLOCK) else {
            return;
        };
        let block = Arc::make_mut(block);
        let (_, keys_values) = row.split_at(shape.heads * d);
        let (keys, values) = keys_values.split_at(shape.kv_heads * d);
        for (head, (key, value)) in keys.chunks_exact(d).zip(values.chunks_exact(d)).enumerate() {
            rotate(key, &mut rotated, angles.at(position, d), shape.pairs, 1.0);
            block.write(shape, (layer, head), position % BLOCK, &rotated, value);
        }
    }
}

/// Attention of the new tokens of `qkv` `(n, (H + 2K) D)`, whose keys and values are in the blocks already, to `out`
/// `(n, H D)`.
pub(in super::super) fn attend(
    qkv: &[f32],
    shape: &Shape,
    layer: usize,
    past: usize,
    angles: Angles<'_>,
    blocks: &[Arc<Block>],
    out: &mut [f32],
) {
    let width = shape.heads * shape.head_dim;
    qkv.par_chunks(TILE * shape.qkv())
        .zip(out.par_chunks_mut(TILE * width))
        .enumerate()
        .for_each(|(tile, (qkv, out))| {
            let first = past + tile * TILE;
            attend_tile(qkv, shape, layer, first, angles, blocks, out);
        });
}

fn attend_tile(
    qkv: &[f32],
    shape: &Shape,
    layer: usize,
    first: usize,
    angles: Angles<'_>,
    blocks: &[Arc<Block>],
    out: &mut [f32],
) {
    let d = shape.head_dim;
    let group = shape.heads / shape.kv_heads;
    let tokens = qkv.len() / shape.qkv();
    let len = (first + tokens).div_ceil(BLOCK) * BLOCK;
    let scale = 1.0 / (d as f32).sqrt();

    // (n, G) rows of each kv head, one after the other.
    let rows = tokens * group;
    let mut queries = vec![0.0; rows * d];
    let mut scores = vec![0.0; rows * len];
    let mut sums = vec![0.0; rows];
    let mut results = vec![0.0; rows * d];
    let mut side = vec![0.0; shape.side()];
    let blocks = blocks.get(..len / BLOCK).unwrap_or_default();
    for kv_head in 0..shape.kv_heads {
        // 1. The queries of the head, rotated and scaled.
        let token_queries = qkv
            .chunks_exact(shape.qkv())
            .map(|row| row.chunks_exact(d).skip(kv_head * group).take(group));
        for (position, (heads, to)) in
            (first..).zip(token_queries.zip(queries.chunks_exact_mut(group * d)))
        {
            for (head, to) in heads.zip(to.chunks_exact_mut(d)) {
                rotate(head, to, angles.at(position, d), shape.pairs, scale);
            }
        }

        // 2. Scores of all tokens, a block of keys at a time: (n G, L)
        scores.fill(0.0);
        for (at, block) in blocks.iter().enumerate() {
            Accumulate {
                a: &queries,
                a_stride: d,
                a_first: 0,
                m: block.keys(shape, (layer, kv_head), &mut side),
                width: BLOCK,
                out: &mut scores,
                out_stride: len,
                out_first: at * BLOCK,
            }
            .dispatch();
        }

        // 3. Each row up to its own token.
        for (row, (scores, sum)) in scores.chunks_exact_mut(len).zip(&mut sums).enumerate() {
            *sum = exponentials(scores, first + row / group + 1);
        }

        // 4. Sums of the values: (n G, D)
        results.fill(0.0);
        for (at, block) in blocks.iter().enumerate() {
            // No further than the last token: what another sequence left behind it may be no number.
            let seen = (first + tokens - at * BLOCK).min(BLOCK);
            let values = block.values(shape, (layer, kv_head), &mut side);
            Accumulate {
                a: &scores,
                a_stride: len,
                a_first: at * BLOCK,
                m: values.get(..seen * d).unwrap_or_default(),
                width: d,
                out: &mut results,
                out_stride: d,
                out_first: 0,
            }
            .dispatch();
        }
        let to = out
            .chunks_exact_mut(shape.heads * d)
            .flat_map(|row| row.chunks_exact_mut(d).skip(kv_head * group).take(group));
        for ((to, result), sum) in to.zip(results.chunks_exact(d)).zip(&sums) {
            let inverse = 1.0 / sum;
            for (to, x) in to.iter_mut().zip(result) {
                *to = x * inverse;
            }
        }
    }
}

/// Turns the first `seen` scores into `exp(score - largest)` and the others into 0; gives their sum.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
pub(super) fn exponentials(scores: &mut [f32], seen: usize) -> f32 {
    for score in scores.iter_mut().skip(seen) {
        *score = f32::NEG_INFINITY;
    }
    let (chunks, _) = scores.as_chunks_mut::<16>();
    let mut largest = [f32::NEG_INFINITY; 16];
    for chunk in chunks.iter() {
        for (largest, x) in largest.iter_mut().zip(chunk) {
            *largest = largest.max(*x);
        }
    }
    let largest = largest.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let mut sums = [0f32; 16];
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = exp(*x - largest);
            *sum += *x;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::kernels::{
        blocks::{Blocks, Form},
        rows::Pairs,
        tests::values,
    };

    fn angles(positions: usize, head_dim: usize) -> (Vec<f32>, Vec<f32>) {
        (0..positions * head_dim / 2)
            .map(|at| {
                let (position, i) = (at / (head_dim / 2), at % (head_dim / 2));
                let angle = position as f64 * 10_000f64.powf(-2.0 * i as f64 / head_dim as f64);
                (angle.cos() as f32, angle.sin() as f32)
            })
            .unzip()
    }

    const LAYERS: usize = 2;

    /// Runs the tokens of `qkv` in chunks of the given lengths.
    fn run(shape: &Shape, form: Form, qkv: &[f32], chunks: &[usize]) -> Vec<f32> {
        let make = Blocks::new(shape, LAYERS, form);
        let tokens: usize = chunks.iter().sum();
        let (cos, sin) = angles(tokens, shape.head_dim);
        let angles = Angles {
            cos: &cos,
            sin: &sin,
        };
        let mut blocks: Vec<_> = (0..tokens.div_ceil(BLOCK)).map(|_| make.block()).collect();
        let mut out = Vec::new();
        let mut past = 0;
        for n in chunks {
            let qkv = &qkv[past * shape.qkv()..][..n * shape.qkv()];
            append(qkv, shape, 1, past, angles, &mut blocks);
            let mut part = vec![0.0; n * shape.heads * shape.head_dim];
            attend(qkv, shape, 1, past, angles, &blocks, &mut part);
            out.extend(part);
            past += n;
        }
        out
    }

    /// The formula, in double precision.
    fn plain(shape: &Shape, qkv: &[f32], tokens: usize) -> Vec<f64> {
        let d = shape.head_dim;
        let (cos, sin) = angles(tokens, d);
        let head = |token: usize, head: usize, turn: bool| -> Vec<f64> {
            let x = &qkv[token * shape.qkv() + head * d..][..d];
            let mut y: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            for i in 0..if turn { d / 2 } else { 0 } {
                let (a, b) = match shape.pairs {
                    Pairs::Neighbours => (2 * i, 2 * i + 1),
                    Pairs::Halves => (i, i + d / 2),
                };
                let (c, s) = (cos[token * d / 2 + i], sin[token * d / 2 + i]);
                let (x, z) = (f64::from(x[a]), f64::from(x[b]));
                y[a] = x * f64::from(c) - z * f64::from(s);
                y[b] = x * f64::from(s) + z * f64::from(c);
            }
            y
        };
        let mut out = Vec::new();
        for token in 0..tokens {
            for h in 0..shape.heads {
                let kv = h / (shape.heads / shape.kv_heads);
                let q = head(token, h, true);
                let scores: Vec<f64> = (0..=token)
                    .map(|past| {
                        let k = head(past, shape.heads + kv, true);
                        let dot: f64 = q.iter().zip(&k).map(|(a, b)| a * b).sum();
                        (dot / (d as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = scores.iter().sum();
                let mut y = vec![0.0; d];
                for (past, score) in scores.iter().enumerate() {
                    let v = head(past, shape.heads + shape.kv_heads + kv, false);
                    for (y, v) in y.iter_mut().zip(v) {
                        *y += score / sum * v;
                    }
                }
                out.extend(y);
            }
        }
        out
    }

    #[test]
    fn it_is_the_formula_whatever_the_chunks() {
        for (heads, kv_heads, head_dim, pairs) in [
            (9, 3, 64, Pairs::Neighbours),
            (12, 2, 128, Pairs::Halves),
            (4, 4, 80, Pairs::Halves),
            (2, 1, 6, Pairs::Neighbours),
        ] {
            let shape = Shape {
                heads,
                kv_heads,
                head_dim,
                pairs,
            };
            let tokens = 75;
            let qkv = values(tokens * shape.qkv(), 1);
            let right = plain(&shape, &qkv, tokens);
            for (form, most) in [(Form::F32, 1e-5), (Form::F16, 1e-3)] {
                let whole = run(&shape, form, &qkv, &[tokens]);
                for (ours, right) in whole.iter().zip(&right) {
                    assert!((f64::from(*ours) - right).abs() < most, "{ours} {right}");
                }
                for chunks in [vec![1; tokens], vec![31, 1, 1, 31, 11], vec![70, 5]] {
                    let parts = run(&shape, form, &qkv, &chunks);
                    assert!(parts == whole, "{shape:?} {form:?} {chunks:?}");
                }
            }
        }
    }

    #[test]
    fn a_shared_block_is_copied_before_it_is_written() {
        let shape = Shape {
            heads: 1,
            kv_heads: 1,
            head_dim: 2,
            pairs: Pairs::Halves,
        };
        let (cos, sin) = angles(4, 2);
        let angles = Angles {
            cos: &cos,
            sin: &sin,
        };
        let mut one = vec![Blocks::new(&shape, 1, Form::F32).block()];
        append(
            &[0.0, 0.0, 1.0, 2.0, 3.0, 4.0],
            &shape,
            0,
            0,
            angles,
            &mut one,
        );
        let mut other = one.clone();
        append(
            &[0.0, 0.0, 9.0, 9.0, 9.0, 9.0],
            &shape,
            0,
            1,
            angles,
            &mut other,
        );
        for (blocks, right) in [(one, [3.0, 4.0, 0.0, 0.0]), (other, [3.0, 4.0, 9.0, 9.0])] {
            let mut room = vec![0.0; shape.side()];
            assert_eq!(blocks[0].values(&shape, (0, 0), &mut room)[..4], right);
        }
    }
}
