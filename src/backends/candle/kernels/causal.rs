//! Causal attention of whole sequences and its gradient, for training.
//!
//! `softmax(q k^T / sqrt D) v` for sequences that lie one after the other and do not see each other. A tile of tokens
//! at a time, so that the scores of a long sequence never stand in memory together; the gradient makes them anew (as in
//! arXiv 2205.14135, section 3.1). Letters as in [`attention`](super::attention).

use rayon::prelude::*;

use super::{
    attention::{Angles, exponentials},
    blocks::Shape,
    gemm::{Mismatch, View, Write, product},
    rows::rotate,
};

/// Tokens whose scores are made together.
const TILE: usize = 64;
/// Scores of a row that are worked on together.
const LANES: usize = 16;

/// Sequences that lie one after the other.
#[derive(Clone, Copy)]
pub(in super::super) struct Packed<'a> {
    pub(in super::super) shape: &'a Shape,
    /// Tokens of each.
    pub(in super::super) lengths: &'a [usize],
    pub(in super::super) angles: Angles<'a>,
}

/// The heads of one group of one sequence: queries rotated and scaled `(n, G, D)`, keys rotated `(L, D)` and values
/// `(L, D)`, both with zeros up to a multiple of 16.
struct Group {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Packed<'_> {
    /// `(T, (H + 2K) D)` to `(T, H D)`.
    pub(in super::super) fn forward(self, qkv: &[f32]) -> Result<Vec<f32>, Mismatch> {
        let (d, group) = (self.shape.head_dim, self.group());
        let parts = self.tasks().into_par_iter().map(|(first, n, head)| {
            let parts = self.gather(qkv, first, n, head);
            let mut out = vec![0.0; parts.queries.len()];
            for (tile, out) in out.chunks_mut(TILE * group * d).enumerate() {
                let (scores, seen) = self.probabilities(&parts, tile)?;
                let values = View::rows(parts.values.get(..seen * d).unwrap_or_default(), d);
                product(out, Write::Over, 1.0, View::rows(&scores, seen), values)?;
            }
            Ok((first, head, out))
        });
        let width = self.shape.heads * d;
        let mut out = vec![0.0; qkv.len() / self.shape.qkv() * width];
        for (first, head, part) in parts.collect::<Result<Vec<_>, _>>()? {
            let rows = out.chunks_exact_mut(width).skip(first);
            for (row, part) in rows.zip(part.chunks_exact(group * d)) {
                copy(row, head * group * d, part);
            }
        }
        Ok(out)
    }

    /// The gradient in `qkv`, from `out` and its gradient `(T, H D)` each.
    pub(in super::super) fn backward(
        self,
        qkv: &[f32],
        out: &[f32],
        d_out: &[f32],
    ) -> Result<Vec<f32>, Mismatch> {
        let (d, group) = (self.shape.head_dim, self.group());
        let parts = self.tasks().into_par_iter().map(|(first, n, head)| {
            self.group_backward(qkv, out, d_out, (first, n, head))
                .map(|gradient| (first, head, gradient))
        });
        let mut d_qkv = vec![0.0; qkv.len()];
        let keys = self.shape.heads * d;
        let values = keys + self.shape.kv_heads * d;
        for (first, head, part) in parts.collect::<Result<Vec<_>, _>>()? {
            let rows = d_qkv.chunks_exact_mut(self.shape.qkv()).skip(first);
            let sides = part.keys.chunks_exact(d).zip(part.values.chunks_exact(d));
            for ((row, queries), (key, value)) in
                rows.zip(part.queries.chunks_exact(group * d)).zip(sides)
            {
                copy(row, head * group * d, queries);
                copy(row, keys + head * d, key);
                copy(row, values + head * d, value);
            }
        }
        Ok(d_qkv)
    }

    fn group_backward(
        self,
        qkv: &[f32],
        out: &[f32],
        d_out: &[f32],
        (first, n, head): (usize, usize, usize),
    ) -> Result<Group, Mismatch> {
        let (d, group) = (self.shape.head_dim, self.group());
        let parts = self.gather(qkv, first, n, head);
        let pick = |values: &[f32]| -> Vec<f32> {
            let rows = values.chunks_exact(self.shape.heads * d).skip(first);
            let rows = rows
                .take(n)
                .filter_map(|row| row.chunks_exact(group * d).nth(head));
            rows.flatten().copied().collect()
        };
        let (out, d_out) = (pick(out), pick(d_out));
        let mut gradient = Group {
            queries: vec![0.0; parts.queries.len()],
            keys: vec![0.0; parts.keys.len()],
            values: vec![0.0; parts.values.len()],
        };
        let size = TILE * group * d;
        let tiles = parts
            .queries
            .chunks(size)
            .zip(gradient.queries.chunks_mut(size));
        let outs = out.chunks(size).zip(d_out.chunks(size));
        for (tile, ((queries, d_queries), (out, d_out))) in tiles.zip(outs).enumerate() {
            let (scores, seen) = self.probabilities(&parts, tile)?;
            let side = |values: &'_ [f32]| values.len().min(seen * d);
            let (Some(keys), Some(values)) = (
                parts.keys.get(..side(&parts.keys)),
                parts.values.get(..side(&parts.values)),
            ) else {
                return Err(Mismatch);
            };
            let (Some(d_keys), Some(d_values)) = (
                gradient.keys.get_mut(..seen * d),
                gradient.values.get_mut(..seen * d),
            ) else {
                return Err(Mismatch);
            };
            // dV += P^T dO; dP = dO V^T
            let probabilities = View::rows(&scores, seen);
            let d_out_rows = View::rows(d_out, d);
            product(d_values, Write::Add, 1.0, probabilities.t(), d_out_rows)?;
            let mut d_scores = vec![0.0; scores.len()];
            product(
                &mut d_scores,
                Write::Over,
                1.0,
                d_out_rows,
                View::rows(values, d).t(),
            )?;
            // dS = P (dP - sum(dO O))
            let rows = d_scores
                .chunks_exact_mut(seen)
                .zip(scores.chunks_exact(seen));
            let outs = out.chunks_exact(d).zip(d_out.chunks_exact(d));
            for ((d_scores, scores), (out, d_out)) in rows.zip(outs) {
                let dot: f32 = out.iter().zip(d_out).map(|(o, d)| o * d).sum();
                for (d, p) in d_scores.iter_mut().zip(scores) {
                    *d = p * (*d - dot);
                }
            }
            // dQ = dS K; dK += dS^T Q
            let d_scores = View::rows(&d_scores, seen);
            product(d_queries, Write::Over, 1.0, d_scores, View::rows(keys, d))?;
            product(
                d_keys,
                Write::Add,
                1.0,
                d_scores.t(),
                View::rows(queries, d),
            )?;
        }
        let scale = 1.0 / (d as f32).sqrt();
        self.turn_back(&mut gradient.queries, group, scale);
        self.turn_back(&mut gradient.keys, 1, 1.0);
        Ok(gradient)
    }

    /// The probabilities of a tile of tokens, rows `(tile, G)` of so many tokens seen.
    fn probabilities(self, parts: &Group, tile: usize) -> Result<(Vec<f32>, usize), Mismatch> {
        let (d, group) = (self.shape.head_dim, self.group());
        let size = TILE * group * d;
        let queries = parts.queries.chunks(size).nth(tile).ok_or(Mismatch)?;
        let first = tile * TILE;
        let seen = (first + queries.len() / (group * d)).next_multiple_of(LANES);
        let keys = parts.keys.get(..seen * d).ok_or(Mismatch)?;
        let mut scores = vec![0.0; queries.len() / d * seen];
        product(
            &mut scores,
            Write::Over,
            1.0,
            View::rows(queries, d),
            View::rows(keys, d).t(),
        )?;
        for (row, scores) in scores.chunks_exact_mut(seen).enumerate() {
            let inverse = 1.0 / exponentials(scores, first + row / group + 1);
            scores.iter_mut().for_each(|score| *score *= inverse);
        }
        Ok((scores, seen))
    }

    /// A sequence's first token and length, and a key head.
    fn tasks(self) -> Vec<(usize, usize, usize)> {
        let mut first = 0;
        let mut tasks = Vec::new();
        for n in self.lengths {
            tasks.extend((0..self.shape.kv_heads).map(|head| (first, *n, head)));
            first += n;
        }
        tasks
    }

    fn group(self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    fn gather(self, qkv: &[f32], first: usize, n: usize, head: usize) -> Group {
        let (d, group) = (self.shape.head_dim, self.group());
        let room = n.next_multiple_of(LANES) * d;
        let mut parts = Group {
            queries: vec![0.0; n * group * d],
            keys: vec![0.0; room],
            values: vec![0.0; room],
        };
        let scale = 1.0 / (d as f32).sqrt();
        let rows = qkv.chunks_exact(self.shape.qkv()).skip(first).take(n);
        let sides = parts
            .keys
            .chunks_exact_mut(d)
            .zip(parts.values.chunks_exact_mut(d));
        let to = parts.queries.chunks_exact_mut(group * d).zip(sides);
        for (position, (row, (queries, (key, value)))) in rows.zip(to).enumerate() {
            let angles = self.angles.at(position, d);
            let heads = row.chunks_exact(d).skip(head * group);
            for (from, to) in heads.zip(queries.chunks_exact_mut(d)) {
                rotate(from, to, angles, self.shape.pairs, scale);
            }
            let mut sides = row.chunks_exact(d).skip(self.shape.heads + head);
            if let Some(from) = sides.next() {
                rotate(from, key, angles, self.shape.pairs, 1.0);
            }
            if let Some(from) = sides.nth(self.shape.kv_heads - 1) {
                value.copy_from_slice(from);
            }
        }
        parts
    }

    /// Undoes the rotation, of so many heads for each token, times a scale.
    fn turn_back(self, gradient: &mut [f32], heads: usize, scale: f32) {
        let d = self.shape.head_dim;
        let mut turned = vec![0.0; d];
        let mut back = vec![0.0; d / 2];
        for (position, heads) in gradient.chunks_exact_mut(heads * d).enumerate() {
            let (cos, sin) = self.angles.at(position, d);
            back.iter_mut()
                .zip(sin)
                .for_each(|(back, sin)| *back = -sin);
            if sin.is_empty() {
                return;
            }
            for head in heads.chunks_exact_mut(d) {
                rotate(head, &mut turned, (cos, &back), self.shape.pairs, scale);
                head.copy_from_slice(&turned);
            }
        }
    }
}

fn copy(row: &mut [f32], first: usize, part: &[f32]) {
    if let Some(to) = row.get_mut(first..first + part.len()) {
        to.copy_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::kernels::{
        attention,
        backward::tests::check,
        blocks::{BLOCK, Blocks, Form},
        rows::Pairs,
        tests::values,
    };

    const LENGTHS: [usize; 3] = [70, 1, 33];

    fn shape(pairs: Pairs) -> Shape {
        Shape {
            heads: 6,
            kv_heads: 2,
            head_dim: 8,
            pairs,
        }
    }

    fn tables() -> (Vec<f32>, Vec<f32>) {
        (0..100 * 4).map(|at| (at as f32 * 0.37).sin_cos()).unzip()
    }

    #[test]
    fn it_is_the_attention_of_inference_for_each_sequence() {
        let (cos, sin) = tables();
        let angles = Angles {
            cos: &cos,
            sin: &sin,
        };
        for pairs in [Pairs::Neighbours, Pairs::Halves] {
            let shape = shape(pairs);
            let packed = Packed {
                shape: &shape,
                lengths: &LENGTHS,
                angles,
            };
            let qkv = values(104 * shape.qkv(), 1);
            let out = packed.forward(&qkv).unwrap();
            let (mut first, make) = (0, Blocks::new(&shape, 1, Form::F32));
            for n in LENGTHS {
                let qkv = &qkv[first * shape.qkv()..][..n * shape.qkv()];
                let mut blocks: Vec<_> = (0..n.div_ceil(BLOCK)).map(|_| make.block()).collect();
                attention::append(qkv, &shape, 0, 0, angles, &mut blocks);
                let mut right = vec![0.0; n * 48];
                attention::attend(qkv, &shape, 0, 0, angles, &blocks, &mut right);
                for (a, b) in out[first * 48..].iter().zip(&right) {
                    assert!((a - b).abs() < 1e-5, "{a} {b}");
                }
                first += n;
            }
        }
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let (cos, sin) = tables();
        for pairs in [Pairs::Neighbours, Pairs::Halves] {
            let shape = shape(pairs);
            let packed = Packed {
                shape: &shape,
                lengths: &LENGTHS,
                angles: Angles {
                    cos: &cos,
                    sin: &sin,
                },
            };
            let qkv = values(104 * shape.qkv(), 1);
            let d_out = values(104 * 48, 2);
            let out = packed.forward(&qkv).unwrap();
            let gradient = packed.backward(&qkv, &out, &d_out).unwrap();
            check(&qkv, &gradient, &d_out, |qkv| packed.forward(qkv).unwrap());
        }
    }
}
