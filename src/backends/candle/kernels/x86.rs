//! The integer products on x86-64.
//!
//! One of three places with unsafe code, beside the output columns of [`int8`](super::int8) and the map of a model
//! file: loads through pointers whose bounds the callers' slices give, and calls of functions that need an instruction
//! set which the type proves.
#![allow(unsafe_code)]

use std::{arch::x86_64::*, ops::Range};

use super::int8::{Columns, Int8Matrix, PANEL, QUAD, Rows};

/// Bytes of one quad of inputs in a panel.
const STEP: usize = PANEL * QUAD;

/// Proof that this machine has AVX-512 (F, BW) with VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vnni(());

/// Proof that this machine has AVX-512 (F, BW), with VNNI or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx512(());

/// Proof that this machine has AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Vnni {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni"))
        .then_some(Self(()))
    }

    pub(super) fn multiply(
        self,
        matrix: &Int8Matrix,
        rows: &Rows,
        range: Range<usize>,
        columns: &Columns,
    ) {
        // SAFETY: `self` proves the instruction set.
        unsafe { vnni_panels(matrix, rows, range, columns) }
    }
}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"))
            .then_some(Self(()))
    }

    pub(super) fn multiply(
        self,
        matrix: &Int8Matrix,
        rows: &Rows,
        range: Range<usize>,
        columns: &Columns,
    ) {
        // SAFETY: `self` proves the instruction set.
        unsafe { avx512_panels(matrix, rows, range, columns) }
    }
}

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    pub(super) fn multiply(
        self,
        matrix: &Int8Matrix,
        rows: &Rows,
        range: Range<usize>,
        columns: &Columns,
    ) {
        // SAFETY: `self` proves the instruction set.
        unsafe { avx2_panels(matrix, rows, range, columns) }
    }
}

/// Goes through the panels, and in each through the rows, the highest tiles first.
macro_rules! panels {
    ($tile:ident, $($height:literal)+, $values:expr, $matrix:ident, $rows:ident, $range:ident, $columns:ident) => {
        let stride = $rows.stride;
        for (first, panel, scales) in $matrix.panels($range) {
            let mut values = $values.as_slice();
            let mut row = 0;
            $(
                while let Some((tile, rest)) = values.split_at_checked($height * stride) {
                    for sums in &$tile::<$height>(tile, stride, panel) {
                        $matrix.finish($rows, row, (first, scales), sums, $columns);
                        row += 1;
                    }
                    values = rest;
                }
            )+
        }
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn vnni_panels(matrix: &Int8Matrix, rows: &Rows, range: Range<usize>, columns: &Columns) {
    panels!(vnni_tile, 8 4 2 1, rows.narrow, matrix, rows, range, columns);
}

/// The sums of `R` rows of `stride` inputs with one panel.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn vnni_tile<const R: usize>(rows: &[i8], stride: usize, panel: &[u8]) -> [[i32; PANEL]; R] {
    assert!(
        rows.len() >= R * stride && panel.len() >= stride * PANEL && stride.is_multiple_of(QUAD)
    );
    let mut sums = [[_mm512_setzero_si512(); 2]; R];
    for quad in 0..stride / QUAD {
        // SAFETY: a step is 128 bytes and the panel has one for each quad; a row has 4 bytes for each quad.
        unsafe {
            let weights = panel.as_ptr().add(quad * STEP);
            let low = _mm512_loadu_si512(weights.cast());
            let high = _mm512_loadu_si512(weights.add(STEP / 2).cast());
            for (row, sums) in sums.iter_mut().enumerate() {
                let values = rows.as_ptr().add(row * stride + quad * QUAD);
                let values = _mm512_set1_epi32(values.cast::<i32>().read_unaligned());
                sums[0] = _mm512_dpbusd_epi32(sums[0], low, values);
                sums[1] = _mm512_dpbusd_epi32(sums[1], high, values);
            }
        }
    }
    let mut out = [[0; PANEL]; R];
    for (out, sums) in out.iter_mut().zip(&sums) {
        // SAFETY: a row of sums is two registers long.
        unsafe {
            _mm512_storeu_si512(out.as_mut_ptr().cast(), sums[0]);
            _mm512_storeu_si512(out.as_mut_ptr().add(PANEL / 2).cast(), sums[1]);
        }
    }
    out
}

#[target_feature(enable = "avx512f,avx512bw")]
fn avx512_panels(matrix: &Int8Matrix, rows: &Rows, range: Range<usize>, columns: &Columns) {
    panels!(avx512_tile, 6 4 2 1, rows.wide, matrix, rows, range, columns);
}

/// The sums of `R` rows of `stride` inputs with one panel, widened to 16 bits as in [`avx2_tile`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn avx512_tile<const R: usize>(rows: &[i16], stride: usize, panel: &[u8]) -> [[i32; PANEL]; R] {
    assert!(
        rows.len() >= R * stride && panel.len() >= stride * PANEL && stride.is_multiple_of(QUAD)
    );
    let mut sums = [[_mm512_setzero_si512(); 4]; R];
    for quad in 0..stride / QUAD {
        // SAFETY: a step is 128 bytes and the panel has one for each quad; a row has 4 values for each quad.
        unsafe {
            let weights = panel.as_ptr().add(quad * STEP);
            let wide = [
                _mm512_cvtepu8_epi16(_mm256_loadu_si256(weights.cast())),
                _mm512_cvtepu8_epi16(_mm256_loadu_si256(weights.add(STEP / 4).cast())),
                _mm512_cvtepu8_epi16(_mm256_loadu_si256(weights.add(STEP / 2).cast())),
                _mm512_cvtepu8_epi16(_mm256_loadu_si256(weights.add(STEP / 4 * 3).cast())),
            ];
            for (row, sums) in sums.iter_mut().enumerate() {
                let values = rows.as_ptr().add(row * stride + quad * QUAD);
                let values = _mm512_set1_epi64(values.cast::<i64>().read_unaligned());
                sums[0] = _mm512_add_epi32(sums[0], _mm512_madd_epi16(wide[0], values));
                sums[1] = _mm512_add_epi32(sums[1], _mm512_madd_epi16(wide[1], values));
                sums[2] = _mm512_add_epi32(sums[2], _mm512_madd_epi16(wide[2], values));
                sums[3] = _mm512_add_epi32(sums[3], _mm512_madd_epi16(wide[3], values));
            }
        }
    }
    let mut out = [[0; PANEL]; R];
    for (out, sums) in out.iter_mut().zip(&sums) {
        // Two sums of each output lie side by side: they are added, and the 8 lower ones of a register stored.
        for (out, sums) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            let both = _mm512_add_epi32(*sums, _mm512_srli_epi64::<32>(*sums));
            // SAFETY: 8 sums of 32 bits are one register of 256.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(both)) }
        }
    }
    out
}

#[target_feature(enable = "avx2,fma")]
fn avx2_panels(matrix: &Int8Matrix, rows: &Rows, range: Range<usize>, columns: &Columns) {
    panels!(avx2_tile, 3 2 1, rows.wide, matrix, rows, range, columns);
}

/// The sums of `R` rows of `stride` inputs with one panel.
///
/// The instruction for bytes (`vpmaddubsw`) saturates, so both sides are widened to 16 bits, where the sum of two
/// products is exact.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn avx2_tile<const R: usize>(rows: &[i16], stride: usize, panel: &[u8]) -> [[i32; PANEL]; R] {
    assert!(
        rows.len() >= R * stride && panel.len() >= stride * PANEL && stride.is_multiple_of(QUAD)
    );
    let mut out = [[0; PANEL]; R];
    // Half a panel at a time: 4 registers of sums for each row.
    for half in 0..2 {
        let mut sums = [[_mm256_setzero_si256(); 4]; R];
        for quad in 0..stride / QUAD {
            // SAFETY: a step is 128 bytes and the panel has one for each quad; a row has 4 values for each quad.
            unsafe {
                let weights = panel.as_ptr().add(quad * STEP + half * STEP / 2);
                let mut wide = [_mm256_setzero_si256(); 4];
                for (part, wide) in wide.iter_mut().enumerate() {
                    *wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(weights.add(16 * part).cast()));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let values = rows.as_ptr().add(row * stride + quad * QUAD);
                    let values = _mm256_set1_epi64x(values.cast::<i64>().read_unaligned());
                    // Written out: the sums stay in registers only if no loop is left here.
                    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(wide[0], values));
                    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(wide[1], values));
                    sums[2] = _mm256_add_epi32(sums[2], _mm256_madd_epi16(wide[2], values));
                    sums[3] = _mm256_add_epi32(sums[3], _mm256_madd_epi16(wide[3], values));
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(&sums) {
            // Each register holds two sums for each of four outputs.
            let [a, b, c, d] = *sums;
            for (pair, (first, second)) in [(a, b), (c, d)].into_iter().enumerate() {
                let both = _mm256_hadd_epi32(first, second);
                let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(both);
                // SAFETY: the two halves of a row hold two registers each.
                unsafe {
                    let to = out.as_mut_ptr().add(half * PANEL / 2 + pair * 8);
                    _mm256_storeu_si256(to.cast(), both);
                }
            }
        }
    }
    out
}
