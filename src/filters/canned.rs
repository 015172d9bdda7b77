//! Answers that refuse and say nothing else.

use async_trait::async_trait;

use super::refusals::Refusals;
use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::Subject,
    stage::Filter,
};

/// Drops answers that refuse and hold nothing specific beside it. Reason: `canned`.
///
/// An answer that refuses and then helps passes, and so does every answer that does not refuse. The answer is cut at
/// sentence ends and where a sentence turns (`but`, が、). Parts that refuse, apologise, admonish or offer help in
/// general are set aside by a list of phrases (English, Japanese, Chinese, Korean, some French, German and Spanish);
/// if one of them refuses, the words of the rest are counted. In the data released with the paper, two in five
/// of the preferred answers are one sentence, most of them the same one. An answer that comes again and again is
/// a matter for [`Distinct`](super::Distinct).
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
    /// A filter with the phrases of this crate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            refusals: Refusals::built_in(),
            min_words: 8,
        }
    }

    /// Sets how many words beside the refusal make an answer useful; two characters of a script without spaces count as
    /// one word. By default 8.
    #[must_use]
    pub fn with_min_words(mut self, words: usize) -> Self {
        self.min_words = words;
        self
    }

    /// Adds a phrase that refuses; case, width and the kind of apostrophe do not count. By default those of `refusals.txt`.
    #[must_use]
    pub fn with_phrase(mut self, phrase: &str) -> Self {
        self.refusals.add(phrase);
        self
    }

    /// Whether any part of the text refuses, whatever stands beside it.
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
