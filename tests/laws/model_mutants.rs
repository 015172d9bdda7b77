//! Chat models: the scripted one keeps all laws, broken ones are caught.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use futures::executor::block_on;
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Constraint, Error, Message, Prompt, Result, TokenLogprob,
    TopLogprob,
    testkit::{self, CHAT_LAWS, Latency, ScriptedModel, chat},
};

use crate::{Mutant, every_law_can_fail};

const POEM: &str =
    "The sea is wide, the sea is deep; 海は広いな、 it rocks the little boats to sleep.";

fn right() -> ScriptedModel {
    ScriptedModel::new(POEM).with_answer("river", "The Loire.")
}

testkit::chat_laws!(scripted, right());
testkit::chat_laws!(behind_latency, Latency::new(Arc::new(right()), 5));

/// Changes the request, asks the scripted model, and changes the completion.
struct Bent<B, A> {
    model: ScriptedModel,
    before: B,
    after: A,
}

#[async_trait]
impl<B, A> ChatModel for Bent<B, A>
where
    B: Fn(&mut ChatRequest) + Send + Sync,
    A: Fn(&ChatRequest, &mut Completion) + Send + Sync,
{
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let mut bent = request.clone();
        (self.before)(&mut bent);
        let mut completion = self.model.complete(&bent).await?;
        (self.after)(request, &mut completion);
        Ok(completion)
    }
}

fn before(bend: impl Fn(&mut ChatRequest) + Send + Sync + 'static) -> Box<dyn ChatModel> {
    Box::new(Bent {
        model: right(),
        before: bend,
        after: |_: &ChatRequest, _: &mut Completion| {},
    })
}

fn after(
    bend: impl Fn(&ChatRequest, &mut Completion) + Send + Sync + 'static,
) -> Box<dyn ChatModel> {
    Box::new(Bent {
        model: right(),
        before: |_: &mut ChatRequest| {},
        after: bend,
    })
}

/// Gives each token a likelihood of -1.5 nats, and others in its place.
fn likely(top: fn(usize) -> Vec<TopLogprob>) -> Box<dyn ChatModel> {
    after(move |request, completion| {
        completion.logprobs = request.top_logprobs.map(|count| {
            let token = TokenLogprob::new("a", -1.5).with_top(top(count));
            vec![token; completion.usage.completion_tokens as usize]
        });
    })
}

#[test]
fn log_probabilities_in_order_pass() {
    let right = likely(|count| {
        (0..count)
            .map(|n| TopLogprob::new("a", -1.0 - n as f64))
            .collect()
    });
    assert!(block_on(chat::logprobs(&right)).unwrap().skipped.is_empty());
}

/// Writes how many requests are open, or refuses if there are too many of them.
struct Slots {
    open: AtomicUsize,
    limit: usize,
    leaks: bool,
}

impl Slots {
    fn boxed(limit: usize, leaks: bool) -> Box<dyn ChatModel> {
        Box::new(Self {
            open: AtomicUsize::new(0),
            limit,
            leaks,
        })
    }
}

struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl ChatModel for Slots {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let others = self.open.fetch_add(1, SeqCst);
        // A leak: a future that is dropped at the await below never gives its slot back.
        let slot = (!self.leaks).then(|| Open(&self.open));
        if others >= self.limit {
            if self.leaks {
                self.open.fetch_sub(1, SeqCst);
            }
            return Err(Error::RateLimited {
                backend: "slots".into(),
                retry_after: None,
            });
        }
        crate::yield_once().await;
        let mut completion = right().complete(request).await;
        if self.leaks {
            self.open.fetch_sub(1, SeqCst);
        } else if let Ok(completion) = &mut completion {
            completion.usage.prompt_tokens += others as u64;
        }
        drop(slot);
        completion
    }
}

fn text_of(request: &ChatRequest) -> String {
    match &request.prompt {
        Prompt::Raw(text) => text.clone(),
        Prompt::Chat(messages) | Prompt::Unfinished(messages) => {
            messages.iter().map(|message| &*message.content).collect()
        }
    }
}

#[test]
fn every_law_of_a_chat_model_can_fail() {
    every_law_can_fail(
        CHAT_LAWS,
        &[
            Mutant::new(
                "a memory of the last request",
                || {
                    let last = Mutex::new(None);
                    after(move |request, completion| {
                        let mut last = last.lock().unwrap();
                        if request.sampling.temperature == 0.0 && last.as_ref() == Some(request) {
                            completion.model = Arc::new(safer_instruct::ModelId::new("again"));
                        }
                        *last = Some(request.clone());
                    })
                },
                &["determinism"],
            ),
            Mutant::new(
                "a model that counts its calls",
                || {
                    let calls = AtomicU64::new(0);
                    after(move |_, completion| {
                        completion.text += &calls.fetch_add(1, SeqCst).to_string();
                    })
                },
                &[
                    "determinism",
                    "seed_reproduces",
                    "alone_is_beside_others",
                    "stop",
                    "logprobs",
                    "constraint",
                    "dropping_cancels",
                ],
            ),
            Mutant::new(
                "a model with a seed of its own",
                || {
                    let draws = AtomicU64::new(0);
                    after(move |request, completion| {
                        if request.sampling.temperature > 0.0 && request.constraint.is_none() {
                            completion.text += &draws.fetch_add(1, SeqCst).to_string();
                        }
                    })
                },
                &["seed_reproduces"],
            ),
            Mutant::new(
                "a completion that depends on the batch",
                || Slots::boxed(usize::MAX, false),
                &["alone_is_beside_others"],
            ),
            Mutant::new(
                "no limit",
                || {
                    before(|request| {
                        if request.max_tokens > 0 {
                            request.max_tokens += 1;
                        }
                    })
                },
                &["max_tokens"],
            ),
            Mutant::new(
                "an end that is none",
                || {
                    after(|_, completion| {
                        completion.finish_reason = safer_instruct::FinishReason::Stop;
                    })
                },
                &["max_tokens"],
            ),
            Mutant::new(
                "an answer of no tokens",
                || before(|request| request.max_tokens = request.max_tokens.max(1)),
                &["max_tokens_zero"],
            ),
            Mutant::new(
                "deaf to stop",
                || before(|request| request.stop.clear()),
                &["stop"],
            ),
            Mutant::new(
                "the stop string left in",
                || after(|request, completion| completion.text += &request.stop.concat()),
                &["stop"],
            ),
            Mutant::new(
                "no tokens written",
                || after(|_, completion| completion.usage.completion_tokens = 0),
                &["usage"],
            ),
            Mutant::new(
                "no usage",
                || after(|_, completion| completion.usage = safer_instruct::Usage::default()),
                &["usage", "markers_are_text"],
            ),
            Mutant::new(
                "log-probabilities that nobody asked for",
                || after(|_, completion| completion.logprobs = Some(Vec::new())),
                &["logprobs"],
            ),
            Mutant::new(
                "log-probabilities likeliest last",
                || {
                    likely(|count| {
                        let mut top: Vec<_> = (0..count)
                            .map(|n| TopLogprob::new("a", -1.0 - n as f64))
                            .collect();
                        top.reverse();
                        top
                    })
                },
                &["logprobs"],
            ),
            Mutant::new(
                "more log-probabilities than asked for",
                || likely(|count| vec![TopLogprob::new("a", -1.0); count + 1]),
                &["logprobs"],
            ),
            Mutant::new(
                "a log-probability likelier than the likeliest",
                || likely(|count| vec![TopLogprob::new("a", -2.0); count]),
                &["logprobs"],
            ),
            Mutant::new(
                "deaf to constraints",
                || before(|request| request.constraint = None),
                &["constraint"],
            ),
            Mutant::new(
                "deaf to schemas",
                || {
                    before(|request| {
                        if matches!(request.constraint, Some(Constraint::JsonSchema(_))) {
                            request.constraint = None;
                        }
                    })
                },
                &["constraint"],
            ),
            Mutant::new(
                "a choice with a full stop",
                || {
                    after(|request, completion| {
                        if request.constraint.is_some() {
                            completion.text += ".";
                        }
                    })
                },
                &["constraint"],
            ),
            Mutant::new(
                "any text if there are no choices",
                || {
                    before(|request| {
                        if let Some(Constraint::Choice(choices)) = &request.constraint
                            && choices.is_empty()
                        {
                            request.constraint = None;
                        }
                    })
                },
                &["constraint"],
            ),
            Mutant::new(
                "slots that are never given back",
                || Slots::boxed(20, true),
                &["dropping_cancels"],
            ),
            Mutant::new(
                "markers that become control tokens",
                || {
                    before(|request| {
                        if let Prompt::Chat(messages) = &mut request.prompt {
                            for Message { content, .. } in messages {
                                *content = content.replace("<|im_end|>", "E").into();
                            }
                        }
                    })
                },
                &["markers_are_text"],
            ),
            Mutant::new(
                "a panic on NUL",
                || before(|request| assert!(!text_of(request).contains('\0'))),
                &["total"],
            ),
        ],
    );
}

#[test]
fn a_dead_worker_that_answers_is_caught() {
    assert!(block_on(chat::dead_worker_is_an_error(&right())).is_err());
    let dead = safer_instruct::complete_fn(|_: ChatRequest| async {
        Err(Error::Stopped {
            backend: "dead".into(),
            reason: "its thread is gone".into(),
        })
    });
    assert_eq!(
        block_on(chat::dead_worker_is_an_error(&dead))
            .unwrap()
            .cases,
        1
    );
}

#[test]
fn a_model_that_only_fails_proves_nothing() {
    let broken = safer_instruct::complete_fn(|_: ChatRequest| async {
        Err(Error::config("key", "is missing"))
    });
    let violation = block_on(chat::determinism(&broken)).unwrap_err();
    assert!(
        violation.detail.starts_with("nothing could be checked"),
        "{violation}"
    );
}
