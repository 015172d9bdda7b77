//! The architecture: a decoder of the Llama family, whatever its operations are made of.
//!
//! ```text
//!   tokens ─▶ embedding ─▶ ┌ norm ─▶ q k v ─▶ rotate ─▶ attention ─▶ o ─▶ + ┐ x layers ─▶ norm ─▶ head ─▶ logits
//!                          └ norm ─▶ silu(gate) · up ─▶ down ─────────────▶ + ┘
//! ```
//!
//! Some models norm each head of q and k before the rotation.
//!
//! One pass takes the new tokens of several sequences, one after the other and without padding. All layers but
//! attention work on rows, so they see one matrix `(T, hidden)`; attention runs for each sequence by itself. Letters in
//! shapes: `T` new tokens of all sequences, `n` new tokens of one, `L` all its tokens, `H` query heads, `K` key and
//! value heads, `G = H / K`, `D` head dimension.

use candle_core::{Result, Tensor};

use super::{
    config::Config,
    ops::{HeadNorms, RmsNorm},
};
use crate::backends::candle::kernels::int8::Int8Matrix;

/// A linear layer that is made of weights as they are read.
pub(crate) trait FromWeights: Sized {
    /// From weights `(out, in)` and biases `(out)`. The weights are parts one under the other, with so many outputs
    /// each; `name` is what the file calls them together.
    fn exact(name: &str, weight: &Tensor, bias: Option<Tensor>, parts: &[usize]) -> Result<Self>;

    /// From weights in 8 bits.
    fn int8(matrix: Int8Matrix) -> Result<Self>;
}

/// What the architecture is computed with: for inference see [`forward`](super::forward), for training
/// [`training`](crate::backends::candle::training).
pub(crate) trait Operations<'w> {
    /// A linear layer.
    type Linear: 'w;
    /// A matrix with a row for each token.
    type Value;

    /// `(T, hidden)` of the tokens of the pass, from `(vocab, hidden)`.
    fn embed(&mut self, embedding: &'w Tensor) -> Result<Self::Value>;
    /// `(T, hidden)` to the same.
    fn norm(&mut self, norm: &'w RmsNorm, x: &Self::Value) -> Result<Self::Value>;
    /// `(T, in)` to `(T, out)`.
    fn linear(&mut self, linear: &'w Self::Linear, x: &Self::Value) -> Result<Self::Value>;
    /// `(T, (H + 2K) D)` to the same.
    fn head_norms(&mut self, norms: &'w HeadNorms, qkv: &Self::Value) -> Result<Self::Value>;
    /// `(T, (H + 2K) D)` to `(T, H D)`.
    fn attend(&mut self, layer: usize, qkv: &Self::Value) -> Result<Self::Value>;
    /// `silu(gate) * up`: `(T, 2 intermediate)` to `(T, intermediate)`.
    fn swiglu(&mut self, gate_up: &Self::Value) -> Result<Self::Value>;
    /// `x + y`.
    fn add(&mut self, x: &Self::Value, y: &Self::Value) -> Result<Self::Value>;
    /// Looks at the residual stream `(T, hidden)` after so many layers.
    fn after(&mut self, _layers: usize, _x: &Self::Value) -> Result<()> {
        Ok(())
    }
    /// The rows whose logits are wanted; `None` if there are none.
    fn wanted(&mut self, x: &Self::Value) -> Result<Option<Self::Value>>;
}

/// The weights of a model.
#[derive(Debug)]
pub(crate) struct Weights<L> {
    pub(crate) config: Config,
    /// `(vocab, hidden)`
    pub(crate) embedding: Tensor,
    pub(crate) layers: Vec<Layer<L>>,
    pub(crate) norm: RmsNorm,
    pub(crate) head: L,
}

/// The weights of one layer.
#[derive(Debug)]
pub(crate) struct Layer<L> {
    pub(crate) attention_norm: RmsNorm,
    /// `hidden` to `(H + 2K) D`: q, k and v in one product.
    pub(crate) qkv: L,
    pub(crate) head_norms: Option<HeadNorms>,
    pub(crate) output: L,
    pub(crate) feed_forward_norm: RmsNorm,
    /// `hidden` to `2 * intermediate`: gate and up in one product.
    pub(crate) gate_up: L,
    pub(crate) down: L,
}

impl<L> Weights<L> {
    /// Runs all layers: the normed rows `(wanted, hidden)` that the head makes logits of; `None` if none are wanted.
    pub(crate) fn forward<'w, O: Operations<'w, Linear = L>>(
        &'w self,
        ops: &mut O,
    ) -> Result<Option<O::Value>> {
        // 1. Embedding: (T, hidden)
        let mut x = ops.embed(&self.embedding)?;
        for (index, layer) in self.layers.iter().enumerate() {
            // 2. Attention, added to the residual stream: (T, hidden)
            let h = ops.norm(&layer.attention_norm, &x)?;
            let mut qkv = ops.linear(&layer.qkv, &h)?;
            if let Some(norms) = &layer.head_norms {
                qkv = ops.head_norms(norms, &qkv)?;
            }
            let h = ops.attend(index, &qkv)?;
            let h = ops.linear(&layer.output, &h)?;
            x = ops.add(&x, &h)?;
            // 3. Feed-forward, added likewise: (T, hidden)
            let h = ops.norm(&layer.feed_forward_norm, &x)?;
            let gate_up = ops.linear(&layer.gate_up, &h)?;
            let h = ops.swiglu(&gate_up)?;
            let h = ops.linear(&layer.down, &h)?;
            x = ops.add(&x, &h)?;
            ops.after(index + 1, &x)?;
        }
        // 4. Only the wanted rows: (wanted, hidden)
        match ops.wanted(&x)? {
            Some(x) => ops.norm(&self.norm, &x).map(Some),
            None => Ok(None),
        }
    }
}
