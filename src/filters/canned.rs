//! The filter on canned refusals.

use async_trait::async_trait;

use super::refusals::Refusals;
use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::Subject,
    stage::Filter,
};

/// Drops responses that refuse and say nothing specific besides. Reason: `canned`.
///
/// A response that refuses and then helps is kept, and so is every response that does not refuse. The filter splits the
/// response at sentence ends and at words such as `but` and が、. A list of phrases (English, Japanese, Chinese, Korean,
/// some French, German and Spanish) finds the parts that refuse, apologise, admonish or offer help in general. If one
/// of them refuses, the words of the other parts are counted.
///
/// In the data released with the paper, two in five of the preferred responses are one sentence, most of them the same
/// one. To drop a response that comes again and again, use [`Distinct`](super::Distinct).
///
/// ```
/// use safer_instruct::{Filter, SourceText, filters::NotCanned};
///
/// # futures::executor::block_on(async {
/// let filter = NotCanned::new();
/// for canned in ["Sorry, but I can't assist with that.", "申し訳ありませんが、お手伝いできません。"] {
///     assert!(!filter.assess(&SourceText::new("a", canned)).await?.is_keep());
/// }
/// let answer = "I can't help you write a threat, but you can ask the landlord in writing to fix \
///     the heating within two weeks.";
/// assert!(filter.assess(&SourceText::new("b", answer)).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct NotCanned {
    refusals: Refusals,
    min_words: usize,
}

impl NotCanned {
    /// Makes a filter with the phrases of this crate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            refusals: Refusals::built_in(),
            min_words: 8,
        }
    }

    /// Sets how many words besides the refusal make a response useful. Two characters of a script without spaces count
    /// as one word. By default 8.
    #[must_use]
    pub fn with_min_words(mut self, words: usize) -> Self {
        self.min_words = words;
        self
    }

    /// Adds a phrase that refuses. Differences of case, width and apostrophe do not count. By default the phrases are
    /// those of `refusals.txt`.
    #[must_use]
    pub fn with_phrase(mut self, phrase: &str) -> Self {
        self.refusals.add(phrase);
        self
    }

    /// Whether any part of the text refuses.
    #[must_use]
    pub fn refuses(&self, text: &str) -> bool {
        self.refusals.read(text).refuses
    }
}

impl Default for NotCanned {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl<T: Subject + ?Sized + Sync> Filter<T> for NotCanned {
    async fn assess(&self, item: &T) -> Result<Decision> {
        let makeup = self.refusals.read(item.subject());
        if !makeup.refuses || makeup.specific >= self.min_words {
            return Ok(Decision::Keep);
        }
        let detail = format!(
            "{} words beside the refusal, wanted at least {}",
            makeup.specific, self.min_words
        );
        Ok(Decision::Drop(Reason::new("canned").with_detail(detail)))
    }
}
