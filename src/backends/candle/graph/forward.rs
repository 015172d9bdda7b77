//! The model for inference: the architecture on candle tensors.
//!
//! One pass takes a *ragged batch*: the new tokens of several sequences, each with its own cache. Letters in shapes as
//! in [`architecture`](super::architecture).

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::{
    architecture::{Operations, Weights},
    kv_cache::{Chunk, KvCache},
    linear::Linear,
    ops::{HeadNorms, RmsNorm, add, by_kernel, swiglu},
    tensor_attention::TensorAttention,
};
use crate::backends::candle::kernels::{
    attention::{self, Angles},
    blocks::{Blocks, Gauge, Shape},
};

/// A model that can be run.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) weights: Weights<Linear>,
    pub(crate) device: Device,
    pub(crate) attention: Attention,
}

/// How the new tokens look at what came before them, and with what the other operations are done.
#[derive(Debug)]
pub(crate) enum Attention {
    /// Our kernels, on a CPU. Cosines and sines `(positions, D / 2)`.
    Kernels {
        shape: Shape,
        blocks: Blocks,
        cos: Vec<f32>,
        sin: Vec<f32>,
    },
    /// Candle's operations, on any device.
    Tensors(TensorAttention),
}

impl Graph {
    /// An empty cache for one sequence.
    pub(crate) fn new_cache(&self) -> Result<KvCache> {
        match self.attention {
            Attention::Kernels { .. } => Ok(KvCache::of_blocks()),
            Attention::Tensors(_) => KvCache::of_tensors(&self.weights.config, &self.device),
        }
    }

    /// Bytes of a block of keys and values; 0 if there are none.
    pub(crate) fn block_bytes(&self) -> usize {
        match &self.attention {
            Attention::Kernels { blocks, .. } => blocks.block_bytes(),
            Attention::Tensors(_) => 0,
        }
    }

    /// What tells the bytes of all blocks; `None` if there are none.
    pub(crate) fn gauge(&self) -> Option<Gauge> {
        match &self.attention {
            Attention::Kernels { blocks, .. } => Some(blocks.gauge()),
            Attention::Tensors(_) => None,
        }
    }

    /// Runs the new tokens of all chunks: `(wanted rows of all chunks, vocab)` logits, in the order of the chunks.
    ///
    /// `None` if no chunk wants any.
    pub(crate) fn forward(&self, chunks: &mut [Chunk<'_>]) -> Result<Option<Tensor>> {
        let hidden = self.weights.forward(&mut Pass {
            graph: self,
            chunks,
        })?;
        for chunk in chunks.iter_mut() {
            chunk.cache.advance(chunk.tokens.len());
        }
        hidden.map(|x| self.weights.head.forward(&x)).transpose()
    }

    /// Whether our kernels do what candle has operations of its own for.
    fn kernels(&self) -> bool {
        matches!(self.attention, Attention::Kernels { .. })
    }

    /// `(T, (H + 2K) D)` to `(T, H D)`, every sequence by itself.
    fn attend(&self, layer: usize, qkv: &Tensor, chunks: &mut [Chunk<'_>]) -> Result<Tensor> {
        let (shape, blocks, angles) = match &self.attention {
            Attention::Tensors(attention) => {
                return attention.forward(&self.weights.config, layer, qkv, chunks);
            }
            Attention::Kernels {
                shape,
                blocks,
                cos,
                sin,
            } => (shape, blocks, Angles { cos, sin }),
        };
        let (in_width, out_width) = (qkv.dim(1)?, shape.heads * shape.head_dim);
        by_kernel(qkv, out_width, |mut qkv| {
            let mut out = vec![0.0; qkv.len() / in_width * out_width];
            let mut places = out.as_mut_slice();
            let mut tasks = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                let n = chunk.tokens.len();
                let (mine, others) = qkv.split_at(n * in_width);
                let (place, rest) = places.split_at_mut(n * out_width);
                (qkv, places) = (others, rest);
                let past = chunk.cache.len();
                if let Some(blocks) = chunk.cache.reserve(n, blocks) {
                    tasks.push((mine, past, blocks, place));
                }
            }
            tasks
                .into_par_iter()
                .for_each(|(qkv, past, blocks, place)| {
                    attention::append(qkv, shape, layer, past, angles, blocks);
                    attention::attend(qkv, shape, layer, past, angles, blocks, place);
                });
            out
        })
    }
}

/// One pass over the new tokens of all chunks.
struct Pass<'a, 'c> {
    graph: &'a Graph,
    chunks: &'a mut [Chunk<'c>],
}

impl<'w> Operations<'w> for Pass<'_, '_> {
    type Linear = Linear;
    type Value = Tensor;

    fn embed(&mut self, embedding: &Tensor) -> Result<Tensor> {
        let tokens = self.chunks.iter().flat_map(|chunk| chunk.tokens);
        let tokens: Vec<u32> = tokens.copied().collect();
        let count = tokens.len();
        embedding
            .index_select(&Tensor::from_vec(tokens, count, &self.graph.device)?, 0)?
            .to_dtype(DType::F32)
    }

    fn norm(&mut self, norm: &RmsNorm, x: &Tensor) -> Result<Tensor> {
        norm.forward(x, self.graph.kernels())
    }

    fn linear(&mut self, linear: &Linear, x: &Tensor) -> Result<Tensor> {
        linear.forward(x)
    }

    fn head_norms(&mut self, norms: &HeadNorms, qkv: &Tensor) -> Result<Tensor> {
        let config = &self.graph.weights.config;
        let heads = (config.num_attention_heads, config.num_key_value_heads);
        norms.forward(qkv, heads, self.graph.kernels())
    }

    fn attend(&mut self, layer: usize, qkv: &Tensor) -> Result<Tensor> {
        self.graph.attend(layer, qkv, self.chunks)
    }

    fn swiglu(&mut self, gate_up: &Tensor) -> Result<Tensor> {
        let width = self.graph.weights.config.intermediate_size;
        swiglu(gate_up, width, self.graph.kernels())
    }

    fn add(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        add(x, y, self.graph.kernels())
    }

    fn after(&mut self, layers: usize, x: &Tensor) -> Result<()> {
        let mut start = 0;
        for chunk in self.chunks.iter_mut() {
            let (past, count) = (chunk.cache.len(), chunk.tokens.len());
            if let Some(states) = &mut chunk.states
                && let Some(skipped) = states.wants(layers, past, count)
            {
                let rows = x.narrow(0, start + skipped, count - skipped)?;
                states.add(layers, &rows.to_vec2()?);
            }
            start += count;
        }
        Ok(())
    }

    fn wanted(&mut self, x: &Tensor) -> Result<Option<Tensor>> {
        let mut rows = Vec::new();
        let mut end = 0u32;
        for chunk in self.chunks.iter() {
            end += chunk.tokens.len() as u32;
            rows.extend(end - chunk.wanted.min(chunk.tokens.len()) as u32..end);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let count = rows.len();
        let rows = Tensor::from_vec(rows, count, &self.graph.device)?;
        x.index_select(&rows, 0).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::{
        graph::{architecture::Layer, config::tests::config, rope::angles, state_sums::StateSums},
        kernels::{blocks::Form, rows::Pairs},
    };

    /// A model of random weights, the same ones every time.
    fn graph(pairs: Pairs, kernels: bool) -> Graph {
        let config = config(pairs);
        let mut state = 7u32;
        let mut random = |rows: usize, columns: usize| {
            let values: Vec<f32> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.3
            })
            .take(rows * columns)
            .collect();
            Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
        };
        let hidden = config.hidden_size;
        let heads = config.num_attention_heads * config.head_dim;
        let qkv = heads + 2 * config.num_key_value_heads * config.head_dim;
        let inner = config.intermediate_size;
        let embedding = random(config.vocab_size, hidden);
        let layers = (0..config.num_hidden_layers)
            .map(|_| {
                let mut norm = || RmsNorm {
                    gain: Some(random(1, hidden).squeeze(0).unwrap()),
                    eps: 1e-5,
                };
                let (attention_norm, feed_forward_norm) = (norm(), norm());
                let bias = random(1, qkv).squeeze(0).unwrap();
                let head_norms = HeadNorms {
                    q: random(1, config.head_dim).squeeze(0).unwrap(),
                    k: random(1, config.head_dim).squeeze(0).unwrap(),
                    eps: 1e-5,
                };
                Layer {
                    attention_norm,
                    qkv: Linear::new(&random(qkv, hidden), Some(bias)).unwrap(),
                    head_norms: Some(head_norms),
                    output: Linear::new(&random(hidden, heads), None).unwrap(),
                    feed_forward_norm,
                    gate_up: Linear::new(&random(2 * inner, hidden), None).unwrap(),
                    down: Linear::new(&random(hidden, inner), None).unwrap(),
                }
            })
            .collect();
        let divisors: Vec<f32> = (1..=8).map(|n| n as f32).collect();
        let (cos, sin) = angles(&config, Some(&divisors), 100);
        let attention = if kernels {
            let shape = Shape {
                heads: 6,
                kv_heads: 2,
                head_dim: 16,
                pairs,
            };
            Attention::Kernels {
                blocks: Blocks::new(&shape, 3, Form::F32),
                shape,
                cos,
                sin,
            }
        } else {
            Attention::Tensors(TensorAttention::new(cos, sin, 16, &Device::Cpu).unwrap())
        };
        let weights = Weights {
            norm: RmsNorm {
                gain: None,
                eps: 1e-5,
            },
            head: Linear::new(&embedding, None).unwrap(),
            embedding,
            layers,
            config,
        };
        Graph {
            weights,
            device: Device::Cpu,
            attention,
        }
    }

    /// All logits of two sequences that run side by side, one in two parts.
    fn logits(graph: &Graph) -> Vec<f32> {
        let tokens: Vec<u32> = (0..70).map(|n| n * 13 % 50).collect();
        let mut caches = [graph.new_cache().unwrap(), graph.new_cache().unwrap()];
        let mut all = Vec::new();
        for range in [0..40, 40..70] {
            let [a, b] = &mut caches;
            let mut chunks = vec![Chunk {
                tokens: &tokens[range.clone()],
                cache: a,
                wanted: range.len(),
                states: None,
            }];
            if range.start == 0 {
                chunks.push(Chunk {
                    tokens: &tokens[5..12],
                    cache: b,
                    wanted: 7,
                    states: None,
                });
            }
            let logits = graph.forward(&mut chunks).unwrap().unwrap();
            all.extend(logits.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        }
        all
    }

    /// The states of tokens 10 to 69 after layers 1 and 3, read in chunks that end there.
    fn states(graph: &Graph, ends: &[usize]) -> Vec<(usize, Vec<f32>, Vec<f32>)> {
        let tokens: Vec<u32> = (0..70).map(|n| n * 13 % 50).collect();
        let (mut cache, mut sums) = (graph.new_cache().unwrap(), StateSums::new(10, &[3, 1]));
        for end in ends {
            let start = cache.len();
            let mut chunk = [Chunk {
                tokens: &tokens[start..*end],
                cache: &mut cache,
                wanted: 0,
                states: Some(&mut sums),
            }];
            assert!(graph.forward(&mut chunk).unwrap().is_none());
        }
        sums.finish().unwrap()
    }

    #[test]
    fn states_are_the_same_in_one_chunk_and_in_many_and_on_candle() {
        let ours = graph(Pairs::Halves, true);
        let whole = states(&ours, &[70]);
        let candle = states(&graph(Pairs::Halves, false), &[4, 33, 70]);
        assert_eq!(whole.iter().map(|one| one.0).collect::<Vec<_>>(), [3, 1]);
        for other in [states(&ours, &[4, 10, 11, 70]), candle] {
            for ((_, mean, last), (_, other_mean, other_last)) in whole.iter().zip(&other) {
                let pairs = mean
                    .iter()
                    .zip(other_mean)
                    .chain(last.iter().zip(other_last));
                for (a, b) in pairs {
                    assert!((a - b).abs() < 1e-3, "{a} {b}");
                }
            }
        }
        let (first, third) = (&whole[1], &whole[0]);
        assert_ne!(first.1, third.1);
        assert_ne!(first.1, first.2);
    }

    #[test]
    fn our_kernels_and_candle_agree() {
        for pairs in [Pairs::Neighbours, Pairs::Halves] {
            let ours = logits(&graph(pairs, true));
            let candle = logits(&graph(pairs, false));
            let largest = candle.iter().fold(0f32, |a, b| a.max(b.abs()));
            assert_eq!(ours.len(), candle.len());
            for (a, b) in ours.iter().zip(&candle) {
                assert!((a - b).abs() < 1e-4 * largest, "{pairs:?}: {a} {b}");
            }
        }
    }
}
