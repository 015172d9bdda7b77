//! The pipeline of the example: which stages, judge and filters.

use safer_instruct::{
    ChatModel, DynPipeline, InstructionGenerator, Pipeline, Sampling, ScoringModel,
    filters::{
        Distinct, Finished, Length, NotCanned, NotEmpty, NotQuoting, NotRepetitive, SameLanguage,
    },
    judges::LikelihoodJudge,
    stages::{BestOf, ChatInduction, ExpertResponse, ReversedInduction},
};

use crate::{
    options::{Form, Options},
    progress::Progress,
};

/// How many instructions `best-of` chooses from.
const CANDIDATES: u32 = 2;

/// Nats up to which the judgement is a tie. The default model's preferences are faint, so any counts; with a stronger model, take
/// [`LikelihoodJudge::DEFAULT_TIE_MARGIN`].
const TIE_MARGIN: f64 = 0.0;

/// What earlier parts of a resumed run have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) sources: Distinct,
    pub(crate) pairs: Distinct,
}

/// One model does everything here, with an adapter for the induction. A real run takes a stronger one for the response and the judgement.
pub(crate) fn pipeline<M>(
    inducer: M,
    model: M,
    options: &Options,
    memory: Memory,
    progress: Progress,
) -> DynPipeline
where
    M: ChatModel + ScoringModel + Clone + 'static,
{
    let Memory { sources, pairs } = memory;
    let respond = ExpertResponse::new(model.clone())
        .with_max_tokens(options.max_tokens)
        .with_sampling(Sampling {
            repetition_penalty: 1.1,
            ..Sampling::default()
        });
    let pipeline = Pipeline::new(
        induction(inducer, &model, options),
        respond,
        LikelihoodJudge::new(model).with_tie_margin(TIE_MARGIN),
    )
    .boxed()
    .with_seed(options.seed)
    .with_draws(options.draws)
    .with_concurrency(options.concurrency)
    .with_observer(progress)
    .with_source_filter(Length::chars().with_min(8).with_max(2_000))
    .with_ordered_source_filter(move || sources.clone())
    .with_instruction_filter(NotEmpty)
    .with_instruction_filter(Length::chars().with_min(4).with_max(400))
    .with_instruction_filter(SameLanguage)
    .with_instruction_filter(NotQuoting::new())
    .with_instruction_filter(NotRepetitive::new())
    .with_response_filter(NotCanned::new())
    .with_response_filter(NotRepetitive::new())
    .with_response_filter(SameLanguage)
    .with_ordered_pair_filter(move || pairs.clone());
    if options.finished {
        pipeline.with_response_filter(Finished)
    } else {
        pipeline
    }
}

fn induction<M>(inducer: M, model: &M, options: &Options) -> Box<dyn InstructionGenerator>
where
    M: ChatModel + ScoringModel + Clone + 'static,
{
    // Draws and candidates differ only if the model samples.
    let sampling = Sampling {
        temperature: 0.8,
        top_p: 0.95,
        ..Sampling::default()
    };
    let reversed = ReversedInduction::new(inducer.clone());
    let chat = ChatInduction::new(inducer);
    match options.form {
        Form::Reversed if options.draws > 1 => Box::new(reversed.with_sampling(sampling)),
        Form::Reversed => Box::new(reversed),
        Form::Chat if options.draws > 1 => Box::new(chat.with_sampling(sampling)),
        Form::Chat => Box::new(chat),
        Form::BestOf => Box::new(BestOf::new(
            reversed.with_sampling(sampling),
            model.clone(),
            CANDIDATES,
        )),
    }
}
