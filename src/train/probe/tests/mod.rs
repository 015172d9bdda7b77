//! Probes of states that are made up: what is planted in them is found, and what is not there is not.

mod fitting;
mod states;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::executor::block_on;
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    dataset::{Label, LabelRecord},
    error::{Error, Result},
    guards::{ProbeCard, ProbeData, ProbeWeights},
    model::{LayerStates, Message, StateModel, StateRequest, States},
    record::{ModelId, Usage},
};

const LAYERS: [usize; 2] = [2, 5];
const HIDDEN: usize = 32;
const MAX_TOKENS: usize = 32;

/// A number from -1 to 1 that follows from a text.
fn noise(what: &str, text: &str) -> f32 {
    let digest = Sha256::digest(format!("{what}: {text}"));
    let bytes = [digest[0], digest[1]];
    f32::from(u16::from_le_bytes(bytes)) / 32_767.5 - 1.0
}

/// Whether something is so of a text. No word of it says so.
fn so(what: &str, text: &str) -> bool {
    noise(what, text) > 0.0
}

/// The state of a layer, off which nothing can be read.
fn empty_state(layer: usize, text: &str) -> Vec<f32> {
    let values = 0..HIDDEN;
    values
        .map(|at| noise(&format!("{layer} {at}"), text))
        .collect()
}

/// The state of a layer, off which everything can be read.
fn planted_state(layer: usize, text: &str) -> Vec<f32> {
    let mut state = empty_state(layer, text);
    let sign = |what: &str| if so(what, text) { 2.0 } else { -2.0 };
    let planted = [
        sign("harm"),
        sign("refusal"),
        3.0 * noise("preference", text),
    ];
    for (value, planted) in state.iter_mut().zip(planted.iter().cycle()) {
        // Far from 0, as the states of real models are.
        *value += planted + 20.0;
    }
    state
}

type Answer = Box<dyn Fn(usize, &str) -> Result<Vec<f32>> + Send + Sync>;

/// A model whose states follow from the response alone, and what it was asked.
struct Fake {
    id: Arc<ModelId>,
    answer: Answer,
    asked: Mutex<Vec<StateRequest>>,
}

impl Fake {
    fn new() -> Self {
        Self::with(planted_state)
    }

    fn with(state: impl Fn(usize, &str) -> Vec<f32> + Send + Sync + 'static) -> Self {
        Self::answering(move |layer, text| Ok(state(layer, text)))
    }

    fn answering(answer: impl Fn(usize, &str) -> Result<Vec<f32>> + Send + Sync + 'static) -> Self {
        Self {
            id: ModelId::new("fake.gguf").with_hash("sha256:01").into(),
            answer: Box::new(answer),
            asked: Mutex::default(),
        }
    }

    fn named(self, id: ModelId) -> Self {
        Self {
            id: id.into(),
            ..self
        }
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn table(&self, folder: &Path) -> StateTable {
        StateTable::open(folder, &self.id, LAYERS, MAX_TOKENS).unwrap()
    }
}

#[async_trait]
impl StateModel for Fake {
    async fn states(&self, request: &StateRequest) -> Result<States> {
        self.asked.lock().unwrap().push(request.clone());
        let layers = request.layers.iter().map(|layer| {
            Ok(LayerStates {
                layer: *layer,
                mean: (self.answer)(*layer, &request.continuation)?,
                last: vec![1e3; HIDDEN],
            })
        });
        Ok(States {
            layers: layers.collect::<Result<_>>()?,
            tokens: 4,
            usage: Usage::default(),
            model: Arc::clone(&self.id),
        })
    }
}

fn of_source(number: usize) -> Option<String> {
    let names = ["first", "second", "third"];
    Some(names[number % names.len()].to_owned())
}

fn response(number: usize) -> LabelRecord {
    let text = format!("Answer {number}.");
    LabelRecord {
        prompt: format!("Question {number}?"),
        label: Label::Response {
            harmful: Some(so("harm", &text)),
            refusal: Some(so("refusal", &text)),
            text,
        },
        source: of_source(number),
        group: None,
    }
}

fn responses(count: usize) -> Vec<LabelRecord> {
    (0..count).map(response).collect()
}

/// The better response has the greater planted number.
fn pair(number: usize) -> LabelRecord {
    let [a, b] = ["this", "that"].map(|word| format!("Answer {number}: {word}."));
    let (chosen, rejected) = if noise("preference", &a) > noise("preference", &b) {
        (a, b)
    } else {
        (b, a)
    };
    LabelRecord {
        prompt: format!("Question {number}?"),
        label: Label::Pair { chosen, rejected },
        source: of_source(number),
        group: None,
    }
}

fn pairs(count: usize) -> Vec<LabelRecord> {
    (0..count).map(pair).collect()
}

/// Records that say of harm what is given, each with a prompt of its own.
fn labelled(harmful: impl IntoIterator<Item = bool>) -> Vec<LabelRecord> {
    let records = harmful.into_iter().enumerate();
    records
        .map(|(number, harmful)| LabelRecord {
            label: Label::Response {
                text: format!("Answer {number}."),
                harmful: Some(harmful),
                refusal: None,
            },
            ..response(number)
        })
        .collect()
}

/// Reads the states of records into a folder that is removed, and fits on them.
fn fit(trainer: &ProbeTrainer, model: &Fake, records: &[LabelRecord]) -> Result<FittedProbe> {
    let dir = tempfile::tempdir().unwrap();
    let mut table = model.table(dir.path());
    assert!(block_on(table.read(model, records, |_, _| true)).unwrap());
    trainer.fit(records, &table)
}

fn reason(error: Error) -> (String, String) {
    match error {
        Error::Config { field, reason } => (field, reason),
        other => panic!("{other:?}"),
    }
}

/// The bytes of the card and of the weights.
fn bytes(weights: &ProbeWeights) -> [Vec<u8>; 2] {
    let dir = tempfile::tempdir().unwrap();
    weights.write(dir.path()).unwrap();
    [ProbeWeights::CARD, ProbeWeights::WEIGHTS].map(|name| fs::read(dir.path().join(name)).unwrap())
}

/// The states of a text, as a probe gets them.
fn states_of(text: &str) -> States {
    let request = StateRequest::new(vec![Message::user("Well?")], text, LAYERS);
    block_on(Fake::new().states(&request)).unwrap()
}

/// The log-odds that a head gives a text.
fn log_odds(weights: &ProbeWeights, head: &str, text: &str) -> f64 {
    weights.log_odds(head, &states_of(text)).unwrap()
}
