//! The algorithm for one source text.

use futures::future::join;
use tracing::Instrument;

use super::{Event, Pipeline, Upset};
use crate::{
    error::{Error, Result},
    outcome::{Decision, Draft, Outcome, Reason, Stage},
    record::{
        Candidate, Induced, Judged, Lineage, Origin, PreferencePair, Provenance, Response, Side,
        SourceText, Subject, Usage, Verdict,
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
            Ok(pair) => Outcome::Kept(pair),
            Err(outcome) => outcome,
        }
    }

    async fn make_pair(
        &self,
        source: SourceText,
        lineage: &Lineage,
    ) -> Result<Box<PreferencePair>, Outcome> {
        // 1. The source text.
        if let Err(refusal) = assess(&self.rest.source_filters, &source).await {
            return Err(refusal.of(Stage::Source, source));
        }

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
        if let Err(refusal) = assess(&self.rest.instruction_filters, &induced).await {
            return Err(refusal.of(Stage::Induce, induced));
        }

        // 3. The expert's response, and the counterpart's.
        let made = match &self.rest.counterpart {
            None => self
                .respond
                .respond(&induced.instruction)
                .await
                .map(|response| (response, None)),
            Some(other) => {
                let response = self.respond.respond(&induced.instruction);
                let (response, counterpart) =
                    join(response, other.respond(&induced.instruction)).await;
                response.and_then(|response| Ok((response, Some(counterpart?))))
            }
        };
        let (response, counterpart) = match made {
            Ok(made) => made,
            Err(error) => return Err(failed(Stage::Respond, error, induced)),
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
        if let Err(refusal) = assess(&self.rest.response_filters, &candidate).await {
            return Err(refusal.of(Stage::Respond, candidate));
        }
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
        let pair = Box::new(assemble(candidate, judged, expert_wins));
        match assess(&self.rest.pair_filters, &*pair).await {
            Ok(()) => Ok(pair),
            Err(refusal) => Err(refusal.of(Stage::Pair, *pair)),
        }
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

/// Why a filter did not let an item through.
enum Refusal {
    Drop(Reason),
    Fail(Error),
}

impl Refusal {
    fn of(self, stage: Stage, item: impl Into<Draft>) -> Outcome {
        match self {
            Self::Drop(reason) => dropped(stage, reason, item),
            Self::Fail(error) => failed(stage, error, item),
        }
    }
}

/// Asks the filters one after the other; the first that drops or fails ends it. A blank text is dropped before them all.
///
/// It looks at the item where it lies: what goes into a future and comes out again is copied each time.
async fn assess<T: Subject + Sync>(
    filters: &[Box<dyn Filter<T>>],
    item: &T,
) -> Result<(), Refusal> {
    if item.subject().trim().is_empty() {
        return Err(Refusal::Drop(Reason::new("empty")));
    }
    for filter in filters {
        match filter.assess(item).await {
            Ok(Decision::Keep) => {}
            Ok(Decision::Drop(reason)) => return Err(Refusal::Drop(reason)),
            Err(error) => return Err(Refusal::Fail(error)),
        }
    }
    Ok(())
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
