//! The heavy work of the model on a CPU, on plain slices.
//!
//! Each kernel is ordinary Rust that is compiled for several instruction sets and chosen at run time; the integer
//! product alone is written with intrinsics. Every sum is made in an order that the source fixes, with fused
//! multiplications that are rounded once, so a result has the same bits on every instruction set, at any number of
//! threads, and whatever else is in the batch.

mod accumulate;
pub(super) mod attention;
#[cfg(feature = "train")]
pub(super) mod backward;
pub(super) mod blocks;
#[cfg(feature = "train")]
pub(super) mod causal;
#[cfg_attr(not(feature = "train"), allow(dead_code))]
pub(super) mod gemm;
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

/// A number of 16 bits, in F32. Without branches, so that loops over it become vectors: the exponent and the fraction
/// go to their places in 32 bits, and a product with 2^112 sets the bias right, which is exact, subnormal numbers
/// included (as in Fabian Giesen's `half_to_float`). The `half` crate converts by calls, one for each number or eight
/// of them.
#[inline(always)]
pub(super) fn half_to_f32(bits: u16) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(bits);
    let value = f32::from_bits((bits & 0x7fff) << 13) * REBIAS;
    // From 2^16 on it is infinity or none at all.
    let special = if value >= 65_536.0 { 0x7f80_0000 } else { 0 };
    f32::from_bits(value.to_bits() | special | (bits & 0x8000) << 16)
}

#[cfg(test)]
pub(super) mod tests {
    use half::f16;
    use multiversion::multiversion;

    use super::*;

    #[test]
    fn every_number_of_16_bits_is_itself() {
        for bits in 0..=u16::MAX {
            let (ours, right) = (half_to_f32(bits), f16::from_bits(bits).to_f32());
            if right.is_nan() {
                assert!(ours.is_nan(), "{bits:#06x}");
            } else {
                assert_eq!(ours.to_bits(), right.to_bits(), "{bits:#06x}");
            }
        }
    }

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
