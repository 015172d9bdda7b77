//! The pipeline of the example: which stages, judge and filters.

use std::sync::Arc;

use safer_instruct::{
    ChatModel, DynPipeline, InstructionGenerator, Pipeline, PreferenceJudge, Sampling,
    ScoringModel,
    filters::{
        Distinct, Finished, Length, NotCanned, NotEmpty, NotQuoting, NotRepetitive, SameLanguage,
    },
    judges::{LikelihoodJudge, PairwiseJudge},
    stages::{ChatInduction, ExpertResponse, ReversedInduction},
};

use crate::options::{Form, Judge, Settings};

/// All by one model. A real run may take a cheaper one for the induction and a stronger one for the judgement.
pub(crate) fn pipeline<M>(model: &Arc<M>, settings: &Settings) -> DynPipeline
where
    M: ChatModel + ScoringModel + 'static,
{
    let sampling = Sampling {
        temperature: settings.temperature,
        ..Sampling::default()
    };
    let model = || Arc::clone(model);
    let induce: Box<dyn InstructionGenerator> = match settings.form {
        Form::Chat => Box::new(ChatInduction::new(model()).with_sampling(sampling.clone())),
        Form::Reversed => Box::new(ReversedInduction::new(model()).with_sampling(sampling.clone())),
    };
    let respond = ExpertResponse::new(model())
        .with_sampling(sampling)
        .with_max_tokens(settings.max_tokens);
    let judge: Box<dyn PreferenceJudge> = match settings.judge {
        Judge::Pairwise => Box::new(PairwiseJudge::new(model()).both_orders()),
        Judge::Likelihood => {
            Box::new(LikelihoodJudge::new(model()).with_tie_margin(settings.tie_margin))
        }
    };
    let pipeline = Pipeline::new(induce, respond, judge)
        .boxed()
        .with_seed(settings.seed)
        .with_ordered_source_filter(Distinct::new)
        .with_source_filter(Length::chars().with_min(8).with_max(8_000))
        .with_instruction_filter(NotEmpty)
        .with_instruction_filter(Length::chars().with_min(4).with_max(400))
        .with_instruction_filter(SameLanguage)
        .with_instruction_filter(NotQuoting::new())
        .with_instruction_filter(NotRepetitive::new())
        .with_response_filter(NotCanned::new())
        .with_response_filter(NotRepetitive::new())
        .with_response_filter(SameLanguage)
        .with_ordered_pair_filter(Distinct::new);
    if settings.keep_truncated {
        pipeline
    } else {
        pipeline.with_response_filter(Finished)
    }
}
