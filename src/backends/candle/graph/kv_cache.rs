//! Keys and values of the tokens that a sequence has read.

use std::sync::Arc;

use candle_core::{Device, Result};

use super::{config::Config, state_sums::StateSums, tensor_cache::TensorCache};
use crate::backends::candle::kernels::blocks::{BLOCK, Block, Blocks};

/// New tokens of one sequence, and which logits are wanted of it.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    /// The new tokens; at least one.
    pub(crate) tokens: &'a [u32],
    /// What came before them.
    pub(crate) cache: &'a mut KvCache,
    /// Tokens at the end of the chunk whose logits are wanted.
    pub(crate) wanted: usize,
    /// The states that are wanted of its tokens, if any are.
    pub(crate) states: Option<&'a mut StateSums>,
}

/// The KV cache of one sequence.
#[derive(Debug)]
pub(crate) struct KvCache {
    store: Store,
    len: usize,
}

#[derive(Debug)]
enum Store {
    /// Blocks of tokens, which forks share until one of them writes.
    Blocks(Vec<Arc<Block>>),
    /// Tensors of candle.
    Tensors(TensorCache),
}

impl KvCache {
    /// An empty cache of blocks.
    pub(crate) fn of_blocks() -> Self {
        Self {
            store: Store::Blocks(Vec::new()),
            len: 0,
        }
    }

    /// An empty cache of tensors.
    pub(crate) fn of_tensors(config: &Config, device: &Device) -> Result<Self> {
        Ok(Self {
            store: Store::Tensors(TensorCache::new(config, device)?),
            len: 0,
        })
    }

    /// An independent copy; blocks are shared until one of them writes.
    pub(crate) fn fork(&self) -> Result<Self> {
        let store = match &self.store {
            Store::Blocks(blocks) => Store::Blocks(blocks.clone()),
            Store::Tensors(cache) => Store::Tensors(cache.fork()?),
        };
        Ok(Self {
            store,
            len: self.len,
        })
    }

    /// Whether what it holds can be shared with other sequences.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.store, Store::Blocks(_))
    }

    /// Tokens that it holds.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The blocks with room for `n` more tokens.
    pub(crate) fn reserve(&mut self, n: usize, make: &Blocks) -> Option<&mut [Arc<Block>]> {
        let needed = (self.len + n).div_ceil(BLOCK);
        match &mut self.store {
            Store::Blocks(blocks) => {
                while blocks.len() < needed {
                    blocks.push(make.block());
                }
                Some(blocks)
            }
            Store::Tensors(_) => None,
        }
    }

    /// The block that holds `tokens` tokens from `first` on, its first place, to be shared; if it has them.
    pub(crate) fn block(&self, first: usize, tokens: usize) -> Option<Arc<Block>> {
        match &self.store {
            Store::Blocks(blocks) if first + tokens <= self.len => {
                blocks.get(first / BLOCK).map(Arc::clone)
            }
            _ => None,
        }
    }

    /// Takes over the first `tokens` of a block that another sequence has filled. Gives whether it has a place here,
    /// behind whole blocks.
    pub(crate) fn take_over(&mut self, block: Arc<Block>, tokens: usize) -> bool {
        match &mut self.store {
            Store::Blocks(blocks) if blocks.len() * BLOCK == self.len => {
                blocks.push(block);
                self.len += tokens;
                true
            }
            _ => false,
        }
    }

    /// The tensors.
    pub(crate) fn tensors(&mut self) -> Option<&mut TensorCache> {
        match &mut self.store {
            Store::Blocks(_) => None,
            Store::Tensors(cache) => Some(cache),
        }
    }

    /// Counts `n` tokens as held, once every layer has them.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
    }
}
