//! Texts in another language than the one they belong to.

use async_trait::async_trait;

use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::{Candidate, Induced},
    stage::Filter,
    text::Language,
};

/// Drops an instruction in another language than its source text, and a response in another language than its
/// instruction. Reason: `language_mismatch`.
///
/// The script decides first, so that short texts are read rightly: kana mean Japanese, Hangul Korean; Chinese characters alone
/// agree with Chinese and with Japanese. Texts in one script are in different languages only if statistics are
/// reliable for both. A text without letters agrees with all.
///
/// ```
/// use safer_instruct::{Filter, Induced, Instruction, SourceText, filters::SameLanguage};
///
/// # futures::executor::block_on(async {
/// let pair = |source: &str, instruction: &str| Induced {
///     source: SourceText::new("a", source),
///     instruction: Instruction::new(instruction),
/// };
/// assert!(SameLanguage.assess(&pair("朝と晩です。", "いつ？")).await?.is_keep());
/// let decision = SameLanguage.assess(&pair("朝と晩です。", "When?")).await?;
/// assert!(format!("{decision:?}").contains("Latin script, wanted Japanese"));
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SameLanguage;

#[async_trait]
impl Filter<Induced> for SameLanguage {
    async fn assess(&self, item: &Induced) -> Result<Decision> {
        Ok(decide(item.instruction.text(), item.source.text()))
    }
}

#[async_trait]
impl Filter<Candidate> for SameLanguage {
    async fn assess(&self, item: &Candidate) -> Result<Decision> {
        Ok(decide(item.response.text(), item.instruction.text()))
    }
}

fn decide(text: &str, reference: &str) -> Decision {
    let (text, reference) = (Language::of(text), Language::of(reference));
    if text.agrees_with(reference) {
        return Decision::Keep;
    }
    let detail = format!("{}, wanted {}", text.name(), reference.name());
    Decision::Drop(Reason::new("language_mismatch").with_detail(detail))
}
