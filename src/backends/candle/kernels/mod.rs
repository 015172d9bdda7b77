//! The heavy work of the model on a CPU, on plain slices.
//!
//! Each kernel is ordinary Rust that is compiled for several instruction sets and chosen at run time; the integer product
//! alone is written with intrinsics. Every sum is made in an order that the source fixes, with fused multiplications that
//! are rounded once, so a result has the same bits on every instruction set, at any number of threads, and whatever else
//! is in the batch.

mod accumulate;
pub(super) mod attention;
pub(super) mod blocks;
pub(super) mod hadamard;
pub(super) mod int8;
pub(super) mod logits;
pub(super) mod rows;
#[cfg(target_arch = "x86_64")]
mod x86;

/// The exponential function, within two units in the last place; 0 below -87 and infinity above 88.7.
///
/// The reduction and the polynomial are those of Cephes (`expf`), with fused multiplications.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let inside = x.clamp(-87.0, 88.7);
    let shifted = inside.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, inside));
    let p = 1.987_569_1e-4_f32
        .mul_add(r, 1.398_199_9e-3)
        .mul_add(r, 8.333_452e-3)
        .mul_add(r, 4.166_579_6e-2)
        .mul_add(r, 1.666_666_5e-1)
        .mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    // The low bits of `shifted` hold n; 2^n in two steps, because n can be 128.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let y = y * power(half) * power(n.wrapping_sub(half));
    // A NaN stays one.
    if x < -87.0 {
        0.0
    } else if x > 88.7 {
        f32::INFINITY
    } else {
        y
    }
}

#[cfg(test)]
pub(super) mod tests {
    use multiversion::multiversion;

    use super::*;

    #[multiversion(targets(
        "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
        "x86_64+avx2+fma"
    ))]
    fn all(xs: &[f32]) -> Vec<f32> {
        xs.iter().map(|x| exp(*x)).collect()
    }

    /// Numbers between -1 and 1, the same ones every time.
    pub(in super::super) fn values(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .take(count)
        .collect()
    }

    #[test]
    fn the_exponential_is_right_to_two_units() {
        let mut x = -86.9_f32;
        while x < 88.6 {
            let right = f64::from(x).exp();
            let off = (f64::from(exp(x)) - right).abs() / right;
            assert!(off < 2.0 * f64::from(f32::EPSILON), "{x}: {off}");
            x += 0.001_37;
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let xs: Vec<f32> = (-900..900).map(|n| n as f32 * 0.097).collect();
        let one_by_one: Vec<u32> = xs.iter().map(|x| exp(*x).to_bits()).collect();
        let together: Vec<u32> = all(&xs).into_iter().map(f32::to_bits).collect();
        assert_eq!(one_by_one, together);
    }
}
