//! Scoring models: the scripted one keeps all laws, broken ones are caught.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use safer_instruct::{
    Prompt, Result, ScoreRequest, Scores, ScoringModel,
    testkit::{self, Latency, SCORING_LAWS, ScriptedModel},
};

use crate::{Mutant, every_law_can_fail};

testkit::scoring_laws!(scripted, ScriptedModel::new(""));
testkit::scoring_laws!(behind_latency, Latency::new(ScriptedModel::new(""), 5));

struct Bent<F>(F);

#[async_trait]
impl<F: Fn(&ScoreRequest, &mut Scores) + Send + Sync> ScoringModel for Bent<F> {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        let mut scores = ScriptedModel::new("").score(request).await?;
        (self.0)(request, &mut scores);
        Ok(scores)
    }
}

fn bent(
    bend: impl Fn(&ScoreRequest, &mut Scores) + Send + Sync + 'static,
) -> Box<dyn ScoringModel> {
    Box::new(Bent(bend))
}

/// Reads one token more for each other request that is open.
#[derive(Default)]
struct Crowded(AtomicU64);

#[async_trait]
impl ScoringModel for Crowded {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        let others = self.0.fetch_add(1, SeqCst);
        crate::yield_once().await;
        self.0.fetch_sub(1, SeqCst);
        let mut scores = ScriptedModel::new("").score(request).await?;
        scores.usage.prompt_tokens += others;
        Ok(scores)
    }
}

#[test]
fn every_law_of_a_scoring_model_can_fail() {
    every_law_can_fail(
        SCORING_LAWS,
        &[
            Mutant::new(
                "a second copy of the last score",
                || {
                    bent(|request, scores| {
                        if request.continuations.len() == 2 {
                            scores
                                .continuations
                                .extend(scores.continuations.last().copied());
                        }
                    })
                },
                &["one_score_each"],
            ),
            Mutant::new(
                "a score that is dropped",
                || {
                    bent(|request, scores| {
                        if request.continuations.len() > 1 {
                            scores.continuations.pop();
                        }
                    })
                },
                &["one_score_each", "independence"],
            ),
            Mutant::new(
                "scores that depend on their place",
                || {
                    bent(|_, scores| {
                        for (place, score) in scores.continuations.iter_mut().enumerate() {
                            score.logprob -= place as f64;
                        }
                    })
                },
                &["independence"],
            ),
            Mutant::new(
                "nats above 0",
                || {
                    bent(|_, scores| {
                        for score in &mut scores.continuations {
                            score.logprob = 0.0 - score.logprob;
                        }
                    })
                },
                &["logprobs"],
            ),
            Mutant::new(
                "an end-of-text token after every continuation",
                || {
                    bent(|_, scores| {
                        for score in &mut scores.continuations {
                            score.tokens += 1;
                        }
                    })
                },
                &["empty"],
            ),
            Mutant::new(
                "a memory of the last request",
                || {
                    let last = Mutex::new(None);
                    bent(move |request, scores| {
                        let mut last = last.lock().unwrap();
                        if last.as_ref() == Some(request) {
                            scores.usage.prompt_tokens += 1;
                        }
                        *last = Some(request.clone());
                    })
                },
                &["determinism"],
            ),
            Mutant::new(
                "usage that depends on the batch",
                || Box::new(Crowded::default()),
                &["alone_is_beside_others"],
            ),
            Mutant::new(
                "a panic on NUL",
                || {
                    bent(|request, _| {
                        let raw =
                            matches!(&request.prompt, Prompt::Raw(text) if text.contains('\0'));
                        assert!(!raw);
                    })
                },
                &["total"],
            ),
        ],
    );
}
