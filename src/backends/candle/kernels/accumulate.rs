//! Small products of F32 matrices, for attention.

use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};

/// `out += a m`, where each sum is made from the first row of `m` to the last, whatever the instruction set and however
/// many rows there are.
pub(super) struct Accumulate<'a> {
    /// Rows of `a_stride`, of which the places from `a_first` on are multiplied, one for each row of `m`.
    pub(super) a: &'a [f32],
    pub(super) a_stride: usize,
    pub(super) a_first: usize,
    /// `(depth, width)`
    pub(super) m: &'a [f32],
    pub(super) width: usize,
    /// Rows of `out_stride`, as many as of `a`, of which `width` places from `out_first` on are added to.
    pub(super) out: &'a mut [f32],
    pub(super) out_stride: usize,
    pub(super) out_first: usize,
}

impl SimdOp for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let mut row = 0;
        macro_rules! rows {
            ($($height:literal)+) => {$(
                while (row + $height) * self.a_stride <= self.a.len() {
                    self.rows::<I, $height>(isa, row);
                    row += $height;
                }
            )+};
        }
        rows!(4 3 2 1);
    }
}

impl Accumulate<'_> {
    #[inline(always)]
    fn rows<I: Isa, const R: usize>(&mut self, isa: I, first: usize) {
        let ops = isa.f32();
        let lanes = ops.len();
        let depth = self.m.len() / self.width;
        let mut a = [&[] as &[f32]; R];
        for (row, a) in (first..).zip(&mut a) {
            let start = row * self.a_stride + self.a_first;
            *a = self.a.get(start..start + depth).unwrap_or_default();
        }
        if a.iter().any(|a| a.len() != depth) {
            return;
        }

        // Two vectors of columns at a time.
        let whole = self.width / (2 * lanes) * (2 * lanes);
        for column in (0..whole).step_by(2 * lanes) {
            let mut sums = [[ops.zero(); 2]; R];
            for (row, sums) in (first..).zip(&mut sums) {
                let start = row * self.out_stride + self.out_first + column;
                if let Some(out) = self.out.get(start..start + 2 * lanes) {
                    *sums = ops.load_many::<2>(out);
                }
            }
            for (at, m) in self.m.chunks_exact(self.width).enumerate() {
                let Some(m) = m.get(column..column + 2 * lanes) else {
                    break;
                };
                let [low, high] = ops.load_many::<2>(m);
                for (a, sums) in a.iter().zip(&mut sums) {
                    let x = ops.splat(a.get(at).copied().unwrap_or_default());
                    *sums = [ops.mul_add(x, low, sums[0]), ops.mul_add(x, high, sums[1])];
                }
            }
            for (row, sums) in (first..).zip(&sums) {
                let start = row * self.out_stride + self.out_first + column;
                if let Some(out) = self.out.get_mut(start..start + 2 * lanes) {
                    let (low, high) = out.split_at_mut(lanes);
                    ops.store(sums[0], low);
                    ops.store(sums[1], high);
                }
            }
        }
        if whole == self.width {
            return;
        }
        // What is left over.
        for (row, a) in (first..).zip(&a) {
            let start = row * self.out_stride + self.out_first;
            let Some(out) = self.out.get_mut(start..start + self.width) else {
                return;
            };
            for (x, m) in a.iter().zip(self.m.chunks_exact(self.width)) {
                for (y, m) in out.iter_mut().zip(m).skip(whole) {
                    *y = x.mul_add(*m, *y);
                }
            }
        }
    }
}
