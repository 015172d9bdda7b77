//! The filter on instructions that quote the source text.

use std::hash::Hash;

use async_trait::async_trait;

use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::Draft,
    stage::Filter,
    text::{Units, containment, coverage, is_question},
};

/// Drops instructions that quote the source text. Reason: `quotes_source`.
///
/// It measures the share of the distinct n-grams of the shorter text that occur in the longer one. The share is 1 both
/// for an instruction that contains the whole source text and for one that is a part of it. Of an instruction that ends as a
/// question it measures the share of the source text's n-grams that occur in it: people ask whether a claim is true in the
/// words of the claim ("Can I leave my door unlocked?"), but do not repeat most of the text. N-grams are of words, or of
/// characters if most of the source text is written without spaces. Differences of case, width and punctuation do not
/// count. If one of the texts has fewer than n units, the instruction is kept, unless both texts are equal.
///
/// In the data released with the paper, a quarter to a third of the instructions contain at least half of the 4-grams
/// of their source text.
///
/// ```
/// use safer_instruct::{Draft, Filter, Instruction, SourceText, filters::NotQuoting};
///
/// # futures::executor::block_on(async {
/// let source = SourceText::new("a", "You never wash up, and I am done sharing a kitchen with you.");
/// let draft = |instruction: &str| Draft::new(source.clone()).with_instruction(Instruction::new(instruction));
/// let filter = NotQuoting::new();
/// assert!(filter.assess(&draft("Write an angry note about a dirty kitchen.")).await?.is_keep());
/// assert!(!filter.assess(&draft("Say: I am done sharing a kitchen with you!")).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NotQuoting {
    words: usize,
    chars: usize,
    share: f64,
}

impl NotQuoting {
    /// Makes a filter with the default values.
    #[must_use]
    pub fn new() -> Self {
        Self {
            words: 4,
            chars: 6,
            share: 0.5,
        }
    }

    /// Sets how many words an n-gram has (at least 1). By default 4.
    #[must_use]
    pub fn with_words(mut self, n: usize) -> Self {
        self.words = n.max(1);
        self
    }

    /// Sets how many characters an n-gram has (at least 1), for source texts without spaces. By default 6, about
    /// three words of Japanese.
    #[must_use]
    pub fn with_chars(mut self, n: usize) -> Self {
        self.chars = n.max(1);
        self
    }

    /// Sets the smallest share of n-grams, between 0 and 1, that is dropped. By default 0.5.
    #[must_use]
    pub fn with_share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    fn shared(&self, source: &str, instruction: &str) -> Option<f64> {
        let (words, chars) = match Units::of(source) {
            Units::Words(source) => (Some((source, Units::words(instruction))), None),
            Units::Chars(source) => (None, Some((source, Units::chars(instruction)))),
        };
        let asks = is_question(instruction);
        words
            .and_then(|(source, instruction)| share(&source, &instruction, self.words, asks))
            .or(chars
                .and_then(|(source, instruction)| share(&source, &instruction, self.chars, asks)))
    }
}

fn share<T: Eq + Hash>(source: &[T], instruction: &[T], n: usize, asks: bool) -> Option<f64> {
    let share = if asks {
        coverage(source, instruction, n)
    } else {
        containment(source, instruction, n)
    };
    share.or((source == instruction && !source.is_empty()).then_some(1.0))
}

impl Default for NotQuoting {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Filter<Draft> for NotQuoting {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        match self.shared(draft.source().text(), draft.instruction()?.text()) {
            Some(share) if share >= self.share => {
                let detail = format!("{share:.2} of the n-grams, wanted below {:.2}", self.share);
                Ok(Decision::Drop(
                    Reason::new("quotes_source").with_detail(detail),
                ))
            }
            _ => Ok(Decision::Keep),
        }
    }
}
