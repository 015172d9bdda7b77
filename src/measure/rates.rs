//! The rate of something that was counted.

use serde::Serialize;

use super::{
    estimate::Estimate,
    special::{beta_quantile, z_of},
};

/// How often something was the case, of how many times that it could be.
///
/// ```
/// use safer_instruct::measure::Proportion;
///
/// let unsafe_texts = Proportion::new(8, 100).unwrap();
/// let rate = unsafe_texts.wilson(0.95).unwrap();
/// assert!(rate.low > 0.04 && rate.high < 0.16);
///
/// // None of 300: with a confidence of 95 %, at most about 3 in 300.
/// let none = Proportion::new(0, 300).unwrap();
/// assert!((none.upper_bound(0.95).unwrap() - 3.0 / 300.0).abs() < 1e-4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Proportion {
    hits: u64,
    trials: u64,
}

impl Proportion {
    /// Makes the proportion of `hits` in `trials`; `None` of no trials, or if there are more hits than trials.
    #[must_use]
    pub fn new(hits: u64, trials: u64) -> Option<Self> {
        (trials > 0 && hits <= trials).then_some(Self { hits, trials })
    }

    /// Counts the cases that are true; `None` of no case.
    pub fn of(cases: impl IntoIterator<Item = bool>) -> Option<Self> {
        let (mut hits, mut trials) = (0, 0);
        for case in cases {
            hits += u64::from(case);
            trials += 1;
        }
        Self::new(hits, trials)
    }

    /// How often it was the case.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// How many times it could be.
    #[must_use]
    pub fn trials(&self) -> u64 {
        self.trials
    }

    /// The rate, between 0 and 1.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.hits as f64 / self.trials as f64
    }

    /// The rate with the interval of Wilson (Journal of the American Statistical Association 1927).
    ///
    /// With k of n and z standard deviations, the interval is
    /// `(k + z²/2) / (n + z²) ± z / (n + z²) · sqrt(k (n - k) / n + z²/4)`. It is good for small numbers and rates too,
    /// and is the one to state. `None` if the confidence is none.
    #[must_use]
    pub fn wilson(&self, confidence: f64) -> Option<Estimate> {
        let z = z_of(confidence)?;
        let (k, n) = (self.hits as f64, self.trials as f64);
        let centre = (k + z * z / 2.0) / (n + z * z);
        let reach = z / (n + z * z) * (k * (n - k) / n + z * z / 4.0).sqrt();
        Some(self.estimate(centre - reach, centre + reach))
    }

    /// The rate with the exact interval of Clopper and Pearson (Biometrika 1934), by quantiles of beta distributions.
    ///
    /// It covers the true rate at least as often as it says, and is wider than Wilson's for that. `None` if the
    /// confidence is none.
    #[must_use]
    pub fn clopper_pearson(&self, confidence: f64) -> Option<Estimate> {
        z_of(confidence)?;
        let outside = (1.0 - confidence) / 2.0;
        // The misses are the hits of the opposite.
        let misses = self.trials - self.hits;
        let low = 1.0 - exact_upper(misses, self.trials, outside);
        Some(self.estimate(low, exact_upper(self.hits, self.trials, outside)))
    }

    /// The rate that is not exceeded with this confidence (Clopper and Pearson, one side).
    ///
    /// Of no hit in n trials, with 0.95, it is `1 - 0.05^(1/n)`, about `3/n`: the rule of three. `None` if the
    /// confidence is none.
    #[must_use]
    pub fn upper_bound(&self, confidence: f64) -> Option<f64> {
        z_of(confidence)?;
        Some(exact_upper(self.hits, self.trials, 1.0 - confidence))
    }

    fn estimate(&self, low: f64, high: f64) -> Estimate {
        let rate = self.rate();
        let estimate = Estimate {
            value: rate,
            variance: rate * (1.0 - rate) / self.trials as f64,
            low,
            high,
        };
        estimate.within(0.0, 1.0)
    }
}

/// The rate at which so few hits or fewer have the probability `outside`.
fn exact_upper(hits: u64, trials: u64, outside: f64) -> f64 {
    if hits == trials {
        return 1.0;
    }
    // The quantile of the opposite, so that a small probability is not rounded away from 1.
    1.0 - beta_quantile(outside, (trials - hits) as f64, hits as f64 + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_exact() {
        let none = Proportion::new(0, 40).unwrap();
        let upper = none.upper_bound(0.95).unwrap();
        assert!((upper - (1.0 - 0.05_f64.powf(1.0 / 40.0))).abs() < 1e-12);
        assert_eq!(none.clopper_pearson(0.95).unwrap().low, 0.0);
        assert_eq!(none.wilson(0.95).unwrap().low, 0.0);
        let all = Proportion::new(40, 40).unwrap();
        assert_eq!(all.clopper_pearson(0.95).unwrap().high, 1.0);
        assert_eq!(all.upper_bound(0.95), Some(1.0));
    }

    #[test]
    fn what_is_no_proportion_is_none() {
        assert_eq!(Proportion::new(0, 0), None);
        assert_eq!(Proportion::new(2, 1), None);
        assert_eq!(Proportion::of([]), None);
        assert_eq!(Proportion::of([true, false, true]), Proportion::new(2, 3));
        assert_eq!(Proportion::new(1, 2).unwrap().wilson(0.0), None);
        assert_eq!(Proportion::new(1, 2).unwrap().upper_bound(f64::NAN), None);
    }
}
