//! Passes over a row of logits, each in an order that the source fixes.

use multiversion::multiversion;

use super::exp;

/// Lanes of a sum or a maximum.
const LANES: usize = 16;

/// Weights whose mass is added up by itself.
pub(in super::super) const BLOCK: usize = 1024;

/// Values of which [`likeliest`] and [`at_least`] look at the largest first.
const GROUP: usize = 64;

/// The largest logit and the first place where it stands; `None` if none is above negative infinity. A NaN counts as
/// nothing.
pub(in super::super) fn argmax(logits: &[f32]) -> Option<(u32, f32)> {
    let top = max(logits);
    let place = logits.iter().position(|logit| *logit == top)?;
    Some((u32::try_from(place).ok()?, top)).filter(|_| top > f32::NEG_INFINITY)
}

/// The largest value; negative infinity if there is none. A NaN counts as nothing.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn max(values: &[f32]) -> f32 {
    max_of(values)
}

#[inline(always)]
fn max_of(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *x);
        }
    }
    let top = lanes.iter().copied().fold(f32::NEG_INFINITY, larger);
    rest.iter().copied().fold(top, larger)
}

/// `log sum exp`, from the largest logit, so that nothing overflows. NaN if a logit is NaN or none is finite.
///
/// Exponentials are in single precision and their sum in double: within 1e-6 of the same in double throughout.
pub(in super::super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = max(logits);
    f64::from(top) + sum_exp(logits, top).ln()
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn sum_exp(logits: &[f32], top: f32) -> f64 {
    let mut lanes = [0f64; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        let mut exps = [0f32; LANES];
        for (y, x) in exps.iter_mut().zip(chunk) {
            *y = exp(x - top);
        }
        for (lane, y) in lanes.iter_mut().zip(exps) {
            *lane += f64::from(y);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(exp(x - top));
    }
    lanes.iter().sum()
}

/// Puts `exp((logit - top) * scale)` in the place of each logit, 0 for a NaN; gives the sum of each [`BLOCK`] of them.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
pub(in super::super) fn weights(logits: &mut [f32], top: f32, scale: f32) -> Vec<f64> {
    let mut masses = Vec::with_capacity(logits.len().div_ceil(BLOCK));
    for block in logits.chunks_mut(BLOCK) {
        for x in block.iter_mut() {
            let weight = exp((*x - top) * scale);
            *x = if weight > 0.0 { weight } else { 0.0 };
        }
        let mut lanes = [0f64; LANES];
        let (chunks, rest) = block.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(*x);
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(*x);
        }
        masses.push(lanes.iter().sum());
    }
    masses
}

/// A token and its logit or weight.
pub(in super::super) type Candidate = (u32, f32);

/// The values that are at least `floor`, in order.
pub(in super::super) fn at_least(values: &[f32], floor: f32) -> Vec<Candidate> {
    gather(values, &group_maxima(values), floor)
}

/// The `count` largest values that are at least `floor`, largest first, the lower id first on ties.
pub(in super::super) fn likeliest(values: &[f32], count: usize, floor: f32) -> Vec<Candidate> {
    let Some(last) = count.checked_sub(1) else {
        return Vec::new();
    };
    let maxima = group_maxima(values);
    let mut floor = floor;
    if last < maxima.len() {
        // So many groups hold a value of at least this, so none of the `count` largest is below it.
        let mut sorted = maxima.clone();
        let (_, nth, _) = sorted.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
        floor = floor.max(*nth);
    }
    let mut kept = gather(values, &maxima, floor);
    if last < kept.len() {
        kept.select_nth_unstable_by(last, likelier);
        kept.truncate(count);
    }
    kept.sort_unstable_by(likelier);
    kept
}

/// Largest first, the lower id first on ties.
pub(in super::super) fn likelier(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn group_maxima(values: &[f32]) -> Vec<f32> {
    let mut maxima = Vec::with_capacity(values.len().div_ceil(GROUP));
    for group in values.chunks(GROUP) {
        maxima.push(max_of(group));
    }
    maxima
}

fn gather(values: &[f32], maxima: &[f32], floor: f32) -> Vec<Candidate> {
    let groups = (0u32..).step_by(GROUP).zip(values.chunks(GROUP));
    groups
        .zip(maxima)
        .filter(|(_, max)| **max >= floor)
        .flat_map(|((first, group), _)| (first..).zip(group.iter().copied()))
        .filter(|(_, value)| *value >= floor)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::values, *};

    /// Logits like a model's: most of them far below a few.
    fn logits(count: usize, seed: u32, width: f32) -> Vec<f32> {
        let cubed = |x: f32| x * x * x * width;
        values(count, seed).into_iter().map(cubed).collect()
    }

    fn log_sum_exp_in_f64(logits: &[f32]) -> f64 {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps = logits
            .iter()
            .map(|l| (f64::from(*l) - f64::from(top)).exp());
        f64::from(top) + exps.sum::<f64>().ln()
    }

    #[test]
    fn log_sum_exp_is_within_a_millionth_of_the_formula() {
        for count in [1, 15, 16, 17, 4_097, 151_936] {
            for width in [0.0, 0.3, 3.0, 14.0, 40.0, 2_000.0] {
                for offset in [0.0, -61.7, 1_003.3] {
                    let logits: Vec<f32> =
                        logits(count, 5, width).iter().map(|x| x + offset).collect();
                    let (ours, right) = (log_sum_exp(&logits), log_sum_exp_in_f64(&logits));
                    let off = (ours - right).abs();
                    assert!(off < 1e-6, "{count} {width} {offset}: {off}");
                }
            }
        }
    }

    #[test]
    fn log_sum_exp_says_what_is_no_number() {
        assert!(log_sum_exp(&[0.0, f32::NAN]).is_nan());
        assert!(log_sum_exp(&[f32::NEG_INFINITY; 20]).is_nan());
        assert_eq!(log_sum_exp(&[3.0, f32::NEG_INFINITY]), 3.0);
    }

    #[test]
    fn the_largest_is_the_first_of_its_value() {
        let mut row = logits(1_000, 3, 5.0);
        row[417] = 9.0;
        row[900] = 9.0;
        row[3] = f32::NAN;
        assert_eq!(argmax(&row), Some((417, 9.0)));
        assert_eq!(argmax(&[f32::NAN, f32::NEG_INFINITY]), None);
        assert_eq!(argmax(&[]), None);
    }

    #[test]
    fn weights_are_the_exponentials_and_masses_their_sums() {
        let mut row = logits(3_000, 9, 12.0);
        row[7] = f32::NAN;
        row[8] = f32::NEG_INFINITY;
        let before = row.clone();
        let masses = weights(&mut row, 12.0, 0.5);
        assert_eq!((row[7], row[8]), (0.0, 0.0));
        for (x, weight) in before.iter().zip(&row).filter(|(x, _)| x.is_finite()) {
            let right = ((f64::from(*x) - 12.0) * 0.5).exp();
            assert!((f64::from(*weight) - right).abs() < 2e-6 * right);
        }
        assert_eq!(masses.len(), 3);
        for (block, mass) in row.chunks(BLOCK).zip(masses) {
            let right: f64 = block.iter().map(|w| f64::from(*w)).sum();
            assert!((mass - right).abs() < 1e-12 * right);
        }
    }

    #[test]
    fn the_likeliest_are_those_of_a_full_sort() {
        let mut row = logits(5_000, 11, 8.0);
        for at in (0..5_000).step_by(7) {
            row[at] = 1.5;
        }
        row[40] = f32::NAN;
        let mut sorted: Vec<Candidate> = (0..).zip(row.iter().copied()).collect();
        sorted.retain(|(_, x)| !x.is_nan());
        sorted.sort_by(likelier);
        for count in [0, 1, 5, 78, 79, 600, 4_999, 6_000] {
            let ours = likeliest(&row, count, f32::NEG_INFINITY);
            assert_eq!(ours, sorted[..count.min(sorted.len())], "{count}");
        }
        assert_eq!(likeliest(&row, 10, 100.0), []);
        let above: Vec<_> = likeliest(&row, 5_000, 1.6);
        assert_eq!(above.len(), at_least(&row, 1.6).len());
        assert!(at_least(&row, 1.6).is_sorted_by_key(|(id, _)| *id));
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let row = logits(10_007, 2, 30.0);
        let top = 30.0;
        // In a test, which is compiled for the plainest instruction set.
        let mut plain = row.clone();
        for x in &mut plain {
            *x = exp((*x - top) * 0.7);
        }
        let mut lanes = [0f64; LANES];
        for (at, x) in row.iter().enumerate() {
            lanes[at % LANES] += f64::from(exp(x - top));
        }
        let mut ours = row.clone();
        weights(&mut ours, top, 0.7);
        assert!(
            ours.iter()
                .zip(&plain)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        assert_eq!(
            sum_exp(&row, top).to_bits(),
            lanes.iter().sum::<f64>().to_bits()
        );
    }
}
