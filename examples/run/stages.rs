//! The pipeline of the example: which stages, judge and filters.

use std::sync::Arc;

use safer_instruct::{
    ChatModel, DynPipeline, Pipeline, Sampling,
    filters::{
        Distinct, Finished, Length, NotCanned, NotEmpty, NotQuoting, NotRepetitive, SameLanguage,
    },
    judges::PairwiseJudge,
    stages::{ChatInduction, ExpertResponse},
};

use crate::options::Settings;

/// All by one model, and by request: a served model seldom was tuned in reverse, and many give no scores.
pub(crate) fn pipeline(model: &Arc<dyn ChatModel>, settings: &Settings) -> DynPipeline {
    let sampling = Sampling {
        temperature: settings.temperature,
        ..Sampling::default()
    };
    Pipeline::new(
        ChatInduction::new(Arc::clone(model)).with_sampling(sampling.clone()),
        ExpertResponse::new(Arc::clone(model))
            .with_sampling(sampling)
            .with_max_tokens(settings.max_tokens),
        PairwiseJudge::new(Arc::clone(model)).both_orders(),
    )
    .with_seed(settings.seed)
    .with_ordered_source_filter(Distinct::new)
    .with_source_filter(Length::chars().with_min(8).with_max(8_000))
    .with_instruction_filter(NotEmpty)
    .with_instruction_filter(Length::chars().with_min(4).with_max(400))
    .with_instruction_filter(SameLanguage)
    .with_instruction_filter(NotQuoting::new())
    .with_instruction_filter(NotRepetitive::new())
    .with_response_filter(Finished)
    .with_response_filter(NotCanned::new())
    .with_response_filter(NotRepetitive::new())
    .with_response_filter(SameLanguage)
    .with_ordered_pair_filter(Distinct::new)
    .boxed()
}
