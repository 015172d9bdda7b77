//! The filter on the length of texts.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::Subject,
    stage::Filter,
    text::word_count,
};

/// Drops texts that are too short or too long. Reasons: `too_short`, `too_long`.
///
/// ```
/// use safer_instruct::{Filter, SourceText, filters::Length};
///
/// # futures::executor::block_on(async {
/// let filter = Length::chars().with_min(3).with_max(8);
/// assert!(filter.assess(&SourceText::new("a", "猫が好き。")).await?.is_keep());
/// let filter = Length::words().with_min(5);
/// assert!(!filter.assess(&SourceText::new("a", "I like cats.")).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Length {
    unit: Unit,
    min: usize,
    max: usize,
}

#[derive(Clone)]
enum Unit {
    Chars,
    Words,
    Tokens(Arc<dyn Fn(&str) -> usize + Send + Sync>),
}

impl Length {
    /// Measures the length in characters: Unicode scalar values, spaces included.
    #[must_use]
    pub fn chars() -> Self {
        Self::of(Unit::Chars)
    }

    /// Measures the length in words, as Unicode segments them (UAX #29).
    ///
    /// Chinese characters, hiragana and Thai letters count as one word each, a run of katakana as one word. For such
    /// texts use [`chars`](Self::chars).
    #[must_use]
    pub fn words() -> Self {
        Self::of(Unit::Words)
    }

    /// Measures the length in the tokens of a model, which `count` counts.
    pub fn tokens(count: impl Fn(&str) -> usize + Send + Sync + 'static) -> Self {
        Self::of(Unit::Tokens(Arc::new(count)))
    }

    fn of(unit: Unit) -> Self {
        Self {
            unit,
            min: 0,
            max: usize::MAX,
        }
    }

    /// Sets the smallest length that is kept. By default 0.
    #[must_use]
    pub fn with_min(mut self, min: usize) -> Self {
        self.min = min;
        self
    }

    /// Sets the greatest length that is kept. By default there is none.
    #[must_use]
    pub fn with_max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }
}

#[async_trait]
impl<T: Subject + ?Sized + Sync> Filter<T> for Length {
    async fn assess(&self, item: &T) -> Result<Decision> {
        let text = item.subject();
        let length = match &self.unit {
            Unit::Chars => text.chars().count(),
            Unit::Words => word_count(text),
            Unit::Tokens(count) => count(text),
        };
        let (code, bound, limit) = if length < self.min {
            ("too_short", "at least", self.min)
        } else if length > self.max {
            ("too_long", "at most", self.max)
        } else {
            return Ok(Decision::Keep);
        };
        let detail = format!("{length} {}, wanted {bound} {limit}", self.unit.name());
        Ok(Decision::Drop(Reason::new(code).with_detail(detail)))
    }
}

impl Unit {
    fn name(&self) -> &'static str {
        match self {
            Self::Chars => "characters",
            Self::Words => "words",
            Self::Tokens(_) => "tokens",
        }
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
