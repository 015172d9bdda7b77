//! An estimate and its interval.

use serde::{Deserialize, Serialize};

use super::special::z_of;

/// A figure that was estimated, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// The variance of the estimator: the square of its standard error.
    pub variance: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// The standard error: the standard deviation of the estimator.
    #[must_use]
    pub fn std_error(&self) -> f64 {
        self.variance.sqrt()
    }

    /// Whether the interval covers the figure; its ends belong to it.
    #[must_use]
    pub fn covers(&self, figure: f64) -> bool {
        (self.low..=self.high).contains(&figure)
    }

    /// The interval of a normal distribution; `None` if a number is not finite or the confidence is none.
    pub(super) fn normal(value: f64, variance: f64, confidence: f64) -> Option<Self> {
        let reach = z_of(confidence)? * variance.sqrt();
        (value.is_finite() && reach.is_finite()).then_some(Self {
            value,
            variance,
            low: value - reach,
            high: value + reach,
        })
    }

    /// The interval cut to the figures that are possible.
    pub(super) fn within(self, least: f64, greatest: f64) -> Self {
        Self {
            low: self.low.clamp(least, greatest),
            high: self.high.clamp(least, greatest),
            ..self
        }
    }
}
