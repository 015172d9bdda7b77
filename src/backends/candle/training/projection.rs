//! A frozen linear layer with branches of low rank.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::backends::candle::{
    graph::{architecture::FromWeights, ops::with_values},
    kernels::{
        gemm::{Mismatch, Packed, View, Write, add_narrow, product},
        int8::Int8Matrix,
    },
};

/// `x W^T + b + scale (x A^T) B^T`, where `W` and `b` stay and each part of the outputs has its own `A` and `B`
/// (LoRA, arXiv 2106.09685, section 4.1).
#[derive(Debug)]
pub(super) struct Projection {
    /// `W^T`, `(in, out)`.
    forward: Packed,
    /// `W`, `(out, in)`.
    backward: Packed,
    bias: Option<Vec<f32>>,
    inputs: usize,
    parts: Vec<usize>,
    pub(super) low_rank: Option<LowRank>,
}

/// The branches of one layer.
#[derive(Debug)]
pub(super) struct LowRank {
    /// The parts that have one, in the order of their `A`.
    pub(super) parts: Vec<Part>,
    /// Where all `A` lie among the parameters, `(parts rank, in)`.
    pub(super) a: Range<usize>,
    pub(super) rank: usize,
    /// `alpha / rank`, or `alpha / sqrt(rank)`.
    pub(super) scale: f32,
    /// How likely an input of the branches is left out of a step.
    pub(super) dropout: f32,
}

/// Some outputs of a layer, with a branch of their own.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) first: usize,
    pub(super) outputs: usize,
    /// Where its `B` lies among the parameters, `(outputs, rank)`.
    pub(super) b: Range<usize>,
}

/// What the forward pass keeps for the backward pass.
pub(super) struct Kept {
    /// `scale x A^T`, `(T, parts rank)`.
    narrow: Vec<f32>,
    /// The inputs of the branches, if some were left out.
    dropped: Option<Vec<f32>>,
    /// What was left out: 0, or what makes up for the others.
    mask: Option<Vec<f32>>,
}

type Outcome<T = ()> = std::result::Result<T, Mismatch>;

impl FromWeights for Projection {
    fn exact(_: &str, weight: &Tensor, bias: Option<Tensor>, parts: &[usize]) -> Result<Self> {
        let (_, inputs) = weight.dims2()?;
        let packed: Outcome<_> = with_values(weight, |values| {
            let weight = View::rows(values, inputs);
            Ok((Packed::new(weight.t())?, Packed::new(weight)?))
        })?;
        let (forward, backward) = packed.map_err(candle_core::Error::wrap)?;
        let bias = bias.map(|bias| bias.to_vec1());
        Ok(Self {
            forward,
            backward,
            bias: bias.transpose()?,
            inputs,
            parts: parts.to_vec(),
            low_rank: None,
        })
    }

    fn int8(_: Int8Matrix) -> Result<Self> {
        candle_core::bail!("training is in F32")
    }
}

impl Projection {
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs of each part.
    pub(super) fn parts(&self) -> &[usize] {
        &self.parts
    }

    pub(super) fn outputs(&self) -> usize {
        self.parts.iter().sum()
    }

    /// `(T, in)` to `(T, out)`. `seed` chooses what is left out of the branches; `None` leaves nothing out.
    pub(super) fn forward(
        &self,
        x: &[f32],
        parameters: &[f32],
        seed: Option<u64>,
    ) -> Outcome<(Vec<f32>, Option<Kept>)> {
        let outputs = self.outputs();
        let mut y = vec![0.0; x.len() / self.inputs * outputs];
        let write = self.bias.as_deref().map_or(Write::Over, Write::Biased);
        product(
            &mut y,
            write,
            1.0,
            View::rows(x, self.inputs),
            &self.forward,
        )?;
        let Some(branch) = &self.low_rank else {
            return Ok((y, None));
        };
        let mask = seed
            .filter(|_| branch.dropout > 0.0)
            .map(|seed| mask(x.len(), branch.dropout, seed));
        let dropped = mask.as_ref().map(|mask| times(x, mask));
        let x = dropped.as_deref().unwrap_or(x);
        let width = branch.width();
        let a = parameters.get(branch.a.clone()).ok_or(Mismatch)?;
        let mut narrow = vec![0.0; x.len() / self.inputs * width];
        let (x, a) = (View::rows(x, self.inputs), View::rows(a, self.inputs));
        product(&mut narrow, Write::Over, branch.scale, x, a.t())?;
        for (at, part) in branch.parts.iter().enumerate() {
            let b = parameters.get(part.b.clone()).ok_or(Mismatch)?;
            let b = turned(b, branch.rank);
            let from = (narrow.as_slice(), width, at * branch.rank);
            add_narrow((&mut y, outputs, part.first), from, (&b, part.outputs));
        }
        let kept = Kept {
            narrow,
            dropped,
            mask,
        };
        Ok((y, Some(kept)))
    }

    /// Adds the gradient of the parameters to `d_parameters`, and writes that of `x` to `dx`, if it is wanted.
    pub(super) fn backward(
        &self,
        x: &[f32],
        dy: &[f32],
        kept: Option<Kept>,
        (parameters, d_parameters): (&[f32], &mut [f32]),
        dx: Option<(&mut [f32], Write<'_>)>,
    ) -> Outcome {
        let outputs = self.outputs();
        let dy = View::rows(dy, outputs);
        let mut dx = dx;
        if let Some((dx, write)) = &mut dx {
            product(dx, *write, 1.0, dy, &self.backward)?;
        }
        let (Some(branch), Some(kept)) = (&self.low_rank, kept) else {
            return Ok(());
        };
        let (rank, width) = (branch.rank, branch.width());
        let rows = x.len() / self.inputs;
        let mut d_narrow = vec![0.0; rows * width];
        let mut part_narrow = vec![0.0; rows * rank];
        for (at, part) in branch.parts.iter().enumerate() {
            let dy = dy.columns(part.first, part.outputs);
            let narrow = View::rows(&kept.narrow, width).columns(at * rank, rank);
            let db = d_parameters.get_mut(part.b.clone()).ok_or(Mismatch)?;
            product(db, Write::Add, 1.0, dy.t(), narrow)?;
            let b = parameters.get(part.b.clone()).ok_or(Mismatch)?;
            product(
                &mut part_narrow,
                Write::Over,
                branch.scale,
                dy,
                View::rows(b, rank),
            )?;
            let places = d_narrow.chunks_exact_mut(width);
            for (to, from) in places.zip(part_narrow.chunks_exact(rank)) {
                if let Some(to) = to.get_mut(at * rank..(at + 1) * rank) {
                    to.copy_from_slice(from);
                }
            }
        }
        let d_narrow = View::rows(&d_narrow, width);
        let a = parameters.get(branch.a.clone()).ok_or(Mismatch)?;
        let a = View::rows(a, self.inputs);
        let da = d_parameters.get_mut(branch.a.clone()).ok_or(Mismatch)?;
        let inputs = View::rows(kept.dropped.as_deref().unwrap_or(x), self.inputs);
        product(da, Write::Add, 1.0, d_narrow.t(), inputs)?;
        match (dx, kept.mask) {
            (None, _) => {}
            (Some((dx, _)), None) => product(dx, Write::Add, 1.0, d_narrow, a)?,
            (Some((dx, _)), Some(mask)) => {
                let mut branch = vec![0.0; dx.len()];
                product(&mut branch, Write::Over, 1.0, d_narrow, a)?;
                for ((dx, branch), mask) in dx.iter_mut().zip(branch).zip(mask) {
                    *dx += branch * mask;
                }
            }
        }
        Ok(())
    }

    /// `x W^T` alone, for the head.
    pub(super) fn plain(&self, x: &[f32], to: &mut [f32]) -> Outcome {
        product(
            to,
            Write::Over,
            1.0,
            View::rows(x, self.inputs),
            &self.forward,
        )
    }

    /// `dy W`, for the head.
    pub(super) fn plain_backward(&self, dy: &[f32], to: &mut [f32]) -> Outcome {
        product(
            to,
            Write::Over,
            1.0,
            View::rows(dy, self.outputs()),
            &self.backward,
        )
    }
}

impl LowRank {
    /// `parts rank`
    fn width(&self) -> usize {
        self.parts.len() * self.rank
    }
}

/// Rows of `width` as columns.
fn turned(values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.len() / width;
    let mut turned = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(width).enumerate() {
        for (to, value) in turned.iter_mut().skip(row).step_by(rows).zip(values) {
            *to = *value;
        }
    }
    turned
}

/// 0 with the likelihood `dropout`, else `1 / (1 - dropout)`; the same for the same seed.
fn mask(len: usize, dropout: f32, seed: u64) -> Vec<f32> {
    let bound = (f64::from(dropout) * 2f64.powi(32)) as u64;
    let keep = 1.0 / (1.0 - dropout);
    (0..len as u64)
        .into_par_iter()
        .map(|at| {
            if mix(seed ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 32 < bound {
                0.0
            } else {
                keep
            }
        })
        .collect()
}

/// The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(super) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn times(x: &[f32], mask: &[f32]) -> Vec<f32> {
    x.iter().zip(mask).map(|(x, mask)| x * mask).collect()
}
