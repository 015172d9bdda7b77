//! What a guard finds in one response.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Origin, text::Redacted};

/// Whether a response is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Safety {
    /// It is safe.
    Safe,
    /// It is not safe.
    Unsafe,
    /// Whether it is safe depends on who reads it. It never counts as safe by itself.
    Controversial,
    /// The guard's answer could not be read: it was empty, cut off or no verdict. It never counts as safe or unsafe.
    Unparsed,
}

/// What a guard finds in one response.
///
/// `Debug` does not show what the guard wrote.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Assessment {
    /// The verdict.
    pub safety: Safety,
    /// P(unsafe), between 0 and 1, if the guard gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_unsafe: Option<f64>,
    /// The probability that the guard gave to what is no verdict, between 0 and 1, where P(unsafe) comes from the
    /// probabilities of its words: P(unsafe) may be off by as much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_other: Option<f64>,
    /// P(the response refuses to help), between 0 and 1, if the guard gives it. A guard that only says yes or no gives 1 or
    /// 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_refusal: Option<f64>,
    /// Kinds of harm, as `taxonomy@version:code`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// What the guard wrote, if it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// How the assessment was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
}

impl Assessment {
    /// Makes an assessment from a bare verdict.
    #[must_use]
    pub fn new(safety: Safety) -> Self {
        Self {
            safety,
            p_unsafe: None,
            p_other: None,
            p_refusal: None,
            categories: Vec::new(),
            raw: None,
            origin: None,
        }
    }

    /// Makes an assessment from P(unsafe): unsafe from `threshold` on, and unparsed if it is no probability.
    #[must_use]
    pub fn from_probability(p_unsafe: f64, threshold: f64) -> Self {
        if !(0.0..=1.0).contains(&p_unsafe) {
            return Self::new(Safety::Unparsed);
        }
        let safety = if p_unsafe >= threshold {
            Safety::Unsafe
        } else {
            Safety::Safe
        };
        Self {
            p_unsafe: Some(p_unsafe),
            ..Self::new(safety)
        }
    }

    /// Sets P(unsafe). By default it is unknown.
    #[must_use]
    pub fn with_p_unsafe(mut self, p_unsafe: f64) -> Self {
        self.p_unsafe = Some(p_unsafe);
        self
    }

    /// Sets the probability that the guard gave to what is no verdict. By default it is unknown.
    #[must_use]
    pub fn with_p_other(mut self, p_other: f64) -> Self {
        self.p_other = Some(p_other);
        self
    }

    /// Sets P(the response refuses to help). By default it is unknown.
    #[must_use]
    pub fn with_p_refusal(mut self, p_refusal: f64) -> Self {
        self.p_refusal = Some(p_refusal);
        self
    }

    /// Sets the kinds of harm, as `taxonomy@version:code`. By default there are none.
    #[must_use]
    pub fn with_categories(mut self, categories: impl IntoIterator<Item = String>) -> Self {
        self.categories = categories.into_iter().collect();
        self
    }

    /// Sets what the guard wrote. By default it wrote nothing.
    #[must_use]
    pub fn with_raw(mut self, raw: impl Into<String>) -> Self {
        self.raw = Some(raw.into());
        self
    }

    /// Sets how the assessment was made. By default nothing is known of it.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(Box::new(origin));
        self
    }

    /// Whether the response was found safe, and P(unsafe), where it is given, is at most `most`.
    ///
    /// ```
    /// use safer_instruct::{Assessment, Safety};
    ///
    /// assert!(Assessment::from_probability(0.2, 0.5).is_safe(0.3));
    /// assert!(!Assessment::from_probability(0.4, 0.5).is_safe(0.3));
    /// assert!(!Assessment::new(Safety::Unparsed).is_safe(1.0));
    /// assert!(!Assessment::new(Safety::Controversial).is_safe(1.0));
    /// ```
    #[must_use]
    pub fn is_safe(&self, most: f64) -> bool {
        self.safety == Safety::Safe && self.p_unsafe.is_none_or(|p| (0.0..=most).contains(&p))
    }

    /// Whether the response was found unsafe, or P(unsafe), where it is given, is at least `least`. A controversial
    /// response without a probability does not count.
    #[must_use]
    pub fn is_unsafe(&self, least: f64) -> bool {
        match (self.safety, self.p_unsafe) {
            (Safety::Unparsed, _) => false,
            (_, Some(p)) => (least..=1.0).contains(&p),
            (safety, None) => safety == Safety::Unsafe,
        }
    }
}

impl fmt::Debug for Assessment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assessment")
            .field("safety", &self.safety)
            .field("p_unsafe", &self.p_unsafe)
            .field("p_other", &self.p_other)
            .field("p_refusal", &self.p_refusal)
            .field("categories", &self.categories)
            .field("raw", &self.raw.as_deref().map(Redacted))
            .field("origin", &self.origin)
            .finish()
    }
}

/// What a guard finds in the two sides of a pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assessments {
    /// The expert's response.
    pub expert: Assessment,
    /// The other side: the counterpart's response or, without one, the source text.
    pub other: Assessment,
}

impl Assessments {
    /// The better side and the worse side, where the expert's response is the better one or not.
    pub(crate) fn sides(&self, expert_chosen: bool) -> (&Assessment, &Assessment) {
        if expert_chosen {
            (&self.expert, &self.other)
        } else {
            (&self.other, &self.expert)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_probability_is_neither_safe_nor_unsafe() {
        for p in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            let assessment = Assessment::from_probability(p, 0.5);
            assert_eq!(assessment.safety, Safety::Unparsed);
            assert!(!assessment.is_safe(1.0) && !assessment.is_unsafe(0.0));
        }
        let safe = Assessment::new(Safety::Safe).with_p_unsafe(f64::NAN);
        assert!(!safe.is_safe(1.0) && !safe.is_unsafe(0.0));
    }

    #[test]
    fn a_verdict_without_a_probability_counts_as_it_stands() {
        let of = |safety| Assessment::new(safety);
        assert!(of(Safety::Safe).is_safe(0.0) && !of(Safety::Safe).is_unsafe(0.0));
        assert!(of(Safety::Unsafe).is_unsafe(1.0) && !of(Safety::Unsafe).is_safe(1.0));
        for other in [Safety::Controversial, Safety::Unparsed] {
            assert!(!of(other).is_safe(1.0) && !of(other).is_unsafe(0.0));
        }
    }

    #[test]
    fn debug_shows_no_text() {
        let shown = format!("{:?}", Assessment::new(Safety::Safe).with_raw("kettle"));
        assert!(!shown.contains("kettle"), "{shown}");
    }
}
