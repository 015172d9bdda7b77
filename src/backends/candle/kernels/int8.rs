//! Products of 8-bit integers, exact, for linear layers.
//!
//! `y[r][o] = sum_k x[r][k] w[o][k]` with weights in one scale for each output and inputs in one scale for each row,
//! both symmetric: `w = scale_w * i`, `x = scale_x * j` with `i` and `j` in -127..=127. The sum of `i j` is exact in 32
//! bits, so rows do not depend on each other nor on the instruction set.
//!
//! The weights are stored as `i + 128`, unsigned, because the instructions for dot products take one unsigned and one
//! signed side: `sum (i + 128) j = sum i j + 128 sum j`, and the last sum belongs to the row.

use std::{fmt, ops::Range};

use multiversion::multiversion;
use rayon::prelude::*;

use super::hadamard;

/// Outputs that lie side by side: two registers of 16 32-bit sums.
pub(super) const PANEL: usize = 32;
/// Inputs that one instruction sums up.
pub(super) const QUAD: usize = 4;
/// The most inputs whose sums fit 32 bits.
pub(in super::super) const MAX_INPUTS: usize = i32::MAX as usize / (255 * 127);
const OFFSET: i32 = 128;

/// The weights of a linear layer in 8 bits, in the order in which they are read.
#[cfg_attr(test, derive(PartialEq))]
pub(in super::super) struct Int8Matrix {
    /// `(outputs / 32, inputs / 4, 32, 4)`, both padded.
    panels: Vec<u8>,
    /// One for each output, padded.
    scales: Vec<f32>,
    bias: Option<Vec<f32>>,
    inputs: usize,
    outputs: usize,
    /// The block of the Hadamard transform of the inputs; 1 for none.
    hadamard: usize,
    kernel: Kernel,
}

/// How products are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni(super::x86::Vnni),
    /// AVX-512 without VNNI, on inputs widened to 16 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512(super::x86::Avx512),
    /// AVX2, on inputs widened to 16 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2(super::x86::Avx2),
    /// Plain Rust.
    Plain,
}

impl Kernel {
    /// All that this machine has, the fastest first.
    fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(super::x86::Vnni::detect().map(Self::Vnni));
            kernels.extend(super::x86::Avx512::detect().map(Self::Avx512));
            kernels.extend(super::x86::Avx2::detect().map(Self::Avx2));
        }
        kernels.push(Self::Plain);
        kernels
    }
}

impl Int8Matrix {
    /// Rounds weights `(outputs, inputs)`: `fill` writes rows of them, from a first one on, and is called for a panel
    /// at a time. With `hadamard` above 1, the inputs are transformed before the product, in blocks of that size, and
    /// so are the weights here.
    ///
    /// `None` if a weight is not a number.
    pub(in super::super) fn new(
        (outputs, inputs): (usize, usize),
        bias: Option<Vec<f32>>,
        hadamard: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Option<Self> {
        let (quads, panels) = (inputs.div_ceil(QUAD), outputs.div_ceil(PANEL));
        let mut matrix = Self {
            panels: vec![OFFSET as u8; panels * quads * PANEL * QUAD],
            scales: vec![0.0; panels * PANEL],
            bias,
            inputs,
            outputs,
            hadamard,
            kernel: Kernel::available().first().copied()?,
        };
        matrix
            .panels
            .par_chunks_exact_mut(quads * PANEL * QUAD)
            .zip(matrix.scales.par_chunks_exact_mut(PANEL))
            .enumerate()
            .try_for_each_init(
                || (vec![0.0; PANEL * inputs], vec![0; quads * QUAD]),
                |(weights, rounded), (at, (panel, scales))| {
                    let first = at * PANEL;
                    let weights = weights.get_mut(..(outputs - first).min(PANEL) * inputs)?;
                    fill(first, weights);
                    if hadamard > 1 {
                        hadamard::transform(weights, inputs, hadamard);
                    }
                    let (places, _) = panel.as_chunks_mut::<QUAD>();
                    for (at, (row, scale)) in weights.chunks_exact(inputs).zip(scales).enumerate() {
                        *scale = round_row(row, 1, rounded).scale;
                        let places = places.iter_mut().skip(at).step_by(PANEL);
                        for (place, values) in places.zip(rounded.as_chunks::<QUAD>().0) {
                            // In two's complement, 128 more is the other sign bit.
                            *place = values.map(|value| value as u8 ^ OFFSET as u8);
                        }
                    }
                    weights
                        .iter()
                        .all(|weight| weight.is_finite())
                        .then_some(())
                },
            )?;
        Some(matrix)
    }

    /// Bytes that it holds.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.panels.len() + 4 * self.scales.len()
    }

    /// Outputs of a row.
    pub(in super::super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `(rows, inputs)` to `(rows, outputs)`.
    pub(in super::super) fn multiply(&self, x: &[f32]) -> Vec<f32> {
        let rows = self.round(x);
        let mut y = vec![0.0; rows.sums.len() * self.outputs];
        let columns = Columns(y.as_mut_ptr());
        let panels = self.scales.len() / PANEL;
        let threads = rayon::current_num_threads();
        // With few rows a hand-over to another thread costs as much as a panel.
        let parts = if rows.sums.len() < 8 {
            threads
        } else {
            4 * threads
        };
        let grain = panels.div_ceil(parts).max(1);
        share(0..panels, grain, &|range| match &self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Vnni(kernel) => kernel.multiply(self, &rows, range, &columns),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(kernel) => kernel.multiply(self, &rows, range, &columns),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(kernel) => kernel.multiply(self, &rows, range, &columns),
            Kernel::Plain => self.multiply_plainly(&rows, range, &columns),
        });
        y
    }

    /// Rounds the inputs, transformed if that is asked for.
    fn round(&self, x: &[f32]) -> Rows {
        let stride = self.inputs.next_multiple_of(QUAD);
        let count = x.len() / self.inputs.max(1);
        let mut rows = Rows {
            narrow: vec![0; count * stride],
            wide: Vec::new(),
            sums: vec![0; count],
            scales: vec![0.0; count],
            stride,
        };
        let round = |((x, to), (sum, scale)): (Ends<'_>, (&mut i32, &mut f32))| {
            let rounded = round_row(x, self.hadamard, to);
            (*sum, *scale) = (rounded.sum, rounded.scale);
        };
        if count < 8 {
            x.chunks_exact(self.inputs)
                .zip(rows.narrow.chunks_exact_mut(stride))
                .zip(rows.sums.iter_mut().zip(&mut rows.scales))
                .for_each(round);
        } else {
            x.par_chunks_exact(self.inputs)
                .zip(rows.narrow.par_chunks_exact_mut(stride))
                .zip(rows.sums.par_iter_mut().zip(&mut rows.scales))
                .with_min_len(count.div_ceil(2 * rayon::current_num_threads()))
                .for_each(round);
        }
        #[cfg(target_arch = "x86_64")]
        if matches!(self.kernel, Kernel::Avx512(_) | Kernel::Avx2(_)) {
            rows.wide = rows.narrow.iter().map(|x| i16::from(*x)).collect();
        }
        rows
    }

    /// The panels of a range, each with the scales of its outputs and the number of the first of them.
    pub(super) fn panels(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (usize, &[u8], &[f32])> {
        let size = self.inputs.div_ceil(QUAD) * QUAD * PANEL;
        self.panels
            .chunks_exact(size)
            .zip(self.scales.chunks_exact(PANEL))
            .enumerate()
            .skip(range.start)
            .take(range.len())
            .map(|(at, (panel, scales))| (at * PANEL, panel, scales))
    }

    fn multiply_plainly(&self, rows: &Rows, range: Range<usize>, columns: &Columns) {
        for (first, panel, scales) in self.panels(range) {
            for (row, values) in rows.narrow.chunks_exact(rows.stride).enumerate() {
                let mut sums = [0; PANEL];
                for (weights, values) in panel.chunks_exact(PANEL * QUAD).zip(values.chunks(QUAD)) {
                    for (sum, weights) in sums.iter_mut().zip(weights.chunks(QUAD)) {
                        for (weight, value) in weights.iter().zip(values) {
                            *sum += i32::from(*weight) * i32::from(*value);
                        }
                    }
                }
                self.finish(rows, row, (first, scales), &sums, columns);
            }
        }
    }

    /// Turns the sums of one row and one panel into outputs.
    #[inline(always)]
    pub(super) fn finish(
        &self,
        rows: &Rows,
        row: usize,
        (first, scales): (usize, &[f32]),
        sums: &[i32; PANEL],
        columns: &Columns,
    ) {
        let (Some(row_sum), Some(row_scale)) = (rows.sums.get(row), rows.scales.get(row)) else {
            return;
        };
        let mut values = [0f32; PANEL];
        for ((value, sum), scale) in values.iter_mut().zip(sums).zip(scales) {
            *value = (sum - OFFSET * row_sum) as f32 * (row_scale * scale);
        }
        if let Some(bias) = self.bias.as_deref().and_then(|bias| bias.get(first..)) {
            for (value, bias) in values.iter_mut().zip(bias) {
                *value += bias;
            }
        }
        let width = (self.outputs - first).min(PANEL);
        if let Some(values) = values.get(..width) {
            columns.write(row * self.outputs + first, values);
        }
    }
}

impl fmt::Debug for Int8Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Int8Matrix")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("hadamard", &self.hadamard)
            .field("kernel", &self.kernel)
            .finish_non_exhaustive()
    }
}

/// Rows in 8 bits.
pub(super) struct Rows {
    /// `(rows, stride)`
    pub(super) narrow: Vec<i8>,
    /// The same in 16 bits, if the kernel takes them so.
    pub(super) wide: Vec<i16>,
    /// The sum of each row.
    pub(super) sums: Vec<i32>,
    scales: Vec<f32>,
    /// Inputs, padded to whole quads.
    pub(super) stride: usize,
}

/// A row to be rounded, and where to.
type Ends<'a> = (&'a [f32], &'a mut [i8]);

struct Rounded {
    sum: i32,
    scale: f32,
}

/// Rounds a row to -127..=127, half to even, such that its largest value becomes 127; with `hadamard` above 1 after the
/// transform in blocks of that size. A row with a value that is not finite gets such a scale, so that all its outputs
/// are NaN.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn round_row(row: &[f32], hadamard: usize, to: &mut [i8]) -> Rounded {
    if hadamard > 1 {
        let mut row = row.to_vec();
        hadamard::butterflies(&mut row, hadamard);
        round(&row, to)
    } else {
        round(row, to)
    }
}

#[inline(always)]
fn round(row: &[f32], to: &mut [i8]) -> Rounded {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // Without the sign, the bits of numbers are in the order of the numbers, infinity after all of them and NaN last.
    let magnitude = |x: &f32| x.to_bits() & 0x7fff_ffff;
    let mut lanes = [0u32; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = magnitude(x).max(*lane);
        }
    }
    let largest = lanes.into_iter().chain(rest.iter().map(magnitude));
    let largest = f32::from_bits(largest.fold(0, u32::max));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let mut sum = 0;
    for (to, x) in to.iter_mut().zip(row) {
        let bits = x.mul_add(inverse, ROUND).to_bits();
        *to = bits as i8;
        sum += i32::from(bits as i8);
    }
    Rounded {
        sum,
        scale: if largest.is_finite() {
            largest / 127.0
        } else {
            f32::NAN
        },
    }
}

/// The output of a product, in which each task writes other columns.
pub(super) struct Columns(*mut f32);

// SAFETY: tasks write to places that do not overlap, and nobody reads until all have ended.
#[allow(unsafe_code)]
unsafe impl Sync for Columns {}

impl Columns {
    /// Writes values from place `at` on.
    #[allow(unsafe_code)]
    #[inline(always)]
    fn write(&self, at: usize, values: &[f32]) {
        // SAFETY: `at` is row * outputs + column with row below the number of rows and column + values.len() at most
        // outputs, which is within the vector of rows * outputs that `multiply` holds while the tasks run; and the
        // columns of a panel belong to one task.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.0.add(at), values.len());
        }
    }
}

/// Calls `work` on parts of a range, of at most `grain` each, on the threads of the pool.
fn share(range: Range<usize>, grain: usize, work: &(impl Fn(Range<usize>) + Sync)) {
    if range.len() <= grain {
        work(range);
        return;
    }
    let middle = range.start + range.len().div_ceil(2 * grain) * grain;
    let middle = middle.min(range.end);
    rayon::join(
        || share(range.start..middle, grain, work),
        || share(middle..range.end, grain, work),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::kernels::tests::values;

    /// A matrix of weights that are there already.
    fn matrix(
        weights: &[f32],
        inputs: usize,
        bias: Option<Vec<f32>>,
        hadamard: usize,
    ) -> Option<Int8Matrix> {
        let shape = (weights.len() / inputs, inputs);
        Int8Matrix::new(shape, bias, hadamard, |first, rows| {
            rows.copy_from_slice(&weights[first * inputs..][..rows.len()]);
        })
    }

    /// The product by its definition, in wide integers.
    fn exact(weights: &[f32], x: &[f32], inputs: usize) -> Vec<f32> {
        let round = |row: &[f32]| {
            let mut to = vec![0; row.len()];
            let rounded = round_row(row, 1, &mut to);
            (to, rounded.scale)
        };
        let weights: Vec<_> = weights.chunks(inputs).map(round).collect();
        x.chunks(inputs)
            .map(round)
            .flat_map(|(x, x_scale)| {
                weights
                    .iter()
                    .map(|(w, w_scale)| {
                        let sum: i64 = w
                            .iter()
                            .zip(&x)
                            .map(|(a, b)| i64::from(*a) * i64::from(*b))
                            .sum();
                        sum as f32 * (x_scale * w_scale)
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn every_kernel_is_exact() {
        for (inputs, outputs) in [(576, 96), (64, 33), (30, 5), (1536, 64), (4, 1), (1, 40)] {
            let weights = values(inputs * outputs, 1);
            for rows in [1, 2, 3, 4, 5, 7, 8, 9, 13, 33] {
                let x = values(inputs * rows, 2);
                let expected = exact(&weights, &x, inputs);
                for kernel in Kernel::available() {
                    let mut matrix = matrix(&weights, inputs, None, 1).unwrap();
                    matrix.kernel = kernel;
                    assert_eq!(
                        matrix.multiply(&x),
                        expected,
                        "{kernel:?}: {rows} x {inputs} to {outputs}"
                    );
                }
            }
        }
    }

    /// Where 16-bit sums of two products would saturate.
    #[test]
    fn extremes_do_not_saturate() {
        let inputs = 8192;
        let weights = [vec![1.0; inputs], vec![-1.0; inputs]].concat();
        let x = [vec![3.0; inputs], vec![-3.0; inputs]].concat();
        for kernel in Kernel::available() {
            let mut matrix = matrix(&weights, inputs, None, 1).unwrap();
            matrix.kernel = kernel;
            let y = matrix.multiply(&x);
            let right = 3.0 * inputs as f32;
            for (y, right) in y.iter().zip([right, -right, -right, right]) {
                assert!((y / right - 1.0).abs() < 1e-5, "{kernel:?}: {y} {right}");
            }
        }
    }

    #[test]
    fn bias_and_transform_are_applied() {
        let (inputs, outputs) = (96, 50);
        let weights = values(inputs * outputs, 3);
        let bias = values(outputs, 4);
        let x = values(inputs * 9, 5);
        let plain = matrix(&weights, inputs, None, 1).unwrap();
        let block = hadamard::block(inputs);
        let mixed = matrix(&weights, inputs, Some(bias.clone()), block).unwrap();
        assert!(plain.bytes() < 2 * inputs * outputs);
        let (plain, mixed) = (plain.multiply(&x), mixed.multiply(&x));
        for (at, (a, b)) in plain.iter().zip(&mixed).enumerate() {
            let b = b - bias[at % outputs];
            assert!((a - b).abs() < 0.3, "{a} {b}");
        }
    }

    #[test]
    fn a_weight_that_is_no_number_is_refused() {
        for wrong in [f32::NAN, f32::INFINITY] {
            let mut weights = values(64, 6);
            weights[7] = wrong;
            assert!(matrix(&weights, 8, None, 1).is_none());
        }
    }

    #[test]
    fn a_row_that_is_not_finite_has_no_numbers_as_outputs_and_leaves_the_others_alone() {
        let (inputs, outputs) = (96, 40);
        let weights = values(inputs * outputs, 7);
        for block in [1, hadamard::block(inputs)] {
            for kernel in Kernel::available() {
                let bias = Some(values(outputs, 8));
                let mut matrix = matrix(&weights, inputs, bias, block).unwrap();
                matrix.kernel = kernel;
                for wrong in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = values(inputs * 3, 9);
                    let sound = matrix.multiply(&x);
                    x[inputs + 17] = wrong;
                    let y = matrix.multiply(&x);
                    let (first, rest) = y.split_at(outputs);
                    let (second, third) = rest.split_at(outputs);
                    assert!(second.iter().all(|y| y.is_nan()), "{kernel:?} {wrong}");
                    assert_eq!(first, &sound[..outputs]);
                    assert_eq!(third, &sound[2 * outputs..]);
                }
            }
        }
    }

    #[test]
    fn parts_cover_the_range_once() {
        for (panels, grain) in [(1, 1), (7, 2), (8, 3), (96, 12), (5, 9)] {
            let seen = std::sync::Mutex::new(vec![0; panels]);
            share(0..panels, grain, &|range| {
                assert!(range.len() <= grain && !range.is_empty());
                let mut seen = seen.lock().unwrap();
                range.for_each(|at| seen[at] += 1);
            });
            assert_eq!(seen.into_inner().unwrap(), vec![1; panels]);
        }
    }
}
