//! Models that give their states: an honest one keeps all laws, broken ones are caught.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use safer_instruct::{
    Error, LayerStates, ModelId, Result, StateModel, StateRequest, States, Usage,
    guards::{HeadCard, Probe, ProbeCard, ProbeWeights},
    testkit::{self, STATE_LAWS},
};

use crate::{Mutant, every_law_can_fail};

/// A token is a character, and its state its number.
struct Honest;

fn states(request: &StateRequest) -> Result<States> {
    let read: Vec<f32> = request
        .continuation
        .chars()
        .take(request.max_tokens)
        .map(|char| u32::from(char) as f32)
        .collect();
    let Some(last) = read.last() else {
        return Err(Error::config("continuation", "there is nothing to read"));
    };
    if request.layers.iter().any(|layer| *layer != 1) {
        return Err(Error::config("layers", "there is layer 1 alone"));
    }
    let mean = read.iter().sum::<f32>() / read.len() as f32;
    let layers = request.layers.iter().map(|layer| LayerStates {
        layer: *layer,
        mean: vec![mean, 1.0],
        last: vec![*last, 1.0],
    });
    Ok(States {
        layers: layers.collect(),
        tokens: read.len(),
        usage: Usage {
            prompt_tokens: 3 + read.len() as u64,
            completion_tokens: 0,
        },
        model: Arc::new(ModelId::new("honest")),
    })
}

#[async_trait]
impl StateModel for Honest {
    async fn states(&self, request: &StateRequest) -> Result<States> {
        states(request)
    }
}

testkit::state_laws!(honest, Honest);

/// Reads the number of the last character.
fn probe() -> Probe<Honest> {
    let head = HeadCard {
        bias: -3.0,
        slope: 0.1,
        offset: 0.0,
    };
    let card = ProbeCard {
        format: ProbeCard::FORMAT,
        base: ModelId::new("honest"),
        layers: vec![1],
        hidden: 2,
        max_tokens: 64,
        heads: [("harm", head), ("preference", head)]
            .map(|(name, head)| (name.to_owned(), head))
            .into(),
        data: Vec::new(),
        seed: 0,
        measures: Vec::new(),
        not_for: Vec::new(),
    };
    let weights = vec![0.25, 0.0, 0.01, 1.0];
    let heads = ["harm", "preference"].map(|name| (name.to_owned(), weights.clone()));
    Probe::new(Honest, ProbeWeights::new(card, heads.into()).unwrap())
}

testkit::judge_laws!(probe_that_judges, probe());
testkit::guard_laws!(probe_that_guards, probe());

struct Bent<F>(F);

#[async_trait]
impl<F: Fn(&StateRequest) -> Result<States> + Send + Sync> StateModel for Bent<F> {
    async fn states(&self, request: &StateRequest) -> Result<States> {
        (self.0)(request)
    }
}

fn bent(
    bend: impl Fn(&StateRequest) -> Result<States> + Send + Sync + 'static,
) -> Box<dyn StateModel> {
    Box::new(Bent(bend))
}

/// Counts the requests that are open beside its own.
#[derive(Default)]
struct Crowded(AtomicU64);

#[async_trait]
impl StateModel for Crowded {
    async fn states(&self, request: &StateRequest) -> Result<States> {
        let others = self.0.fetch_add(1, SeqCst);
        crate::yield_once().await;
        self.0.fetch_sub(1, SeqCst);
        let mut states = states(request)?;
        states.usage.prompt_tokens += others;
        Ok(states)
    }
}

#[test]
fn every_law_of_states_can_fail() {
    every_law_can_fail(
        STATE_LAWS,
        &[
            Mutant::new(
                "a last state of another size",
                || {
                    bent(|request| {
                        let mut states = states(request)?;
                        states.layers.iter_mut().for_each(|one| one.last.push(0.0));
                        Ok(states)
                    })
                },
                &["shapes"],
            ),
            Mutant::new(
                "a mean that is no number",
                || {
                    bent(|request| {
                        let mut states = states(request)?;
                        states
                            .layers
                            .iter_mut()
                            .for_each(|one| one.mean = vec![f32::INFINITY; 2]);
                        Ok(states)
                    })
                },
                &["shapes"],
            ),
            Mutant::new(
                "states of nothing",
                || {
                    bent(|request| {
                        let mut request = request.clone();
                        if request.continuation.is_empty() {
                            request.continuation.push(' ');
                        }
                        states(&request)
                    })
                },
                &["refuses"],
            ),
            Mutant::new(
                "reads to the end",
                || {
                    bent(|request| {
                        let most = request.max_tokens.saturating_mul(100);
                        states(&request.clone().with_max_tokens(most))
                    })
                },
                &["reads_no_more"],
            ),
            Mutant::new(
                "another state each time",
                || {
                    let count = AtomicU64::new(0);
                    bent(move |request| {
                        let mut states = states(request)?;
                        let n = count.fetch_add(1, SeqCst) as f32;
                        states.layers.iter_mut().for_each(|one| one.mean[0] += n);
                        Ok(states)
                    })
                },
                &["reads_no_more", "determinism", "alone_is_beside_others"],
            ),
            Mutant::new(
                "a memory of the last request",
                || {
                    let last = Mutex::new(None);
                    bent(move |request| {
                        let mut states = states(request)?;
                        let mut last = last.lock().unwrap();
                        if last.as_ref() == Some(request) {
                            states.usage.prompt_tokens += 1;
                        }
                        *last = Some(request.clone());
                        Ok(states)
                    })
                },
                &["determinism"],
            ),
            Mutant::new(
                "reads more beside others",
                || Box::new(Crowded::default()),
                &["alone_is_beside_others"],
            ),
            Mutant::new(
                "panics on what is not whole",
                || {
                    bent(|request| {
                        assert!(!request.continuation.contains('\0'), "a NUL");
                        states(request)
                    })
                },
                &["total"],
            ),
        ],
    );
}
