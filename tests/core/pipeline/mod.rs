//! The pipeline: its laws under shuffled schedules, its policies, its filters.

mod events;
mod filters;
mod gate;
mod laws;
mod policy;
mod written;

use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    Instruction, InstructionGenerator, Judgement, Outcome, Pipeline, PreferenceJudge, Response,
    ResponseGenerator, SourceText, induce_fn, judge_fn, respond_fn,
};

const EXPERT: &str = "Keep at it. The first weeks are the hardest.";

fn text(id: &str) -> SourceText {
    SourceText::new(id, format!("You will never learn it, {id}."))
}

fn induce() -> impl InstructionGenerator + 'static {
    induce_fn(|source: SourceText| async move {
        Ok(Instruction::new(format!("What about {}?", source.id())))
    })
}

fn respond() -> impl ResponseGenerator + 'static {
    respond_fn(|_| async { Ok(Response::new(EXPERT)) })
}

/// Prefers the response that says `part`; if both or none do, it is a tie.
fn prefers(part: &'static str) -> impl PreferenceJudge + 'static {
    judge_fn(move |_, first: Response, second: Response| async move {
        Ok(
            match (first.text().contains(part), second.text().contains(part)) {
                (true, false) => Judgement::first(),
                (false, true) => Judgement::second(),
                _ => Judgement::tie(),
            },
        )
    })
}

fn run<I, R, J>(pipeline: &Pipeline<I, R, J>, texts: Vec<SourceText>) -> Vec<Outcome>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    block_on(pipeline.run(stream::iter(texts)).collect())
}

fn one<I, R, J>(pipeline: &Pipeline<I, R, J>, text: SourceText) -> Outcome
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    let mut outcomes = run(pipeline, vec![text]);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// `kept`, or stage and reason, or stage and kind of error.
fn fate(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Kept(_) => "kept".to_owned(),
        Outcome::Dropped { stage, reason, .. } => format!("dropped at {stage}: {reason}"),
        Outcome::Failed { stage, error, .. } => format!("failed at {stage}: {}", error.kind()),
    }
}
