//! The Vendi score.

/// The Vendi score of embeddings (Friedman and Dieng, arXiv 2210.02410): the effective number of different items.
///
/// `exp(-Σ λ ln λ)` over the eigenvalues λ of `K / n`, where K holds the cosines of the n embeddings. It is 1 if all
/// point the same way and n if all are orthogonal. Of n embeddings of d numbers, `K / n` and the smaller or greater
/// `XᵀX / n` have the same eigenvalues besides 0, so the smaller of the two is taken: the time is `n · d · min(n, d)`
/// and `min(n, d)³`, a few seconds for 1,000.
///
/// `None` if there is no embedding, one has another length than the others, is 0 or holds what is not finite.
///
/// ```
/// use safer_instruct::measure::vendi_score;
///
/// let score = vendi_score(&[[1.0, 0.0], [0.0, 2.0], [0.0, 3.0], [4.0, 0.0]]).unwrap();
/// assert!((score - 2.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn vendi_score<E: AsRef<[f64]>>(embeddings: &[E]) -> Option<f64> {
    let width = embeddings.first()?.as_ref().len();
    let mut rows = Vec::with_capacity(embeddings.len());
    for embedding in embeddings {
        rows.push(unit(embedding.as_ref()).filter(|row| row.len() == width)?);
    }
    let n = rows.len() as f64;
    let mut matrix = if rows.len() <= width {
        cosines(&rows)
    } else {
        products(&rows, width)
    };
    for value in matrix.iter_mut().flatten() {
        *value /= n;
    }
    let entropy: f64 = Tridiagonal::of(matrix)
        .eigenvalues()
        .filter(|value| *value > 0.0)
        .map(|value| -value * value.ln())
        .sum();
    Some(entropy.exp())
}

/// The vector of length 1 of the same direction.
fn unit(vector: &[f64]) -> Option<Vec<f64>> {
    // By the greatest number first, so that no square is too great or too small.
    let top = vector.iter().map(|x| x.abs()).fold(0.0, f64::max);
    let scaled: Vec<f64> = vector.iter().map(|x| x / top).collect();
    let length = dot(&scaled, &scaled).sqrt();
    (length.is_finite() && length > 0.0).then(|| scaled.iter().map(|x| x / length).collect())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The lower triangle, row by row, of the products of the rows: `XXᵀ`.
fn cosines(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (1..=rows.len())
        .map(|to| {
            let before = rows.iter().take(to);
            let row = rows.get(to - 1).map_or(&[][..], Vec::as_slice);
            before.map(|other| dot(row, other)).collect()
        })
        .collect()
}

/// The lower triangle, row by row, of the products of the columns: `XᵀX`.
fn products(rows: &[Vec<f64>], width: usize) -> Vec<Vec<f64>> {
    let mut sums: Vec<Vec<f64>> = (1..=width).map(|to| vec![0.0; to]).collect();
    for row in rows {
        for (sums, x) in sums.iter_mut().zip(row) {
            for (sum, y) in sums.iter_mut().zip(row) {
                *sum += x * y;
            }
        }
    }
    sums
}

/// A symmetric matrix that is 0 but on the diagonal and beside it.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// The squares of what stands beside the diagonal, each before the row that it leads to; 0 for the first.
    beside: Vec<f64>,
}

impl Tridiagonal {
    /// The matrix with the same eigenvalues as a symmetric one, of which the lower triangle is given, by reflections
    /// from the last row to the first (Householder 1958).
    fn of(mut triangle: Vec<Vec<f64>>) -> Self {
        let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
        while let Some(mut row) = triangle.pop() {
            diagonal.extend(row.pop());
            let Some((last, others)) = row.split_last_mut() else {
                beside.push(0.0);
                break;
            };
            let rest = dot(others, others);
            let square = rest + *last * *last;
            beside.push(square);
            if rest > 0.0 {
                *last += square.sqrt().copysign(*last);
                let half = dot(&row, &row) / 2.0;
                reflect(&mut triangle, &row, half);
            }
        }
        diagonal.reverse();
        beside.reverse();
        Self { diagonal, beside }
    }

    /// The eigenvalues from low to high, by bisection: as many are below x as pivots of the matrix less x are negative
    /// (Barth, Martin and Wilkinson, Numerische Mathematik 1967).
    fn eigenvalues(&self) -> impl Iterator<Item = f64> {
        // The eigenvalues of a matrix of this trace without negative ones lie between 0 and it.
        let trace: f64 = self.diagonal.iter().sum();
        (0..self.diagonal.len()).map(move |rank| {
            let (mut low, mut high) = (-1e-9 * trace, trace * (1.0 + 1e-9));
            while high - low > f64::EPSILON * trace / 4.0 {
                let middle = low.midpoint(high);
                if middle <= low || middle >= high {
                    break;
                }
                if self.below(middle) > rank {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            low.midpoint(high)
        })
    }

    fn below(&self, x: f64) -> usize {
        let (mut pivot, mut count) = (1.0_f64, 0);
        for (value, square) in self.diagonal.iter().zip(&self.beside) {
            if pivot.abs() < f64::MIN_POSITIVE {
                pivot = f64::MIN_POSITIVE.copysign(pivot);
            }
            pivot = value - x - square / pivot;
            count += usize::from(pivot < 0.0);
        }
        count
    }
}

/// Multiplies a symmetric matrix, given by its lower triangle, from both sides with the reflection `1 - v vᵀ / half`.
fn reflect(triangle: &mut [Vec<f64>], v: &[f64], half: f64) {
    let mut p = vec![0.0; v.len()];
    for (at, (row, x)) in triangle.iter().zip(v).enumerate() {
        let mut own = 0.0;
        for (column, (value, y)) in row.iter().zip(v).enumerate() {
            own += value * y;
            if column < at
                && let Some(other) = p.get_mut(column)
            {
                *other += value * x;
            }
        }
        if let Some(sum) = p.get_mut(at) {
            *sum += own;
        }
    }
    let along = dot(&p, v) / (2.0 * half * half);
    let w: Vec<f64> = p.iter().zip(v).map(|(p, v)| p / half - along * v).collect();
    for ((row, vi), wi) in triangle.iter_mut().zip(v).zip(&w) {
        for ((value, vj), wj) in row.iter_mut().zip(v).zip(&w) {
            *value -= vi * wj + wi * vj;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_score_is_none() {
        assert_eq!(vendi_score::<Vec<f64>>(&[]), None);
        assert_eq!(vendi_score(&[vec![1.0], vec![1.0, 2.0]]), None);
        assert_eq!(vendi_score(&[[0.0, 0.0]]), None);
        assert_eq!(vendi_score(&[[1.0, f64::NAN]]), None);
        assert_eq!(vendi_score(&[[1.0, f64::INFINITY]]), None);
        assert_eq!(vendi_score(&[Vec::<f64>::new()]), None);
    }

    #[test]
    fn equal_items_are_one_and_orthogonal_ones_are_all() {
        let same = vendi_score(&[[1e200, 2e200, 0.0]; 7]).unwrap();
        assert!((same - 1.0).abs() < 1e-9, "{same}");
        let axes: Vec<Vec<f64>> = (0..6)
            .map(|n| (0..6).map(|k| f64::from(n == k)).collect())
            .collect();
        assert!((vendi_score(&axes).unwrap() - 6.0).abs() < 1e-9);
    }

    /// The second difference: its eigenvalues are known.
    #[test]
    fn eigenvalues_are_those_of_the_closed_form() {
        let n = 9_u32;
        let row = |i: u32| (0..=i).map(move |j| if i == j { 2.0 } else { -f64::from(j + 1 == i) });
        let matrix: Vec<Vec<f64>> = (0..n).map(|i| row(i).collect()).collect();
        // Mixed by a reflection first, so that the matrix is full.
        let v: Vec<f64> = (1..=n).map(f64::from).collect();
        let mut mixed = matrix;
        reflect(&mut mixed, &v, dot(&v, &v) / 2.0);
        for (k, value) in (1..=n).zip(Tridiagonal::of(mixed).eigenvalues()) {
            let angle = std::f64::consts::PI * f64::from(k) / f64::from(2 * n + 2);
            assert!(
                (value - 4.0 * angle.sin().powi(2)).abs() < 1e-12,
                "{k}: {value}"
            );
        }
    }
}
