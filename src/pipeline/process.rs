//! The algorithm for one source text.

use tracing::Instrument;

use super::{
    Event, OnSourceWins, Pipeline,
    steps::{End, Worked, assess, dropped, failed},
};
use crate::{
    error::Error,
    outcome::{Outcome, Stage},
    record::{Draft, Response, Side, SourceText},
    stage::{InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

impl<I, R, J> Pipeline<I, R, J>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    /// Works on one source text. The run seed of its lineage is set to the pipeline's; its draw stays.
    ///
    /// Ordered filters are not asked. An error of a stage becomes [`Outcome::Failed`].
    pub async fn process(&self, source: SourceText) -> Outcome {
        let lineage = source.lineage().clone().with_run_seed(self.rest.seed);
        let outcome = match self.work_on(source.with_lineage(lineage)).await {
            Worked::Done(outcome) => outcome,
            Worked::Judged(draft) => into_outcome(*draft),
        };
        self.tell(&Event::Finished { outcome: &outcome });
        outcome
    }

    /// Works on one source text up to the ordered filters on pairs.
    pub(super) async fn work_on(&self, source: SourceText) -> Worked {
        let mut draft = Draft::new(source);
        let lineage = draft.source.lineage();
        let span = tracing::debug_span!("process", id = lineage.source_id(), draw = lineage.draw());
        self.tell(&Event::Started { lineage });
        let grown = self.grow(&mut draft).instrument(span).await;
        Worked::Done(match grown {
            Ok(()) if self.rest.ordered_pair_filters.is_empty() => into_outcome(draft),
            Ok(()) => return Worked::Judged(Box::new(draft)),
            Err(End::Dropped(stage, reason)) => dropped(stage, reason, Box::new(draft)),
            Err(End::Failed(stage, error)) => failed(stage, error, Box::new(draft)),
        })
    }

    /// Takes a draft from the source text to the judgement. Where it ends early, the draft holds what was made until
    /// then.
    async fn grow(&self, draft: &mut Draft) -> Result<(), End> {
        // 1. Filter the source text.
        assess(Stage::Source, &self.rest.source_filters, &draft.source).await?;

        // 2. Induce the instruction that it could be an answer to, and filter it.
        let induced = self.add_instruction(draft).await;
        induced.map_err(|error| End::Failed(Stage::Induce, error))?;
        assess(Stage::Induce, &self.rest.instruction_filters, &*draft).await?;

        // 3. Ask the expert, and the counterpart, for a response, and filter it.
        let responded = self.add_responses(draft).await;
        responded.map_err(|error| End::Failed(Stage::Respond, error))?;
        assess(Stage::Respond, &self.rest.response_filters, &*draft).await?;

        // 4. Leave out what cannot be compared.
        if draft.other_text().trim().is_empty() {
            return Err(End::because(Stage::Respond, "empty"));
        }
        if draft.response.as_ref().map(Response::text) == Some(draft.other_text()) {
            return Err(End::because(Stage::Judge, "identical"));
        }

        // 5. Let the guard assess each side by itself.
        let assessed = self.add_assessments(draft).await;
        assessed.map_err(|error| End::Failed(Stage::Judge, error))?;
        if self.rest.on_source_wins == OnSourceWins::Drop {
            self.pass_gate(draft, Side::Expert)?;
        }

        // 6. Let the judge compare the two sides.
        let judged = self.add_judgement(draft).await;
        judged.map_err(|error| End::Failed(Stage::Judge, error))?;

        // 7. Go on only with a verdict that makes a pair.
        match draft.chosen_from() {
            Ok(chosen) if self.rest.on_source_wins == OnSourceWins::Flip => {
                self.pass_gate(draft, chosen)?;
            }
            Ok(Side::Expert) => {}
            Ok(Side::Source) => return Err(End::because(Stage::Judge, "source_wins")),
            Ok(Side::Counterpart) => return Err(End::because(Stage::Judge, "counterpart_wins")),
            Err(_) => return Err(End::because(Stage::Judge, "tie")),
        }

        // 8. Filter the pair.
        assess(Stage::Pair, &self.rest.pair_filters, &*draft).await
    }
}

/// Moves the texts of a judged draft into a pair.
pub(super) fn into_outcome(draft: Draft) -> Outcome {
    match draft.into_pair() {
        Ok(pair) => Outcome::Kept(Box::new(pair)),
        Err(draft) => failed(
            Stage::Pair,
            Error::config("draft", "is not complete"),
            draft,
        ),
    }
}
