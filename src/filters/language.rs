//! The filter on instructions and responses in another language.

use async_trait::async_trait;

use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::Draft,
    stage::Filter,
    text::Language,
};

/// Drops an instruction in another language than its source text, and a response in another language than its
/// instruction. Reason: `language_mismatch`.
///
/// Before there is a response, the filter compares the instruction with the source text; afterwards it compares the
/// response with the instruction.
///
/// The script is compared first, so that short texts are classified correctly: kana mean Japanese, and Hangul means
/// Korean; Chinese characters alone agree with Chinese and with Japanese. Texts in the same script count as different
/// languages only if language detection is reliable for both. A text without letters agrees with every language.
///
/// ```
/// use safer_instruct::{Draft, Filter, Instruction, SourceText, filters::SameLanguage};
///
/// # futures::executor::block_on(async {
/// let draft = |instruction: &str| {
///     Draft::new(SourceText::new("a", "朝と晩です。")).with_instruction(Instruction::new(instruction))
/// };
/// assert!(SameLanguage.assess(&draft("いつ？")).await?.is_keep());
/// let decision = SameLanguage.assess(&draft("When?")).await?;
/// assert!(format!("{decision:?}").contains("Latin script, wanted Japanese"));
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SameLanguage;

#[async_trait]
impl Filter<Draft> for SameLanguage {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        let instruction = draft.instruction()?.text();
        Ok(match draft.response() {
            Ok(response) => decide(response.text(), instruction),
            Err(_) => decide(instruction, draft.source().text()),
        })
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
