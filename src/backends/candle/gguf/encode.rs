//! The types of tensors that are written, and how their blocks are filled.

use half::f16;
use multiversion::multiversion;

use super::types::TensorType;

/// The largest finite number of 16 bits.
const F16_MAX: f32 = 65_504.0;

/// A type of tensor that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Encoding {
    F32,
    F16,
    Q8_0,
}

impl Encoding {
    /// Its name in ggml.
    pub(in super::super) fn name(self) -> &'static str {
        self.kind().name()
    }

    /// Bytes of this many values: whole blocks.
    pub(in super::super) fn bytes(self, values: usize) -> usize {
        values / self.block_len() * self.kind().block_bytes()
    }

    /// Values of a block.
    pub(in super::super) fn block_len(self) -> usize {
        self.kind().block_len()
    }

    /// Its number in a file.
    pub(super) fn number(self) -> u32 {
        self.kind().number()
    }

    /// Writes whole blocks of values; whether it can hold all of them. None holds what is not a number, F16 nothing
    /// beyond 65,504, and Q8_0 nothing beyond 127 times that.
    pub(in super::super) fn encode(self, values: &[f32], to: &mut [u8]) -> bool {
        encode(self, values, to)
    }

    fn kind(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::Q8_0 => TensorType::Q8_0,
        }
    }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn encode(kind: Encoding, values: &[f32], to: &mut [u8]) -> bool {
    match kind {
        Encoding::F32 => blocks(values, to, |[x]: &[f32; 1], to| {
            *to = x.to_le_bytes();
            x.is_finite()
        }),
        Encoding::F16 => blocks(values, to, |[x]: &[f32; 1], to| {
            *to = f16::from_f32(*x).to_le_bytes();
            x.abs() <= F16_MAX
        }),
        Encoding::Q8_0 => blocks(values, to, q8_0),
    }
}

/// Calls `write` with each block of `LEN` values and its place of `BYTES` bytes; whether it always says yes.
#[inline(always)]
fn blocks<const LEN: usize, const BYTES: usize>(
    values: &[f32],
    to: &mut [u8],
    write: impl Fn(&[f32; LEN], &mut [u8; BYTES]) -> bool,
) -> bool {
    let (blocks, _) = values.as_chunks();
    let (places, _) = to.as_chunks_mut();
    let pairs = blocks.iter().zip(places);
    pairs.fold(true, |fine, (block, place)| write(block, place) & fine)
}

/// `q d`, where the largest value gets `q` = 127 (`ggml-org/ggml`, `quantize_row_q8_0_ref` in `src/ggml-quants.c`). As
/// there, `q` is rounded with the scale in 32 bits, away from zero if it lies in the middle.
#[inline(always)]
fn q8_0(x: &[f32; 32], [d0, d1, q @ ..]: &mut [u8; 34]) -> bool {
    // Numbers without a sign have the order of their bits, and what is none comes last.
    let most = x.iter().map(|x| x.abs().to_bits()).max();
    let d = f32::from_bits(most.unwrap_or_default()) / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    for (q, x) in q.iter_mut().zip(x) {
        *q = (x * inverse).round() as i8 as u8;
    }
    [*d0, *d1] = f16::from_f32(d).to_le_bytes();
    d <= F16_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::kernels::tests::values;

    fn encoded(kind: Encoding, values: &[f32]) -> Option<Vec<u8>> {
        let mut bytes = vec![0xee; kind.bytes(values.len())];
        kind.encode(values, &mut bytes).then_some(bytes)
    }

    fn decoded(kind: Encoding, bytes: &[u8], count: usize) -> Vec<f32> {
        let mut values = vec![0.0; count];
        kind.kind().dequantize(bytes, &mut values);
        values
    }

    #[test]
    fn what_a_type_holds_exactly_comes_back() {
        let halves: Vec<f32> = (0..=u16::MAX)
            .map(|bits| f16::from_bits(bits).to_f32())
            .filter(|half| half.is_finite())
            .collect();
        // Blocks with scales of their own: 1, a half, and none.
        let steps: Vec<f32> = (-127..=127).step_by(8).map(|q| q as f32).collect();
        let small: Vec<f32> = steps.iter().map(|q| q / 2.0).collect();
        let blocks = [steps, small, vec![0.0; 32]].concat();
        for (kind, exact) in [
            (Encoding::F32, &values(64, 1)),
            (Encoding::F16, &halves),
            (Encoding::Q8_0, &blocks),
        ] {
            let bytes = encoded(kind, exact).unwrap();
            assert!(decoded(kind, &bytes, exact.len()) == *exact, "{kind:?}");
        }
    }

    #[test]
    fn q8_0_rounds_the_middle_away_from_zero() {
        let mut block = [0.0; 32];
        block[..6].copy_from_slice(&[127.0, 0.5, 1.5, -0.5, -2.5, 0.49]);
        let bytes = encoded(Encoding::Q8_0, &block).unwrap();
        assert_eq!(bytes[..2], f16::ONE.to_le_bytes());
        let q: Vec<i8> = bytes[2..8].iter().map(|q| *q as i8).collect();
        assert_eq!(q, [127, 1, 2, -1, -3, 0]);
    }

    #[test]
    fn what_a_type_cannot_hold_is_seen_wherever_it_stands() {
        let cases = [
            (Encoding::F32, f32::MAX, f32::INFINITY),
            (Encoding::F16, 65_504.0, 65_505.0),
            (Encoding::Q8_0, 65_504.0 * 127.0, 65_505.0 * 127.0),
        ];
        for (kind, largest, beyond) in cases {
            for at in [0, 31, 45, 63] {
                let with = |value: f32| {
                    let mut values = [1.0; 64];
                    values[at] = value;
                    encoded(kind, &values).is_some()
                };
                assert!(with(largest) && with(-largest), "{kind:?}");
                for wrong in [beyond, -beyond, f32::NAN, -f32::NAN, f32::NEG_INFINITY] {
                    assert!(!with(wrong), "{kind:?}: {wrong} at {at}");
                }
            }
        }
    }
}
