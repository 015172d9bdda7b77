//! Keys and values of the tokens that a sequence has been through.

use candle_core::{DType, Device, Result, Tensor};

use super::config::Config;

/// Tokens that a cache grows by: often enough to waste little, seldom enough that copying does not count.
const BLOCK: usize = 256;

/// The KV cache of one sequence.
#[derive(Debug)]
pub(super) struct KvCache {
    layers: Vec<Layer>,
    len: usize,
}

/// Keys and values of one layer, each `(kv_heads, capacity, head_dim)`.
#[derive(Debug)]
struct Layer {
    keys: Tensor,
    values: Tensor,
}

impl KvCache {
    /// An empty cache.
    pub(super) fn new(config: &Config, device: &Device) -> Result<Self> {
        let shape = (config.num_key_value_heads, BLOCK, config.head_dim);
        let layers = (0..config.num_hidden_layers)
            .map(|_| {
                Ok(Layer {
                    keys: Tensor::zeros(shape, DType::F32, device)?,
                    values: Tensor::zeros(shape, DType::F32, device)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { layers, len: 0 })
    }

    /// A copy that goes its own way.
    pub(super) fn fork(&self) -> Result<Self> {
        // `clone` would share the storage that `slice_set` writes to.
        let layers = self
            .layers
            .iter()
            .map(|layer| {
                Ok(Layer {
                    keys: layer.keys.copy()?,
                    values: layer.values.copy()?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            len: self.len,
        })
    }

    /// Tokens that it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Writes the keys and values of new tokens, `(kv_heads, n, head_dim)`, behind those of a layer, and gives all of
    /// them back, `(kv_heads, len + n, head_dim)`.
    pub(super) fn append(
        &mut self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let start = self.len;
        let Some(layer) = self.layers.get_mut(layer) else {
            candle_core::bail!("the cache has no layer {layer}");
        };
        let keys = push(&mut layer.keys, start, keys)?;
        let values = push(&mut layer.values, start, values)?;
        Ok((keys, values))
    }

    /// Counts `n` tokens as held, once every layer has them.
    pub(super) fn advance(&mut self, n: usize) {
        self.len += n;
    }
}

fn push(store: &mut Tensor, start: usize, new: &Tensor) -> Result<Tensor> {
    let (heads, capacity, width) = store.dims3()?;
    let end = start + new.dim(1)?;
    if end > capacity {
        let shape = (heads, end.next_multiple_of(BLOCK), width);
        let grown = Tensor::zeros(shape, store.dtype(), store.device())?;
        grown.slice_set(store, 1, 0)?;
        *store = grown;
    }
    store.slice_set(&new.contiguous()?, 1, start)?;
    store.narrow(1, 0, end)
}
