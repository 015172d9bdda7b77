//! Filters on texts that are empty or repeat themselves.

use async_trait::async_trait;

use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::Subject,
    stage::Filter,
    text::{Units, distinct_share, has_words},
};

/// Drops texts without a single letter or digit. Reason: `empty`.
///
/// ```
/// use safer_instruct::{Filter, SourceText, filters::NotEmpty};
///
/// # futures::executor::block_on(async {
/// assert!(NotEmpty.assess(&SourceText::new("a", "はい")).await?.is_keep());
/// assert!(!NotEmpty.assess(&SourceText::new("b", " …!? ")).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NotEmpty;

#[async_trait]
impl<T: Subject + ?Sized + Sync> Filter<T> for NotEmpty {
    async fn assess(&self, item: &T) -> Result<Decision> {
        Ok(if has_words(item.subject()) {
            Decision::Keep
        } else {
            Decision::drop("empty")
        })
    }
}

/// Drops texts that repeat themselves, as small models do. Reason: `repetitive`.
///
/// It measures the share of character n-grams that are distinct, in the same way for all scripts: only letters and
/// digits count, and differences of case and width do not. In a text shorter than two n-grams, n is half its length.
///
/// ```
/// use safer_instruct::{Filter, SourceText, filters::NotRepetitive};
///
/// # futures::executor::block_on(async {
/// let filter = NotRepetitive::new();
/// let keep = SourceText::new("a", "I am sorry that I broke your cup. I will buy a new one.");
/// assert!(filter.assess(&keep).await?.is_keep());
/// let looped = SourceText::new("b", "すみません。".repeat(20));
/// assert!(!filter.assess(&looped).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NotRepetitive {
    n: usize,
    share: f64,
}

impl NotRepetitive {
    /// Makes a filter with the default values.
    #[must_use]
    pub fn new() -> Self {
        Self { n: 12, share: 0.6 }
    }

    /// Sets how many characters an n-gram has (at least 1). By default 12.
    #[must_use]
    pub fn with_chars(mut self, n: usize) -> Self {
        self.n = n.max(1);
        self
    }

    /// Sets the smallest share of distinct n-grams that is kept, between 0 and 1. By default 0.6.
    #[must_use]
    pub fn with_share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }
}

impl Default for NotRepetitive {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl<T: Subject + ?Sized + Sync> Filter<T> for NotRepetitive {
    async fn assess(&self, item: &T) -> Result<Decision> {
        let chars = Units::chars(item.subject());
        let n = self.n.min(chars.len() / 2);
        match distinct_share(&chars, n) {
            Some(share) if share < self.share => {
                let detail = format!(
                    "{share:.2} of the n-grams are distinct, wanted {:.2}",
                    self.share
                );
                Ok(Decision::Drop(
                    Reason::new("repetitive").with_detail(detail),
                ))
            }
            _ => Ok(Decision::Keep),
        }
    }
}
