//! The types of tensors that are read, and what their blocks hold.
//!
//! Layouts and formulas are those of ggml (`ggml-org/ggml`, `src/ggml-common.h` and `dequantize_row_*` in
//! `src/ggml-quants.c`), in the same order of operations, so the values are the same bits. `d` and `m` are a block's
//! scale and its lowest value, `q` its small integers.

use multiversion::multiversion;

use crate::backends::candle::kernels::half_to_f32;

/// A type of tensor that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum TensorType {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4K,
    Q5K,
    Q6K,
}

/// How ggml knows a type.
struct Layout {
    number: u32,
    name: &'static str,
    /// Values of a block.
    len: usize,
    /// Bytes of a block.
    bytes: usize,
}

const ALL: [TensorType; 11] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q8_0,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q4K,
    TensorType::Q5K,
    TensorType::Q6K,
];

/// The names of types that ggml has and we do not read.
const OTHERS: [(u32, &str); 23] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl TensorType {
    /// The type of a number in a file; or why there is none.
    pub(super) fn from_number(number: u32) -> Result<Self, String> {
        if let Some(kind) = ALL.into_iter().find(|kind| kind.layout().number == number) {
            return Ok(kind);
        }
        let name = OTHERS.into_iter().find(|row| row.0 == number);
        let name = name.map_or_else(|| format!("number {number}"), |row| row.1.to_owned());
        let known = ALL.map(|kind| kind.layout().name).join(", ");
        Err(format!(
            "is of type {name}, which is not supported; supported are {known}"
        ))
    }

    fn layout(self) -> Layout {
        let (number, name, len, bytes) = match self {
            Self::F32 => (0, "F32", 1, 4),
            Self::F16 => (1, "F16", 1, 2),
            Self::BF16 => (30, "BF16", 1, 2),
            Self::Q8_0 => (8, "Q8_0", 32, 34),
            Self::Q4_0 => (2, "Q4_0", 32, 18),
            Self::Q4_1 => (3, "Q4_1", 32, 20),
            Self::Q5_0 => (6, "Q5_0", 32, 22),
            Self::Q5_1 => (7, "Q5_1", 32, 24),
            Self::Q4K => (12, "Q4_K", 256, 144),
            Self::Q5K => (13, "Q5_K", 256, 176),
            Self::Q6K => (14, "Q6_K", 256, 210),
        };
        Layout {
            number,
            name,
            len,
            bytes,
        }
    }

    /// Its number in a file.
    pub(super) fn number(self) -> u32 {
        self.layout().number
    }

    /// Its name in ggml.
    pub(super) fn name(self) -> &'static str {
        self.layout().name
    }

    /// Values of a block.
    pub(in super::super) fn block_len(self) -> usize {
        self.layout().len
    }

    /// Bytes of a block.
    pub(super) fn block_bytes(self) -> usize {
        self.layout().bytes
    }

    /// The values of whole blocks.
    pub(in super::super) fn dequantize(self, bytes: &[u8], to: &mut [f32]) {
        dequantize(self, bytes, to);
    }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn dequantize(kind: TensorType, bytes: &[u8], to: &mut [f32]) {
    match kind {
        TensorType::F32 => blocks(bytes, to, |b, y: &mut [f32; 1]| {
            *y = [f32::from_le_bytes(*b)];
        }),
        TensorType::F16 => blocks(bytes, to, |b, y: &mut [f32; 1]| *y = [half(*b)]),
        TensorType::BF16 => blocks(bytes, to, |b, y: &mut [f32; 1]| {
            *y = [f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16)];
        }),
        TensorType::Q8_0 => blocks(bytes, to, q8_0),
        TensorType::Q4_0 => blocks(bytes, to, q4_0),
        TensorType::Q4_1 => blocks(bytes, to, q4_1),
        TensorType::Q5_0 => blocks(bytes, to, q5_0),
        TensorType::Q5_1 => blocks(bytes, to, q5_1),
        TensorType::Q4K => blocks(bytes, to, q4_k),
        TensorType::Q5K => blocks(bytes, to, q5_k),
        TensorType::Q6K => blocks(bytes, to, q6_k),
    }
}

/// Calls `read` with each block of `BYTES` bytes and its place for `LEN` values.
#[inline(always)]
fn blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    to: &mut [f32],
    read: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (blocks, _) = bytes.as_chunks();
    let (places, _) = to.as_chunks_mut();
    for (block, place) in blocks.iter().zip(places) {
        read(block, place);
    }
}

/// `q d`
#[inline(always)]
fn q8_0([d0, d1, q @ ..]: &[u8; 34], y: &mut [f32; 32]) {
    let d = half([*d0, *d1]);
    for (y, q) in y.iter_mut().zip(q) {
        *y = f32::from(*q as i8) * d;
    }
}

/// `(q - 8) d`
#[inline(always)]
fn q4_0([d0, d1, q @ ..]: &[u8; 18], y: &mut [f32; 32]) {
    let d = half([*d0, *d1]);
    let (low, high) = y.split_at_mut(16);
    for ((low, high), q) in low.iter_mut().zip(high).zip(q) {
        *low = f32::from((q & 15) as i8 - 8) * d;
        *high = f32::from((q >> 4) as i8 - 8) * d;
    }
}

/// `q d + m`
#[inline(always)]
fn q4_1([d0, d1, m0, m1, q @ ..]: &[u8; 20], y: &mut [f32; 32]) {
    let (d, m) = (half([*d0, *d1]), half([*m0, *m1]));
    let (low, high) = y.split_at_mut(16);
    for ((low, high), q) in low.iter_mut().zip(high).zip(q) {
        *low = f32::from(q & 15) * d + m;
        *high = f32::from(q >> 4) * d + m;
    }
}

/// `(q - 16) d`; the fifth bits of all `q` lie together.
#[inline(always)]
fn q5_0([d0, d1, h0, h1, h2, h3, q @ ..]: &[u8; 22], y: &mut [f32; 32]) {
    let d = half([*d0, *d1]);
    fives([*h0, *h1, *h2, *h3], q, y, |q| f32::from(q as i8 - 16) * d);
}

/// `q d + m`
#[inline(always)]
fn q5_1([d0, d1, m0, m1, h0, h1, h2, h3, q @ ..]: &[u8; 24], y: &mut [f32; 32]) {
    let (d, m) = (half([*d0, *d1]), half([*m0, *m1]));
    fives([*h0, *h1, *h2, *h3], q, y, |q| f32::from(q) * d + m);
}

#[inline(always)]
fn fives(high_bits: [u8; 4], q: &[u8; 16], y: &mut [f32; 32], value: impl Fn(u8) -> f32) {
    let bits = u32::from_le_bytes(high_bits);
    let fifth = |at: usize| ((bits >> at & 1) << 4) as u8;
    let (low, high) = y.split_at_mut(16);
    for (at, ((low, high), q)) in low.iter_mut().zip(high).zip(q).enumerate() {
        *low = value(q & 15 | fifth(at));
        *high = value(q >> 4 | fifth(at + 16));
    }
}

/// `(d s) q - (m t)`, with 6-bit integers `s` and `t` for each 32 values.
#[inline(always)]
fn q4_k([d0, d1, m0, m1, rest @ ..]: &[u8; 144], y: &mut [f32; 256]) {
    let (d, m) = (half([*d0, *d1]), half([*m0, *m1]));
    let Some((scales, q)) = rest.split_first_chunk::<12>() else {
        return;
    };
    let scales = six_bits(scales);
    let (pairs, _) = y.as_chunks_mut::<64>();
    for ((y, q), [(s, t), (s2, t2)]) in pairs.iter_mut().zip(q.chunks_exact(32)).zip(scales) {
        let (low, high) = y.split_at_mut(32);
        for ((low, high), q) in low.iter_mut().zip(high).zip(q) {
            *low = d * s * f32::from(q & 15) - m * t;
            *high = d * s2 * f32::from(q >> 4) - m * t2;
        }
    }
}

/// As [`q4_k`]; bit `n` of the high bits is the fifth bit of the n-th 32 values.
#[inline(always)]
fn q5_k([d0, d1, m0, m1, rest @ ..]: &[u8; 176], y: &mut [f32; 256]) {
    let (d, m) = (half([*d0, *d1]), half([*m0, *m1]));
    let Some((scales, rest)) = rest.split_first_chunk::<12>() else {
        return;
    };
    let Some((high_bits, q)) = rest.split_first_chunk::<32>() else {
        return;
    };
    let scales = six_bits(scales);
    let (pairs, _) = y.as_chunks_mut::<64>();
    let parts = pairs.iter_mut().zip(q.chunks_exact(32)).zip(scales);
    for (part, ((y, q), [(s, t), (s2, t2)])) in parts.enumerate() {
        let (low, high) = y.split_at_mut(32);
        for ((low, high), (q, bits)) in low.iter_mut().zip(high).zip(q.iter().zip(high_bits)) {
            let bits = bits >> (2 * part);
            *low = d * s * f32::from(q & 15 | (bits & 1) << 4) - m * t;
            *high = d * s2 * f32::from(q >> 4 | (bits >> 1 & 1) << 4) - m * t2;
        }
    }
}

/// The integers `s` and `t` of four times two parts (`get_scale_min_k4`).
#[inline(always)]
fn six_bits(packed: &[u8; 12]) -> [[(f32, f32); 2]; 4] {
    let [a, b, c, d, e, f, g, h, low @ ..] = *packed;
    let (s, t) = ([a, b, c, d], [e, f, g, h]);
    let mut pairs = [(0.0, 0.0); 8];
    let (first, last) = pairs.split_at_mut(4);
    for (((first, last), low), (s, t)) in first
        .iter_mut()
        .zip(last)
        .zip(low)
        .zip(s.into_iter().zip(t))
    {
        *first = (f32::from(s & 63), f32::from(t & 63));
        *last = (
            f32::from(low & 15 | s >> 6 << 4),
            f32::from(low >> 4 | t >> 6 << 4),
        );
    }
    let [a, b, c, d, e, f, g, h] = pairs;
    [[a, b], [c, d], [e, f], [g, h]]
}

/// `(d s) (q - 32)`, with an 8-bit integer `s` for each 16 values.
#[inline(always)]
fn q6_k(block: &[u8; 210], y: &mut [f32; 256]) {
    let (low_bits, rest) = block.split_at(128);
    let (high_bits, rest) = rest.split_at(64);
    let (scales, d) = rest.split_at(16);
    let d = half([
        d.first().copied().unwrap_or(0),
        d.get(1).copied().unwrap_or(0),
    ]);
    let halves = low_bits
        .chunks_exact(64)
        .zip(high_bits.chunks_exact(32))
        .zip(scales.chunks_exact(8));
    for (y, ((low_bits, high_bits), scales)) in y.chunks_exact_mut(128).zip(halves) {
        // Part n has the n-th pair of the high bits; parts 0 and 1 have the low nibbles, 2 and 3 the high ones.
        for (part, (y, scales)) in y
            .chunks_exact_mut(32)
            .zip(scales.chunks_exact(2))
            .enumerate()
        {
            let low_bits = low_bits.chunks_exact(32).nth(part % 2).unwrap_or_default();
            let nibble = part / 2 * 4;
            for ((y, (low, high)), s) in y
                .chunks_exact_mut(16)
                .zip(low_bits.chunks_exact(16).zip(high_bits.chunks_exact(16)))
                .zip(scales)
            {
                let scale = d * f32::from(*s as i8);
                for (y, (low, high)) in y.iter_mut().zip(low.iter().zip(high)) {
                    let q = low >> nibble & 15 | (high >> (2 * part) & 3) << 4;
                    *y = scale * f32::from(q as i8 - 32);
                }
            }
        }
    }
}

#[inline(always)]
fn half(bytes: [u8; 2]) -> f32 {
    half_to_f32(u16::from_le_bytes(bytes))
}
