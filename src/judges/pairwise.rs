//! The pairwise judge: asks a model for a verdict in words.

use async_trait::async_trait;

use super::SwapOrder;
use crate::{
    error::{Error, Result},
    model::{ChatModel, Completion},
    prompt::{Asking, PromptTemplate, Question, asking_setters, built_in, fence},
    record::{Instruction, Judgement, Response, Verdict},
    stage::PreferenceJudge,
};

/// Asks an instruct model for a line `Verdict: A`, `Verdict: B` or `Verdict: TIE`.
///
/// Models have position bias: they prefer the response in one of the two places. So this judge alone is not symmetric;
/// use it as `PairwiseJudge::new(model).both_orders()`. Identical responses tie, and the model is not asked.
///
/// The prompt puts each response between fences that do not occur in it, and asks the question after them. The answer
/// must hold exactly one line with a verdict, with or without Markdown emphasis; an answer of one line may be the bare
/// word. Otherwise the model is asked again.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// // A model that likes whatever comes first:
/// let model = complete_fn(|_| async {
///     Ok(Completion::new(
///         "Verdict: A",
///         FinishReason::Stop,
///         Usage::default(),
///         Arc::new(ModelId::new("scripted")),
///     ))
/// });
/// let (x, a, b) = (Instruction::new("Say hello."), Response::new("Hello!"), Response::new("No."));
/// let judge = judges::PairwiseJudge::new(model);
/// assert_eq!(judge.judge(&x, &a, &b).await?.verdict(), Verdict::First);
/// let judge = judge.both_orders();
/// let judgement = judge.judge(&x, &a, &b).await?;
/// assert!(judgement.verdict() == Verdict::Tie && judgement.flipped());
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct PairwiseJudge<M> {
    model: M,
    template: PromptTemplate,
    policy: String,
    asking: Asking,
}

impl<M> PairwiseJudge<M> {
    /// Makes a judge that asks `model`.
    pub fn new(model: M) -> Self {
        Self {
            model,
            template: built_in::JUDGE_PAIRWISE
                .template()
                .with_value("policy", built_in::POLICY_JUDGE),
            policy: built_in::POLICY_JUDGE.to_owned(),
            asking: Asking::new(16),
        }
    }

    /// Sets the policy: the text that says what a safe response is. It fills the slot `{{policy}}`, and the prompt's
    /// hash covers it. By default [`built_in::POLICY_JUDGE`].
    #[must_use]
    pub fn with_policy(mut self, policy: impl Into<String>) -> Self {
        self.policy = policy.into();
        self.template = self.template.with_value("policy", &self.policy);
        self
    }

    /// Sets the prompt: a Markdown text with the slots `{{instruction}}`, `{{first}}`, `{{second}}` and, optionally,
    /// `{{policy}}` and `{{fence}}`. By default [`built_in::JUDGE_PAIRWISE`]. A prompt that asks for reasons first
    /// needs more tokens.
    ///
    /// # Errors
    /// As [`PromptTemplate::parse`].
    pub fn with_prompt(mut self, markdown: &str) -> Result<Self> {
        self.template = PromptTemplate::parse(markdown, built_in::JUDGE_PAIRWISE.slots)?
            .with_value("policy", &self.policy);
        Ok(self)
    }

    asking_setters! { sampling: "greedy", max_tokens: "16" }

    /// Asks in both orders. If the two verdicts differ, the judgement is a tie.
    #[must_use]
    pub fn both_orders(self) -> SwapOrder<Self> {
        SwapOrder::new(self)
    }
}

#[async_trait]
impl<M: ChatModel> PreferenceJudge for PairwiseJudge<M> {
    async fn judge(
        &self,
        instruction: &Instruction,
        first: &Response,
        second: &Response,
    ) -> Result<Judgement> {
        if first.text() == second.text() {
            return Ok(Judgement::tie());
        }
        let texts = [instruction.text(), first.text(), second.text()];
        let [instruction_text, first, second] = texts;
        let question = Question {
            method: "pairwise",
            purpose: "judge",
            lineage: instruction.lineage(),
            template: &self.template,
            values: &[
                ("instruction", instruction_text),
                ("first", first),
                ("second", second),
                ("fence", &fence(&texts)),
            ],
        };
        let read = |completion: &Completion| verdict(&completion.text);
        let (verdict, origin) = self.asking.ask(&self.model, question, read).await?;
        Ok(Judgement::new(verdict).with_origin(origin))
    }
}

/// Parses the only verdict of an answer.
fn verdict(answer: &str) -> Result<Verdict> {
    let answer = answer.trim();
    let mut verdicts = answer.lines().filter_map(labelled);
    match (verdicts.next(), verdicts.next()) {
        (Some(verdict), None) => verdict,
        (None, _) => word(answer),
        (Some(_), Some(_)) => Err(not_a_verdict()),
    }
}

/// The verdict of a line `Verdict: …`; `None` if the line is not of that form.
fn labelled(line: &str) -> Option<Result<Verdict>> {
    let line = line.trim().trim_start_matches('*');
    let (label, rest) = line.split_once(':')?;
    let label = label.trim().trim_end_matches('*');
    label.eq_ignore_ascii_case("verdict").then(|| word(rest))
}

fn word(text: &str) -> Result<Verdict> {
    match text.trim_matches(['*', ' ', '"', '.']) {
        "A" => Ok(Verdict::First),
        "B" => Ok(Verdict::Second),
        "TIE" => Ok(Verdict::Tie),
        _ => Err(not_a_verdict()),
    }
}

fn not_a_verdict() -> Error {
    Error::malformed("exactly one line `Verdict: A`, `Verdict: B` or `Verdict: TIE`")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_verdict_is_read_and_nothing_else() {
        for (answer, expected) in [
            ("Verdict: A", Verdict::First),
            (" **Verdict: B**\n", Verdict::Second),
            ("**Verdict:** TIE.", Verdict::Tie),
            ("verdict: B\nIt is kinder.", Verdict::Second),
            ("A is rude.\nVerdict: B", Verdict::Second),
            ("A", Verdict::First),
            ("\"TIE\"", Verdict::Tie),
        ] {
            assert_eq!(verdict(answer).unwrap(), expected, "{answer:?}");
        }
        for answer in [
            "",
            "C",
            "a",
            "AB",
            "A or B",
            "A\nB",
            "Verdict:",
            "Verdict: A or B",
            "Verdict: A\nVerdict: B",
            "Verdict: A\nVerdict: A",
            "Verdict: C\nA",
            "Answer A is better.",
            "My Verdict: A",
            "Verdict： A",
        ] {
            assert!(verdict(answer).is_err(), "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(answer in "\\PC{0,30}|[ABTIE*:.\n Verdict]{0,30}") {
            if let Ok(read) = verdict(&answer) {
                let name = ["A", "B", "TIE"][read as usize];
                prop_assert!(answer.contains(name));
                let more = format!("{answer}\nVerdict: A\nVerdict: B");
                prop_assert!(verdict(&more).is_err());
            }
        }
    }
}
