//! The normal and the beta distribution, to about 1e-14.

use std::f64::consts::PI;

/// The probability that a standard normal variable is greater than `z`.
///
/// By the series of the distribution function below 3, and by Laplace's continued fraction above (Abramowitz and Stegun
/// 26.2.11, 26.2.14).
pub(super) fn normal_tail(z: f64) -> f64 {
    let x = z.abs();
    let tail = if x < 3.0 {
        let mut term = x;
        let mut sum = x;
        for k in 1..100 {
            term *= x * x / f64::from(2 * k + 1);
            sum += term;
        }
        0.5 - density(x) * sum
    } else {
        density(x) / (1..200).rev().fold(x, |rest, k| x + f64::from(k) / rest)
    };
    if z < 0.0 { 1.0 - tail } else { tail }
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// The number of standard deviations that an interval of this confidence reaches to each side: 1.96 for 0.95.
///
/// `None` unless the confidence lies between 0 and 1.
pub(super) fn z_of(confidence: f64) -> Option<f64> {
    if !(confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    let wanted = (1.0 - confidence) / 2.0;
    // The tail is convex here, so Newton's method comes from the left and never goes past the root.
    let mut z = 0.0;
    for _ in 0..200 {
        let step = (normal_tail(z) - wanted) / density(z);
        z += step;
        if step.abs() < 1e-15 {
            break;
        }
    }
    Some(z)
}

/// What Stirling's formula `(x - 1/2) ln x - x + ln(2π) / 2` leaves of the logarithm of the gamma function of a
/// positive number.
fn stirling_rest(x: f64) -> f64 {
    const TERMS: [f64; 6] = [
        -691.0 / 360_360.0,
        1.0 / 1_188.0,
        -1.0 / 1_680.0,
        1.0 / 1_260.0,
        -1.0 / 360.0,
        1.0 / 12.0,
    ];
    // Steps up to where the series is exact: what a step leaves is (x + 1/2) ln(1 + 1/x) - 1.
    let (mut x, mut steps) = (x, 0.0);
    while x < 15.0 {
        steps += (x + 0.5) * (1.0 / x).ln_1p() - 1.0;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    steps + TERMS.iter().fold(0.0, |sum, term| sum * inverse + term) / x
}

/// The probability that a variable of the beta distribution (a, b) is at most `x`.
///
/// The continued fraction of Abramowitz and Stegun 26.5.8, by Lentz's method.
pub(super) fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cdf_left(1.0 - x, b, a);
    }
    beta_cdf_left(x, a, b)
}

fn beta_cdf_left(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    // The density by its height at the middle a / (a + b), so that great numbers do not cancel.
    let all = a + b;
    let off = x - a / all;
    let rest = stirling_rest(all) - stirling_rest(a) - stirling_rest(b);
    let height = (a * (b / all) / (2.0 * PI)).sqrt();
    let front = a * (off * all / a).ln_1p() + b * (-off * all / b).ln_1p() + rest;
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..100_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    height * front.exp() * fraction / a
}

/// The point below which the share `p` of the beta distribution (a, b) lies, by bisection.
pub(super) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..200 {
        let middle = low.midpoint(high);
        if middle <= low || middle >= high {
            break;
        }
        if beta_cdf(middle, a, b) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    low.midpoint(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) {
        assert!(
            (left - right).abs() <= 1e-13 * right.abs().max(1.0),
            "{left} is not {right}"
        );
    }

    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        close(z_of(0.95).unwrap(), 1.959_963_984_540_054);
        close(z_of(0.5).unwrap(), 0.674_489_750_196_081_7);
        close(normal_tail(-1.0), 0.841_344_746_068_542_9);
        close(normal_tail(6.0) * 1e9, 0.986_587_645_037_698_1);
        close(normal_tail(2.999_999_999_999), normal_tail(3.0));
        assert_eq!(normal_tail(f64::INFINITY), 0.0);
        for confidence in [0.0, 1.0, -1.0, 2.0, f64::NAN] {
            assert_eq!(z_of(confidence), None);
        }
    }

    #[test]
    fn the_beta_distribution_has_its_closed_forms() {
        let ln_gamma = |x: f64| (x - 0.5) * x.ln() - x + (2.0 * PI).ln() / 2.0 + stirling_rest(x);
        close(ln_gamma(0.5), PI.sqrt().ln());
        close(ln_gamma(11.0), 3_628_800_f64.ln());
        close(ln_gamma(21.0), 2_432_902_008_176_640_000_f64.ln());
        for x in [0.01, 0.3, 0.5, 0.99] {
            close(beta_cdf(x, 1.0, 7.0), 1.0 - (1.0 - x).powi(7));
            close(beta_cdf(x, 3.0, 1.0), x.powi(3));
            close(beta_quantile(beta_cdf(x, 2.0, 3.0), 2.0, 3.0), x);
        }
        close(beta_cdf(0.5, 4e5, 4e5), 0.5);
    }
}
