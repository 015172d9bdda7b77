//! Keys and values of one sequence.

use candle_core::{DType, Device, Result, Tensor};

use super::config::Config;

/// Room is added in blocks of this many tokens.
const BLOCK: usize = 256;

/// Keys and values of all layers, (kv_heads, capacity, head_dim) each, of which the first `len` tokens are in use.
pub(super) struct KvCache {
    layers: Vec<Option<(Tensor, Tensor)>>,
    len: usize,
    kv_heads: usize,
    head_dim: usize,
    device: Device,
}

impl KvCache {
    /// An empty cache, which holds no memory yet.
    pub(super) fn new(config: &Config, device: &Device) -> Self {
        Self {
            layers: vec![None; config.num_hidden_layers],
            len: 0,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            device: device.clone(),
        }
    }

    /// Tokens in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all tokens after the first `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Counts tokens whose keys and values every layer has appended.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// Writes keys and values of new tokens, (kv_heads, n, head_dim), behind the old ones, and gives all of them.
    pub(super) fn append(
        &mut self,
        layer: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let length = self.len + k.dim(1)?;
        let room = length.div_ceil(BLOCK) * BLOCK;
        let shape = (self.kv_heads, room, self.head_dim);
        let (used, device) = (self.len, &self.device);
        let Some(slot) = self.layers.get_mut(layer) else {
            candle_core::bail!("the cache has no layer {layer}");
        };
        let grown = |old: Option<&Tensor>| -> Result<Tensor> {
            let new = Tensor::zeros(shape, DType::F32, device)?;
            if let Some(old) = old
                && used > 0
            {
                new.slice_set(&old.narrow(1, 0, used)?.contiguous()?, 1, 0)?;
            }
            Ok(new)
        };
        let (keys, values) = match slot.take() {
            Some((keys, values)) if keys.dim(1)? >= length => (keys, values),
            Some((keys, values)) => (grown(Some(&keys))?, grown(Some(&values))?),
            None => (grown(None)?, grown(None)?),
        };
        keys.slice_set(k, 1, used)?;
        values.slice_set(v, 1, used)?;
        let both = (keys.narrow(1, 0, length)?, values.narrow(1, 0, length)?);
        *slot = Some((keys, values));
        Ok(both)
    }
}
