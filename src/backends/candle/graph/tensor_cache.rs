//! Keys and values as tensors of candle, for every device.

use candle_core::{DType, Device, Result, Tensor};

use super::config::Config;

/// Tokens that a cache grows by: often enough to waste little, seldom enough that copying does not count.
const BLOCK: usize = 256;

/// Keys and values of one sequence, for each layer `(K, capacity, D)`.
#[derive(Debug)]
pub(crate) struct TensorCache(Vec<(Tensor, Tensor)>);

impl TensorCache {
    /// An empty cache.
    pub(crate) fn new(config: &Config, device: &Device) -> Result<Self> {
        let shape = (config.num_key_value_heads, BLOCK, config.head_dim);
        let zeros = || Tensor::zeros(shape, DType::F32, device);
        (0..config.num_hidden_layers)
            .map(|_| Ok((zeros()?, zeros()?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// A copy that no longer shares anything with this one.
    pub(crate) fn fork(&self) -> Result<Self> {
        // `clone` would share the storage that `slice_set` writes to.
        self.0
            .iter()
            .map(|(keys, values)| Ok((keys.copy()?, values.copy()?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Writes the keys and values of new tokens, `(K, n, D)`, behind the `past` ones of a layer, and gives all of them
    /// back, `(K, past + n, D)`.
    pub(super) fn append(
        &mut self,
        layer: usize,
        past: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let Some((old_keys, old_values)) = self.0.get_mut(layer) else {
            candle_core::bail!("the cache has no layer {layer}");
        };
        Ok((push(old_keys, past, keys)?, push(old_values, past, values)?))
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
