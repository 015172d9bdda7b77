//! Products of F32 matrices of any layout, by rten-gemm.

use rayon::prelude::*;
use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_simd::SimdOp;
use rten_tensor::NdTensorView;

use super::accumulate::Accumulate;

thread_local! {
    /// The products of this machine's instruction set. Cheap to make, but bound to its thread.
    static EXECUTOR: GemmExecutor = GemmExecutor::new();
}

/// Why there is no product: matrices that do not fit each other.
pub(in super::super) type Outcome = Result<(), Mismatch>;

/// Matrices that do not fit each other.
#[derive(Debug, thiserror::Error)]
#[error("matrices do not fit each other")]
pub(in super::super) struct Mismatch;

/// A matrix, or a part of one, in any layout.
#[derive(Clone, Copy)]
pub(in super::super) struct View<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> View<'a> {
    /// Rows of `width` values, one after the other.
    pub(in super::super) fn rows(values: &'a [f32], width: usize) -> Self {
        Self {
            values,
            shape: [values.len() / width.max(1), width],
            strides: [width, 1],
        }
    }

    /// So many of its columns.
    pub(in super::super) fn columns(self, first: usize, count: usize) -> Self {
        Self {
            values: self
                .values
                .get(first * self.strides[1]..)
                .unwrap_or_default(),
            shape: [self.shape[0], count],
            strides: self.strides,
        }
    }

    /// Columns as rows.
    pub(in super::super) fn t(self) -> Self {
        let ([rows, columns], [down, right]) = (self.shape, self.strides);
        Self {
            values: self.values,
            shape: [columns, rows],
            strides: [right, down],
        }
    }

    fn tensor(self) -> Result<NdTensorView<'a, f32, 2>, Mismatch> {
        NdTensorView::from_slice_with_strides(self.shape, self.values, self.strides)
            .map_err(|_| Mismatch)
    }
}

/// A right-hand matrix that is laid out once for the kernels of this machine.
pub(in super::super) struct Packed(PackedBMatrix<f32>);

impl Packed {
    pub(in super::super) fn new(matrix: View<'_>) -> Result<Self, Mismatch> {
        let matrix = matrix.tensor()?;
        Ok(Self(EXECUTOR.with(|executor| executor.prepack_b(matrix))))
    }

    pub(in super::super) fn columns(&self) -> usize {
        self.0.cols()
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Packed")
            .field(&self.0.rows())
            .field(&self.0.cols())
            .finish()
    }
}

/// A right-hand matrix.
#[derive(Clone, Copy)]
pub(in super::super) enum Right<'a> {
    Packed(&'a Packed),
    View(View<'a>),
}

impl<'a> From<View<'a>> for Right<'a> {
    fn from(view: View<'a>) -> Self {
        Self::View(view)
    }
}

impl<'a> From<&'a Packed> for Right<'a> {
    fn from(packed: &'a Packed) -> Self {
        Self::Packed(packed)
    }
}

/// What a product does with what is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Write<'a> {
    /// Overwrites it.
    Over,
    /// Overwrites it, with a bias `(columns)` for each row.
    Biased(&'a [f32]),
    /// Adds to it.
    Add,
}

/// `scale a b`, to rows that lie one after the other. The result does not depend on the number of threads.
pub(in super::super) fn product<'a>(
    out: &mut [f32],
    write: Write<'_>,
    scale: f32,
    a: View<'_>,
    b: impl Into<Right<'a>>,
) -> Outcome {
    let packed;
    let b = match b.into() {
        Right::Packed(packed) => GemmInputB::Packed(&packed.0),
        // A row times a matrix that is not packed goes through another kernel, which rounds the columns at the end of
        // each thread's share in its own way.
        Right::View(view) if a.shape[0] == 1 => {
            packed = Packed::new(view)?;
            GemmInputB::Packed(&packed.0)
        }
        Right::View(view) => GemmInputB::Unpacked(view.tensor()?),
    };
    let options = GemmOptions {
        alpha: scale,
        beta: if write == Write::Add { 1.0 } else { 0.0 },
        bias: match write {
            Write::Biased(bias) => Some(BiasVector::Row(bias)),
            _ => None,
        },
        ..GemmOptions::default()
    };
    let a = GemmInputA::Unpacked(a.tensor()?);
    EXECUTOR
        .with(|executor| executor.gemm(out, a, b, options))
        .map_err(|_| Mismatch)
}

/// Rows that one thread works on at a time.
const ROWS: usize = 32;

/// Adds `a b` to the columns from `first` on of rows of `width`: `a` is columns of rows of `a_width`, from `a_first`
/// on; `b` `(depth, columns)` lies in rows. For small depths, where a general product gains nothing.
pub(in super::super) fn add_narrow(
    (out, width, first): (&mut [f32], usize, usize),
    (a, a_width, a_first): (&[f32], usize, usize),
    (b, columns): (&[f32], usize),
) {
    out.par_chunks_mut(ROWS * width)
        .zip(a.par_chunks(ROWS * a_width))
        .for_each(|(out, a)| {
            Accumulate {
                a,
                a_stride: a_width,
                a_first,
                m: b,
                width: columns,
                out,
                out_stride: width,
                out_first: first,
            }
            .dispatch();
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::kernels::tests::values;

    /// `a b` in double precision; the places are given by functions.
    fn plain(
        [m, k, n]: [usize; 3],
        a: impl Fn(usize, usize) -> f32,
        b: impl Fn(usize, usize) -> f32,
    ) -> Vec<f64> {
        let mut out = Vec::new();
        for row in 0..m {
            for column in 0..n {
                let terms = (0..k).map(|at| f64::from(a(row, at)) * f64::from(b(at, column)));
                out.push(terms.sum());
            }
        }
        out
    }

    fn close(ours: &[f32], right: &[f64]) {
        assert_eq!(ours.len(), right.len());
        for (a, b) in ours.iter().zip(right) {
            assert!((f64::from(*a) - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn parts_and_transposed_matrices_are_multiplied() {
        let (a, b) = (values(9 * 20, 1), values(30 * 11, 2));
        // Columns 3..13 of a, and rows of b turned round: 10 x 30 of them.
        let left = View::rows(&a, 20).columns(3, 10);
        let right = View::rows(&b, 11).columns(1, 10).t();
        let expected = plain(
            [9, 10, 30],
            |r, c| a[r * 20 + 3 + c],
            |r, c| b[c * 11 + 1 + r],
        );
        let mut out = vec![0.5; 9 * 30];
        product(&mut out, Write::Over, 1.0, left, right).unwrap();
        close(&out, &expected);
        let packed = Packed::new(right).unwrap();
        product(&mut out, Write::Add, 2.0, left, &packed).unwrap();
        close(&out, &expected.iter().map(|x| x * 3.0).collect::<Vec<_>>());
        let bias = values(30, 3);
        product(&mut out, Write::Biased(&bias), 1.0, left, &packed).unwrap();
        let biased = expected.iter().enumerate();
        close(
            &out,
            &biased
                .map(|(at, x)| x + f64::from(bias[at % 30]))
                .collect::<Vec<_>>(),
        );
        // Turned round on the left side.
        let mut out = vec![0.0; 10 * 4];
        let right = View::rows(&b, 11).columns(0, 4);
        let rows = View::rows(&b[..99], 11).columns(1, 10).t();
        product(
            &mut out,
            Write::Over,
            1.0,
            rows,
            View {
                shape: [9, 4],
                ..right
            },
        )
        .unwrap();
        close(
            &out,
            &plain([10, 9, 4], |r, c| b[c * 11 + 1 + r], |r, c| b[r * 11 + c]),
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let a = values(12, 1);
        let mut out = vec![0.0; 9];
        let left = View::rows(&a, 4);
        assert!(product(&mut out, Write::Over, 1.0, left, View::rows(&a, 3)).is_ok());
        assert!(product(&mut out, Write::Over, 1.0, left, View::rows(&a, 4)).is_err());
    }

    #[test]
    fn narrow_products_are_added_to_their_columns() {
        let (a, b) = (values(70 * 7, 1), values(5 * 40, 2));
        let mut out = vec![1.0; 70 * 50];
        add_narrow((&mut out, 50, 6), (&a, 7, 2), (&b, 40));
        let right = plain([70, 5, 40], |r, c| a[r * 7 + 2 + c], |r, c| b[r * 40 + c]);
        for (row, out) in out.chunks(50).enumerate() {
            assert!(out[..6].iter().chain(&out[46..]).all(|x| *x == 1.0));
            let right: Vec<f64> = right[row * 40..][..40].iter().map(|x| x + 1.0).collect();
            close(&out[6..46], &right);
        }
    }
}
