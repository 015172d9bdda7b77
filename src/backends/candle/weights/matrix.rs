//! The weights of a linear layer, as rows that are read when they are needed.

use rayon::prelude::*;

use super::adapter::Update;
use crate::backends::candle::gguf::Rows;

/// A matrix `(outputs, width)` of one or several tensors, one under the other. It holds no values: rows come out of the
/// mapped file, with what an adapter adds to them.
pub(crate) struct Matrix<'a> {
    parts: Vec<Part<'a>>,
    width: usize,
}

/// A tensor of it.
pub(crate) struct Part<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) outputs: usize,
    /// What an adapter adds to it.
    pub(crate) update: Option<&'a Update>,
}

impl<'a> Matrix<'a> {
    /// From tensors whose rows have `width` values.
    pub(crate) fn new(parts: Vec<Part<'a>>, width: usize) -> Self {
        Self { parts, width }
    }

    /// Values of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Rows of each tensor.
    pub(crate) fn parts(&self) -> Vec<usize> {
        self.parts.iter().map(|part| part.outputs).collect()
    }

    /// Rows.
    pub(crate) fn outputs(&self) -> usize {
        self.parts.iter().map(|part| part.outputs).sum()
    }

    /// Values that can only be read together: where [`read_part`](Self::read_part) begins and ends is a multiple of it.
    pub(crate) fn block(&self) -> usize {
        let blocks = self.parts.iter().map(|part| part.rows.block());
        blocks.max().unwrap_or(1)
    }

    /// Writes whole rows, from the row `first` on.
    pub(crate) fn read(&self, first: usize, to: &mut [f32]) {
        for (row, to) in (first..).zip(to.chunks_exact_mut(self.width)) {
            self.read_part(row, 0, to);
        }
    }

    /// Writes the values that follow the column `column` of a row.
    pub(crate) fn read_part(&self, row: usize, column: usize, to: &mut [f32]) {
        let mut row = row;
        for part in &self.parts {
            if row < part.outputs {
                part.rows.read(row, column, to);
                if let Some(update) = part.update {
                    update.add(row, column, to);
                }
                return;
            }
            row -= part.outputs;
        }
    }

    /// All values; `None` if one is not a number.
    pub(crate) fn values(&self) -> Option<Vec<f32>> {
        let mut values = vec![0.0; self.outputs() * self.width];
        let fine = values
            .par_chunks_mut(self.width)
            .enumerate()
            .all(|(row, to)| {
                self.read_part(row, 0, to);
                to.iter().all(|value| value.is_finite())
            });
        fine.then_some(values)
    }
}
