//! Source texts in languages that a model does not handle.

use async_trait::async_trait;

use crate::{
    error::Result,
    outcome::{Decision, Reason},
    profiles::Languages,
    record::Subject,
    stage::Filter,
};

/// Drops texts in a language outside of a set. Reason: `unsupported_language`, with the name of the language.
///
/// Meant for source texts, before any work is spent on a text that the model cannot handle. The script decides first,
/// so that short texts are classified correctly: kana mean Japanese, Hangul Korean. A text whose language cannot be
/// told from one of the set is kept. [`UncoveredTexts`](crate::profiles::UncoveredTexts) counts the same texts and
/// names a model that handles them.
///
/// ```
/// use safer_instruct::{Filter, SourceText, filters::InLanguages, profiles::Languages};
///
/// # futures::executor::block_on(async {
/// let filter = InLanguages::new(Languages::of(["en"])?);
/// assert!(filter.assess(&SourceText::new("a", "Stay at home.")).await?.is_keep());
/// let decision = filter.assess(&SourceText::new("b", "家にいて。")).await?;
/// assert!(format!("{decision:?}").contains("unsupported_language"));
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct InLanguages {
    languages: Languages,
}

impl InLanguages {
    /// Keeps texts in these languages.
    #[must_use]
    pub fn new(languages: Languages) -> Self {
        Self { languages }
    }
}

#[async_trait]
impl<T: Subject + ?Sized + Sync> Filter<T> for InLanguages {
    async fn assess(&self, item: &T) -> Result<Decision> {
        Ok(match self.languages.uncovered(item.subject()) {
            None => Decision::Keep,
            Some(language) => {
                Decision::Drop(Reason::new("unsupported_language").with_detail(language))
            }
        })
    }
}
