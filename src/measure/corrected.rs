//! The rate that remains when the known mistakes of a judge are taken away.

use serde::Serialize;

use super::{estimate::Estimate, rates::Proportion, special::z_of};

/// The true rate of something, from how often a judge says so and from how well the judge does on known items.
///
/// Use it where the known items come from other texts than the judged ones; of a random sample of the same texts,
/// [`ppi_mean`](super::ppi_mean) is usually surer.
///
/// ```
/// use safer_instruct::measure::{Proportion, RoganGladen};
///
/// let rate = RoganGladen {
///     judged: Proportion::new(2_640, 20_000).unwrap(),
///     sensitivity: Proportion::new(170, 200).unwrap(),
///     specificity: Proportion::new(186, 200).unwrap(),
/// };
/// let rate = rate.estimate(0.95).unwrap();
/// assert!((rate.value - 0.0795).abs() < 1e-4, "not 13 %");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RoganGladen {
    /// How often the judge says so, of the items that are not known.
    pub judged: Proportion,
    /// How often it says so, of the known items for which it is so.
    pub sensitivity: Proportion,
    /// How often it does not say so, of the known items for which it is not.
    pub specificity: Proportion,
}

impl RoganGladen {
    /// The corrected rate, cut to 0 and 1, its variance and its interval.
    ///
    /// With the shares p, s and t of the judged, the sensitivity and the specificity, the rate is
    /// `θ = (p + t - 1) / (s + t - 1)` and its variance, of n, m and l items,
    /// `[p (1-p) / n + θ² s (1-s) / m + (1-θ)² t (1-t) / l] / (s + t - 1)²` (Rogan and Gladen, American Journal of
    /// Epidemiology 1978). The interval is that of Lang and Reiczigel (Preventive Veterinary Medicine 2014): the same,
    /// with z²/2 hits in z² trials added to the judged items and one hit in two trials to the known ones, moved by
    /// `2 z² [θ s (1-s) / m - (1-θ) t (1-t) / l]`, and cut to 0 and 1. If nothing remains between them, the known items
    /// are not like the judged ones.
    ///
    /// `None` if the judge does no better than chance, `s + t <= 1`, or the confidence is none.
    #[must_use]
    pub fn estimate(&self, confidence: f64) -> Option<Estimate> {
        let z = z_of(confidence)?;
        let seen = Shares {
            judged: Share::new(self.judged, 0.0),
            sensitivity: Share::new(self.sensitivity, 0.0),
            specificity: Share::new(self.specificity, 0.0),
        };
        let added = Shares {
            judged: Share::new(self.judged, z * z),
            sensitivity: Share::new(self.sensitivity, 2.0),
            specificity: Share::new(self.specificity, 2.0),
        };
        let (value, variance) = seen.corrected()?;
        let (centre, spread) = added.corrected()?;
        let shift =
            centre * added.sensitivity.variance() - (1.0 - centre) * added.specificity.variance();
        let interval = Estimate::normal(centre + 2.0 * z * z * shift, spread, confidence)?;
        let interval = interval.within(0.0, 1.0);
        Some(Estimate {
            value: value.clamp(0.0, 1.0),
            variance,
            ..interval
        })
    }
}

/// A share of a number of trials.
struct Share {
    share: f64,
    trials: f64,
}

impl Share {
    /// The share after trials are added of which half are hits.
    fn new(proportion: Proportion, added: f64) -> Self {
        let trials = proportion.trials() as f64 + added;
        Self {
            share: (proportion.hits() as f64 + added / 2.0) / trials,
            trials,
        }
    }

    fn variance(&self) -> f64 {
        self.share * (1.0 - self.share) / self.trials
    }
}

struct Shares {
    judged: Share,
    sensitivity: Share,
    specificity: Share,
}

impl Shares {
    /// The corrected rate and its variance.
    fn corrected(&self) -> Option<(f64, f64)> {
        let better = self.sensitivity.share + self.specificity.share - 1.0;
        if better <= 0.0 {
            return None;
        }
        let rate = (self.judged.share + self.specificity.share - 1.0) / better;
        let variance = self.judged.variance()
            + rate.powi(2) * self.sensitivity.variance()
            + (1.0 - rate).powi(2) * self.specificity.variance();
        Some((rate, variance / better.powi(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(judged: (u64, u64), sensitivity: (u64, u64), specificity: (u64, u64)) -> RoganGladen {
        let share = |(hits, trials)| Proportion::new(hits, trials).unwrap();
        RoganGladen {
            judged: share(judged),
            sensitivity: share(sensitivity),
            specificity: share(specificity),
        }
    }

    #[test]
    fn a_judge_like_a_coin_corrects_nothing() {
        assert_eq!(of((3, 10), (5, 10), (5, 10)).estimate(0.95), None);
        assert_eq!(of((3, 10), (2, 10), (5, 10)).estimate(0.95), None);
        assert_eq!(of((3, 10), (9, 10), (9, 10)).estimate(0.0), None);
    }

    #[test]
    fn a_rate_below_the_false_alarms_is_zero() {
        let rate = of((5, 100), (90, 100), (90, 100)).estimate(0.95).unwrap();
        assert_eq!((rate.value, rate.low), (0.0, 0.0));
        assert!(rate.high > 0.0);
    }
}
