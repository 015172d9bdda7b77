//! What is trained: the matrices of a low-rank adapter, in one flat vector.

use std::ops::Range;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::backends::candle::{
    graph::architecture::Weights,
    weights::adapter::{Place, Side, TARGETS},
};

use super::projection::{LowRank, Part, Projection};

/// A matrix that is trained.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub(super) place: Place,
    pub(super) side: Side,
    /// Rows and columns.
    pub(super) shape: [usize; 2],
    /// Where it lies among the parameters.
    pub(super) range: Range<usize>,
}

/// All matrices of an adapter, in the order of the layers.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) matrices: Vec<Matrix>,
    pub(super) len: usize,
}

impl Layout {
    /// The rank of its matrices.
    pub(super) fn rank(&self) -> usize {
        let first = self.matrices.iter().find(|matrix| matrix.side == Side::A);
        first.map_or(0, |matrix| matrix.shape[0])
    }

    /// Gives the chosen projections of a model branches of low rank, and says where their parameters lie.
    pub(super) fn attach(
        weights: &mut Weights<Projection>,
        chosen: &[usize],
        rank: usize,
        scale: f32,
        dropout: f32,
    ) -> Self {
        let mut layout = Self::default();
        for (index, layer) in weights.layers.iter_mut().enumerate() {
            for (projection, names) in [
                (&mut layer.qkv, ["attn_q", "attn_k", "attn_v"].as_slice()),
                (&mut layer.output, &["attn_output"]),
                (&mut layer.gate_up, &["ffn_gate", "ffn_up"]),
                (&mut layer.down, &["ffn_down"]),
            ] {
                layout.attach_one(projection, index, names, chosen, (rank, scale, dropout));
            }
        }
        layout
    }

    fn attach_one(
        &mut self,
        projection: &mut Projection,
        layer: usize,
        names: &[&str],
        chosen: &[usize],
        (rank, scale, dropout): (usize, f32, f32),
    ) {
        let mut first = 0;
        let mut parts = Vec::new();
        for (name, outputs) in names.iter().zip(projection.parts().to_vec()) {
            let target = TARGETS.iter().position(|target| target.1 == *name);
            if let Some(target) = target.filter(|target| chosen.contains(target)) {
                parts.push(((layer, target), first, outputs));
            }
            first += outputs;
        }
        if parts.is_empty() {
            return;
        }
        let inputs = projection.inputs();
        // The A of all parts first, so that they are one matrix.
        let a_start = self.len;
        for (place, ..) in &parts {
            self.push(*place, Side::A, [rank, inputs]);
        }
        let a = a_start..self.len;
        let parts = parts.into_iter().map(|(place, first, outputs)| Part {
            first,
            outputs,
            b: self.push(place, Side::B, [outputs, rank]),
        });
        projection.low_rank = Some(LowRank {
            parts: parts.collect(),
            a,
            rank,
            scale,
            dropout,
        });
    }

    fn push(&mut self, place: Place, side: Side, shape: [usize; 2]) -> Range<usize> {
        let range = self.len..self.len + shape[0] * shape[1];
        self.len = range.end;
        self.matrices.push(Matrix {
            place,
            side,
            shape,
            range: range.clone(),
        });
        range
    }

    /// Parameters to begin with: A even between `±1 / sqrt(inputs)`, B zero, as PEFT begins (`kaiming_uniform_` with
    /// `a = sqrt(5)`).
    pub(super) fn initial(&self, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut values = vec![0.0; self.len];
        for matrix in self.matrices.iter().filter(|matrix| matrix.side == Side::A) {
            let bound = 1.0 / (matrix.shape[1] as f32).sqrt();
            for value in values.get_mut(matrix.range.clone()).unwrap_or_default() {
                let even = (random.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
                *value = even * bound;
            }
        }
        values
    }
}
