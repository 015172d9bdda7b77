//! The steps of the algorithm: each asks one kind of stage and adds to the draft what comes back.

use std::borrow::Cow;

use futures::future::{join, try_join};

use super::{Event, Pipeline};
use crate::{
    error::{Error, Result},
    outcome::{Decision, Outcome, Reason, Stage},
    record::{Assessments, Draft, Lineage, Origin, Response, Side, Subject, Usage},
    stage::{Filter, InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

/// How far a draft has come before the ordered filters on pairs.
pub(super) enum Worked {
    /// To its outcome: it was dropped, it failed, or there are no ordered filters on pairs.
    Done(Outcome),
    /// To a judgement and through all other filters.
    Judged(Box<Draft>),
}

/// Why a draft does not become a pair.
pub(super) enum End {
    Dropped(Stage, Reason),
    Failed(Stage, Error),
}

impl End {
    /// Drops with a bare reason code.
    pub(super) fn because(stage: Stage, code: &'static str) -> Self {
        Self::Dropped(stage, Reason::new(code))
    }
}

impl<I, R, J> Pipeline<I, R, J>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    pub(super) async fn add_instruction(&self, draft: &mut Draft) -> Result<()> {
        let instruction = self.induce.induce(&draft.source).await?;
        let lineage = draft.source.lineage();
        self.tell_done(lineage, Stage::Induce, &[instruction.origin()]);
        draft.instruction = Some(instruction.with_lineage(lineage.clone()));
        Ok(())
    }

    /// Asks both generators at once. The response of one is kept if the other one fails.
    pub(super) async fn add_responses(&self, draft: &mut Draft) -> Result<()> {
        let instruction = draft.instruction()?;
        let (response, counterpart) = match &self.rest.counterpart {
            None => (self.respond.respond(instruction).await, None),
            Some(other) => {
                let response = self.respond.respond(instruction);
                let (response, counterpart) = join(response, other.respond(instruction)).await;
                (response, Some(counterpart))
            }
        };
        let lineage = draft.source.lineage();
        let mut failure = None;
        [draft.response, draft.counterpart] =
            [Some(response), counterpart].map(|made| match made? {
                Ok(response) => Some(response.with_lineage(lineage.clone())),
                Err(error) => {
                    failure.get_or_insert(error);
                    None
                }
            });
        if let Some(error) = failure {
            return Err(error);
        }
        let made = [&draft.response, &draft.counterpart];
        let origins = made.map(|response| response.as_ref().and_then(Response::origin));
        self.tell_done(lineage, Stage::Respond, &origins);
        Ok(())
    }

    /// Asks the guard about both sides at once, if there is one.
    pub(super) async fn add_assessments(&self, draft: &mut Draft) -> Result<()> {
        let Some(guard) = &self.rest.guard else {
            return Ok(());
        };
        let (instruction, other) = (draft.instruction()?, other_side(draft));
        let expert = guard.assess(instruction, draft.response()?);
        let (expert, other) = try_join(expert, guard.assess(instruction, &other)).await?;
        draft.assessments = Some(Box::new(Assessments { expert, other }));
        Ok(())
    }

    /// Ends a draft whose sides were not found what they should be, where `chosen` is to be the better one.
    pub(super) fn pass_gate(&self, draft: &Draft, chosen: Side) -> Result<(), End> {
        let assessments = draft.assessments.as_deref();
        let reason = assessments.and_then(|both| self.rest.gate.refuses(both, chosen));
        reason.map_or(Ok(()), |reason| Err(End::Dropped(Stage::Judge, reason)))
    }

    /// Asks the judge in an order that it cannot know: it is drawn from the lineage.
    pub(super) async fn add_judgement(&self, draft: &mut Draft) -> Result<()> {
        let lineage = draft.source.lineage();
        let expert = draft.response()?;
        let other = other_side(draft);
        let expert_first = lineage.seed("order") & 1 == 0;
        let (first, second) = if expert_first {
            (expert, &*other)
        } else {
            (&*other, expert)
        };
        let instruction = draft.instruction()?;
        let judgement = self.judge.judge(instruction, first, second).await?;
        // What the guard has read belongs to the stage too.
        let assessments = draft.assessments.as_deref();
        let of_guard = assessments.map(|both| [&both.expert, &both.other]);
        let [expert, other] =
            of_guard.map_or([None, None], |both| both.map(|one| one.origin.as_deref()));
        self.tell_done(lineage, Stage::Judge, &[judgement.origin(), expert, other]);
        draft.judged = Some((judgement, expert_first));
        Ok(())
    }

    /// Tells the observer that a stage is done, and what it has read and written.
    fn tell_done(&self, lineage: &Lineage, stage: Stage, origins: &[Option<&Origin>]) {
        let mut usage = Usage::default();
        for origin in origins.iter().flatten() {
            usage += origin.usage;
        }
        self.tell(&Event::StageDone {
            lineage,
            stage,
            usage,
        });
    }
}

/// What the expert's response is compared with.
fn other_side(draft: &Draft) -> Cow<'_, Response> {
    match &draft.counterpart {
        Some(counterpart) => Cow::Borrowed(counterpart),
        None => {
            let source = &draft.source;
            let response = Response::new(source.text()).with_lineage(source.lineage().clone());
            Cow::Owned(response)
        }
    }
}

/// Drops a blank text, then asks the filters one after the other; the first that drops or fails ends it.
///
/// The item stays where it is: what goes into a future and comes out again is copied each time.
pub(super) async fn assess<T: Subject + Sync>(
    stage: Stage,
    filters: &[Box<dyn Filter<T>>],
    item: &T,
) -> Result<(), End> {
    if item.subject().trim().is_empty() {
        return Err(End::because(stage, "empty"));
    }
    for filter in filters {
        match filter.assess(item).await {
            Ok(Decision::Keep) => {}
            Ok(Decision::Drop(reason)) => return Err(End::Dropped(stage, reason)),
            Err(error) => return Err(End::Failed(stage, error)),
        }
    }
    Ok(())
}

pub(super) fn dropped(stage: Stage, reason: Reason, draft: Box<Draft>) -> Outcome {
    tracing::debug!(%stage, code = %reason.code, "dropped");
    Outcome::Dropped {
        stage,
        reason,
        draft,
    }
}

pub(super) fn failed(stage: Stage, error: Error, draft: Box<Draft>) -> Outcome {
    tracing::debug!(%stage, kind = error.kind(), "failed");
    Outcome::Failed {
        stage,
        error,
        draft,
    }
}
