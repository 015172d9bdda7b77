//! The stages, judges, filters and decorators of the crate keep the laws that it sets for others.

use std::{future::pending, sync::Arc, time::Duration};

use safer_instruct::{
    Decorate, Draft, Judgement, PreferenceJudge, Response, RetryPolicy, SourceText,
    filters::{
        Finished, Length, ModelQuality, NotCanned, NotEmpty, NotQuoting, NotRepetitive,
        SameLanguage,
    },
    judge_fn,
    judges::{LikelihoodJudge, PairwiseJudge, SwapOrder},
    stages::{BestOf, ChatInduction, ExpertResponse, ReversedInduction},
    testkit::{
        Latency, ScriptedModel, chat_laws, filter_tests, induction_laws, judge_laws, response_laws,
        scoring_laws,
    },
};

fn model() -> ScriptedModel {
    ScriptedModel::new("How often should I brush my teeth?")
}

/// A judge that always finds the first place better.
fn partial() -> PairwiseJudge<ScriptedModel> {
    PairwiseJudge::new(ScriptedModel::new("Verdict: A"))
}

fn by_length() -> impl PreferenceJudge + 'static {
    judge_fn(|_, first: Response, second: Response| async move {
        Ok(match first.text().len().cmp(&second.text().len()) {
            std::cmp::Ordering::Less => Judgement::first(),
            std::cmp::Ordering::Greater => Judgement::second(),
            std::cmp::Ordering::Equal => Judgement::tie(),
        })
    })
}

fn policy() -> RetryPolicy {
    RetryPolicy::default()
}

const LIMIT: Duration = Duration::from_secs(60);

judge_laws!(pairwise_in_both_orders, SwapOrder::new(partial()));
judge_laws!(likelihood, LikelihoodJudge::new(model()));
judge_laws!(
    slow_likelihood,
    LikelihoodJudge::new(Latency::new(model(), 3))
);
judge_laws!(
    boxed_judge,
    Box::new(by_length()) as Box<dyn PreferenceJudge>
);
judge_laws!(
    shared_judge,
    Arc::new(by_length()) as Arc<dyn PreferenceJudge>
);
judge_laws!(
    decorated_judge,
    by_length()
        .with_retry(policy(), |_| pending::<()>())
        .with_timeout(LIMIT, |_| pending::<()>())
        .with_concurrency_limit(2)
);

chat_laws!(
    chat_with_retry,
    model().with_retry(policy(), |_| pending::<()>())
);
chat_laws!(
    chat_with_timeout,
    model().with_timeout(LIMIT, |_| pending::<()>())
);
chat_laws!(
    chat_with_limit,
    Latency::new(model(), 1).with_concurrency_limit(2)
);
chat_laws!(chat_with_cache, Latency::new(model(), 1).with_cache(4));

scoring_laws!(
    scoring_with_retry,
    model().with_retry(policy(), |_| pending::<()>())
);
scoring_laws!(
    scoring_with_timeout,
    model().with_timeout(LIMIT, |_| pending::<()>())
);
scoring_laws!(
    scoring_with_limit,
    Latency::new(model(), 1).with_concurrency_limit(2)
);
scoring_laws!(scoring_with_cache, Latency::new(model(), 1).with_cache(4));

induction_laws!(reversed, ReversedInduction::new(model()));
induction_laws!(chat, ChatInduction::new(Latency::new(model(), 5)));
induction_laws!(
    best_of,
    BestOf::new(ReversedInduction::new(model()), Latency::new(model(), 2), 4)
);
response_laws!(expert, ExpertResponse::new(Latency::new(model(), 6)));

filter_tests!(not_empty, SourceText, NotEmpty);
filter_tests!(length, SourceText, Length::chars().with_min(3).with_max(40));
filter_tests!(not_repetitive, SourceText, NotRepetitive::new());
filter_tests!(not_canned, Draft, NotCanned::new());
filter_tests!(finished, Draft, Finished);
filter_tests!(same_language, Draft, SameLanguage);
filter_tests!(not_quoting, Draft, NotQuoting::new());
filter_tests!(model_quality, Draft, ModelQuality::new(model()));
