//! The algorithm for one source text.

use futures::future::{OptionFuture, join};
use tracing::Instrument;

use super::{Event, Pipeline, Upset};
use crate::{
    error::{Error, Result},
    outcome::{Decision, Draft, Outcome, Reason, Stage},
    record::{
        Candidate, Induced, Judged, Lineage, Origin, PreferencePair, Provenance, Response, Side,
        SourceText, Usage, Verdict,
    },
    stage::{Filter, InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

impl<I, R, J> Pipeline<I, R, J>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    /// Works on one source text. The run seed of its lineage is set to the pipeline's; its draw stays.
    ///
    /// Errors of the stages become [`Outcome::Failed`]: nothing is lost without word.
    pub async fn process(&self, source: SourceText) -> Outcome {
        let lineage = source.lineage().clone().with_run_seed(self.rest.seed);
        let outcome = self.work_on(source.with_lineage(lineage)).await;
        self.tell(&Event::Finished { outcome: &outcome });
        outcome
    }

    /// [`process`](Self::process) without the closing event, for runs that may still change the outcome.
    pub(super) async fn work_on(&self, source: SourceText) -> Outcome {
        let lineage = source.lineage().clone();
        let span = tracing::debug_span!("process", id = lineage.source_id(), draw = lineage.draw());
        self.tell(&Event::Started { lineage: &lineage });
        match self.make_pair(source, &lineage).instrument(span).await {
            Ok(pair) => Outcome::Kept(Box::new(pair)),
            Err(outcome) => outcome,
        }
    }

    async fn make_pair(
        &self,
        source: SourceText,
        lineage: &Lineage,
    ) -> Result<PreferencePair, Outcome> {
        // 1. The source text.
        let source = sift(Stage::Source, &self.rest.source_filters, source).await?;

        // 2. The instruction that it could be an answer to.
        let instruction = match self.induce.induce(&source).await {
            Ok(instruction) => instruction.with_lineage(lineage.clone()),
            Err(error) => return Err(failed(Stage::Induce, error, source)),
        };
        self.done(lineage, Stage::Induce, instruction.origin());
        let induced = Induced {
            source,
            instruction,
        };
        let induced = sift(Stage::Induce, &self.rest.instruction_filters, induced).await?;

        // 3. The expert's response, and the counterpart's.
        let (response, counterpart) = join(
            self.respond.respond(&induced.instruction),
            OptionFuture::from(
                self.rest
                    .counterpart
                    .as_ref()
                    .map(|other| other.respond(&induced.instruction)),
            ),
        )
        .await;
        let (response, counterpart) = match (response, counterpart.transpose()) {
            (Ok(response), Ok(counterpart)) => (response, counterpart),
            (Err(error), _) | (_, Err(error)) => {
                return Err(failed(Stage::Respond, error, induced));
            }
        };
        self.done(lineage, Stage::Respond, response.origin());
        let Induced {
            source,
            instruction,
        } = induced;
        let candidate = Candidate {
            source,
            instruction,
            response: response.with_lineage(lineage.clone()),
            counterpart: counterpart.map(|other| other.with_lineage(lineage.clone())),
        };
        let candidate = sift(Stage::Respond, &self.rest.response_filters, candidate).await?;
        if candidate.other_text().trim().is_empty() {
            return Err(dropped(Stage::Respond, Reason::new("empty"), candidate));
        }
        if candidate.other_text() == candidate.response.text() {
            return Err(dropped(Stage::Judge, Reason::new("identical"), candidate));
        }

        // 4. The judgement, in an order that nobody can count on.
        let expert_first = lineage.seed("order") & 1 == 0;
        let source_response;
        let other = match &candidate.counterpart {
            Some(counterpart) => counterpart,
            None => {
                source_response =
                    Response::new(candidate.source.text()).with_lineage(lineage.clone());
                &source_response
            }
        };
        let (first, second) = if expert_first {
            (&candidate.response, other)
        } else {
            (other, &candidate.response)
        };
        let judgement = match self
            .judge
            .judge(&candidate.instruction, first, second)
            .await
        {
            Ok(judgement) => judgement,
            Err(error) => return Err(failed(Stage::Judge, error, candidate)),
        };
        self.done(lineage, Stage::Judge, judgement.origin());

        // 5. What follows from it.
        let expert_wins = match judgement.verdict() {
            Verdict::First => expert_first,
            Verdict::Second => !expert_first,
            Verdict::Tie => {
                return Err(dropped(
                    Stage::Judge,
                    Reason::new("tie"),
                    (candidate, judgement),
                ));
            }
        };
        if !expert_wins && self.rest.upset == Upset::Drop {
            return Err(dropped(
                Stage::Judge,
                Reason::new("upset"),
                (candidate, judgement),
            ));
        }
        let judged = Judged {
            verdict: judgement.verdict(),
            expert_first,
            margin: judgement.margin(),
            flipped: judgement.flipped(),
            origin: judgement.into_origin(),
        };
        let pair = assemble(candidate, judged, expert_wins);
        sift(Stage::Pair, &self.rest.pair_filters, pair).await
    }

    fn done(&self, lineage: &Lineage, stage: Stage, origin: Option<&Origin>) {
        let usage = origin.map_or_else(Usage::default, |origin| origin.usage);
        self.tell(&Event::StageDone {
            lineage,
            stage,
            usage,
        });
    }
}

/// Puts the pair together. The texts are moved, never copied.
fn assemble(candidate: Candidate, judgement: Judged, expert_wins: bool) -> PreferencePair {
    let Candidate {
        source,
        instruction,
        response,
        counterpart,
    } = candidate;
    let (source_text, category, lineage) = source.into_parts();
    let (prompt, induction) = instruction.into_parts();
    let (expert_text, expert_origin) = response.into_parts();
    let (other_text, other_side, counterpart) = match counterpart {
        Some(counterpart) => {
            let (text, origin) = counterpart.into_parts();
            (text, Side::Counterpart, origin)
        }
        None => (source_text, Side::Source, None),
    };
    let expert = (expert_text, Side::Expert);
    let other = (other_text, other_side);
    let ((chosen, chosen_from), (rejected, rejected_from)) = if expert_wins {
        (expert, other)
    } else {
        (other, expert)
    };
    let provenance = Provenance {
        lineage,
        category,
        chosen_from,
        rejected_from,
        induction,
        response: expert_origin,
        counterpart,
        judgement,
    };
    PreferencePair {
        prompt,
        chosen,
        rejected,
        provenance,
    }
}

/// Asks the filters one after the other; the first that drops or fails ends it. A blank text is dropped before them all.
async fn sift<T>(stage: Stage, filters: &[Box<dyn Filter<T>>], item: T) -> Result<T, Outcome>
where
    T: crate::record::Subject + Into<Draft> + Sync,
{
    if item.subject().trim().is_empty() {
        return Err(dropped(stage, Reason::new("empty"), item));
    }
    for filter in filters {
        match filter.assess(&item).await {
            Ok(Decision::Keep) => {}
            Ok(Decision::Drop(reason)) => return Err(dropped(stage, reason, item)),
            Err(error) => return Err(failed(stage, error, item)),
        }
    }
    Ok(item)
}

pub(super) fn dropped(stage: Stage, reason: Reason, item: impl Into<Draft>) -> Outcome {
    tracing::debug!(%stage, code = %reason.code, "dropped");
    Outcome::Dropped {
        stage,
        reason,
        draft: Box::new(item.into()),
    }
}

fn failed(stage: Stage, error: Error, item: impl Into<Draft>) -> Outcome {
    tracing::debug!(%stage, kind = error.kind(), "failed");
    Outcome::Failed {
        stage,
        error,
        draft: Box::new(item.into()),
    }
}
