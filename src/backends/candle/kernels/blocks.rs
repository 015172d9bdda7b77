//! Keys and values of past tokens, in blocks of fixed size.

use std::sync::{Arc, Weak};

use half::{f16, slice::HalfFloatSliceExt};
use multiversion::multiversion;

use super::{half_to_f32, rows::Pairs};

/// Tokens of one block.
pub(in super::super) const BLOCK: usize = 32;

/// The sizes that attention needs to know.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Shape {
    /// `H`
    pub(in super::super) heads: usize,
    /// `K`
    pub(in super::super) kv_heads: usize,
    /// `D`
    pub(in super::super) head_dim: usize,
    pub(in super::super) pairs: Pairs,
}

impl Shape {
    /// `(H + 2 K) D`
    pub(super) fn qkv(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Numbers of the keys of one head in a block, and of its values.
    pub(super) fn side(&self) -> usize {
        BLOCK * self.head_dim
    }

    /// Where the keys of a head begin; its values follow them.
    fn start(&self, (layer, kv_head): (usize, usize)) -> usize {
        (layer * self.kv_heads + kv_head) * 2 * self.side()
    }
}

/// In what a block holds its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Form {
    F32,
    /// Half the memory. Numbers beyond its range are clamped to it.
    F16,
}

/// Makes the blocks of one model, and knows how many there are.
#[derive(Debug)]
pub(in super::super) struct Blocks {
    form: Form,
    numbers: usize,
    counted: Arc<()>,
}

impl Blocks {
    pub(in super::super) fn new(shape: &Shape, layers: usize, form: Form) -> Self {
        Self {
            form,
            numbers: shape.start((layers, 0)),
            counted: Arc::new(()),
        }
    }

    /// A block of zeros.
    pub(in super::super) fn block(&self) -> Arc<Block> {
        Arc::new(Block {
            numbers: match self.form {
                Form::F32 => Numbers::F32(vec![0.0; self.numbers]),
                Form::F16 => Numbers::F16(vec![f16::ZERO; self.numbers]),
            },
            _counted: Arc::clone(&self.counted),
        })
    }

    /// Bytes of one block.
    pub(in super::super) fn block_bytes(&self) -> usize {
        let size = match self.form {
            Form::F32 => size_of::<f32>(),
            Form::F16 => size_of::<f16>(),
        };
        size * self.numbers
    }

    /// What can tell the bytes of all blocks from another thread.
    pub(in super::super) fn gauge(&self) -> Gauge {
        Gauge {
            block_bytes: self.block_bytes(),
            counted: Arc::downgrade(&self.counted),
        }
    }
}

/// Tells how much memory the blocks of a model take.
#[derive(Clone, Debug)]
pub(in super::super) struct Gauge {
    block_bytes: usize,
    counted: Weak<()>,
}

impl Gauge {
    /// Bytes of all blocks that there are now.
    pub(in super::super) fn bytes(&self) -> usize {
        // One count is that of `Blocks`.
        self.counted.strong_count().saturating_sub(1) * self.block_bytes
    }
}

/// Keys and values of [`BLOCK`] tokens: `(layers, K, 2)` sides of `BLOCK D` numbers; the keys as `(D, BLOCK)`, so that
/// neighbours are scored together, the values as `(BLOCK, D)`.
#[derive(Clone, Debug)]
pub(in super::super) struct Block {
    numbers: Numbers,
    _counted: Arc<()>,
}

#[derive(Clone, Debug)]
enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Block {
    /// Writes the key and the value of one token, `(D)` each.
    pub(super) fn write(
        &mut self,
        shape: &Shape,
        head: (usize, usize),
        slot: usize,
        key: &[f32],
        value: &[f32],
    ) {
        let start = shape.start(head);
        match &mut self.numbers {
            Numbers::F32(numbers) => write(numbers, start, shape, slot, key, value),
            Numbers::F16(numbers) => {
                let half = |numbers: &[f32]| {
                    let limit = f16::MAX.to_f32();
                    let inside: Vec<f32> = numbers.iter().map(|x| x.clamp(-limit, limit)).collect();
                    let mut halves = vec![f16::ZERO; inside.len()];
                    halves.convert_from_f32_slice(&inside);
                    halves
                };
                write(numbers, start, shape, slot, &half(key), &half(value));
            }
        }
    }

    /// The keys of a head: `(D, BLOCK)`. `room` has place for a side.
    pub(super) fn keys<'a>(
        &'a self,
        shape: &Shape,
        head: (usize, usize),
        room: &'a mut [f32],
    ) -> &'a [f32] {
        self.side(shape.start(head), room)
    }

    /// The values of a head: `(BLOCK, D)`. `room` has place for a side.
    pub(super) fn values<'a>(
        &'a self,
        shape: &Shape,
        head: (usize, usize),
        room: &'a mut [f32],
    ) -> &'a [f32] {
        self.side(shape.start(head) + shape.side(), room)
    }

    fn side<'a>(&'a self, start: usize, room: &'a mut [f32]) -> &'a [f32] {
        let range = start..start + room.len();
        match &self.numbers {
            Numbers::F32(numbers) => numbers.get(range).unwrap_or_default(),
            Numbers::F16(numbers) => {
                widen(numbers.get(range).unwrap_or_default(), room);
                room
            }
        }
    }
}

/// The same numbers in F32.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn widen(halves: &[f16], out: &mut [f32]) {
    for (out, half) in out.iter_mut().zip(halves) {
        *out = half_to_f32(half.to_bits());
    }
}

fn write<T: Copy>(
    numbers: &mut [T],
    start: usize,
    shape: &Shape,
    slot: usize,
    key: &[T],
    value: &[T],
) {
    let (side, d) = (shape.side(), shape.head_dim);
    let keys = numbers.get_mut(start + slot..start + side);
    for (to, x) in keys.into_iter().flatten().step_by(BLOCK).zip(key) {
        *to = *x;
    }
    let at = start + side + slot * d;
    if let Some(to) = numbers.get_mut(at..at + d) {
        to.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        heads: 2,
        kv_heads: 2,
        head_dim: 2,
        pairs: Pairs::Halves,
    };

    #[test]
    fn what_is_written_is_read_in_both_forms() {
        for (form, large) in [(Form::F32, 1e6), (Form::F16, 65_504.0)] {
            let blocks = Blocks::new(&SHAPE, 2, form);
            let mut block = blocks.block();
            let block = Arc::make_mut(&mut block);
            block.write(&SHAPE, (1, 1), 3, &[1.5, -1e6], &[0.25, 1e6]);
            let (mut room, mut other) = (vec![9.0; SHAPE.side()], vec![9.0; SHAPE.side()]);
            let keys = block.keys(&SHAPE, (1, 1), &mut room);
            assert_eq!((keys[3], keys[BLOCK + 3], keys[4]), (1.5, -large, 0.0));
            let values = block.values(&SHAPE, (1, 1), &mut other);
            assert_eq!(values[6..9], [0.25, large, 0.0]);
            let before = block.values(&SHAPE, (1, 0), &mut other);
            assert!(before.iter().all(|x| *x == 0.0));
        }
    }

    #[test]
    fn every_finite_half_is_widened_exactly() {
        let halves: Vec<f16> = (0..=u16::MAX)
            .map(f16::from_bits)
            .filter(|half| half.is_finite())
            .collect();
        let mut wide = vec![0.0; halves.len()];
        widen(&halves, &mut wide);
        for (half, wide) in halves.iter().zip(&wide) {
            assert_eq!(half.to_f32().to_bits(), wide.to_bits(), "{half:?}");
        }
    }

    #[test]
    fn blocks_are_counted_until_the_last_holder_is_gone() {
        let blocks = Blocks::new(&SHAPE, 3, Form::F16);
        let gauge = blocks.gauge();
        assert_eq!(gauge.bytes(), 0);
        let one = blocks.block();
        let (mut copy, other) = (Arc::clone(&one), blocks.block());
        assert_eq!(gauge.bytes(), 2 * blocks.block_bytes());
        Arc::make_mut(&mut copy);
        assert_eq!(gauge.bytes(), 3 * blocks.block_bytes());
        drop((one, other));
        assert_eq!(gauge.bytes(), 3 * 2 * 2 * 32 * 2 * 2);
        drop(copy);
        assert_eq!(gauge.bytes(), 0);
    }
}
