//! Probes that were fitted on labels, at work as guards and judges.

use std::sync::Arc;

use futures::executor::block_on;
use safer_instruct::{
    Guard, Instruction, LayerStates, ModelId, PreferenceJudge, Response, Safety, StateModel,
    StateRequest, States, Usage, Verdict,
    dataset::{Label, LabelRecord},
    guards::Probe,
    state_fn,
    train::probe::{ProbeTrainer, StateTable},
};
use sha2::{Digest, Sha256};

const HIDDEN: usize = 24;

/// A number from -1 to 1 that follows from a text.
fn noise(text: &str, salt: usize) -> f32 {
    let digest = Sha256::digest(format!("{salt}: {text}"));
    let bytes = [digest[0], digest[1]];
    f32::from(u16::from_le_bytes(bytes)) / 32_767.5 - 1.0
}

fn so(text: &str, salt: usize) -> bool {
    noise(text, salt) > 0.0
}

fn base() -> ModelId {
    ModelId::new("fake.gguf").with_hash("sha256:01")
}

/// Off the even values harm can be read, off the odd ones a refusal or what is better.
fn model() -> impl StateModel + Clone {
    let id = Arc::new(base());
    Arc::new(state_fn(move |request: StateRequest| {
        let id = Arc::clone(&id);
        async move {
            let text = request.continuation.as_str();
            let planted = [0, 1]
                .map(|salt| 3.0 * noise(text, salt) + if so(text, salt) { 2.0 } else { -2.0 });
            let value = |at: usize| planted[at % 2] + noise(text, 100 + at);
            let layers = request.layers.iter().map(|layer| LayerStates {
                layer: *layer,
                mean: (0..HIDDEN).map(value).collect(),
                last: vec![1e3; HIDDEN],
            });
            Ok(States {
                layers: layers.collect(),
                tokens: 4,
                usage: Usage::default(),
                model: id,
            })
        }
    }))
}

fn record(number: usize, label: Label) -> LabelRecord {
    LabelRecord {
        prompt: format!("Question {number}?"),
        label,
        source: None,
        group: None,
    }
}

fn fitted(records: &[LabelRecord]) -> Probe<impl StateModel + use<>> {
    let dir = tempfile::tempdir().unwrap();
    let mut table = StateTable::open(dir.path(), &base(), [3], 32).unwrap();
    assert!(block_on(table.read(&model(), records, |_, _| true)).unwrap());
    let fitted = ProbeTrainer::new().fit(records, &table).unwrap();
    Probe::new(model(), fitted.weights)
}

#[test]
fn a_guard_says_of_new_texts_what_the_labels_said_of_others() {
    let records: Vec<LabelRecord> = (0..90)
        .map(|number| {
            let text = format!("Answer {number}.");
            let label = Label::Response {
                harmful: Some(so(&text, 0)),
                refusal: Some(so(&text, 1)),
                text,
            };
            record(number, label)
        })
        .collect();
    let probe = fitted(&records);
    for number in 0..60 {
        let text = format!("Reply {number}.");
        let (x, y) = (Instruction::new("Well?"), Response::new(text.as_str()));
        let found = block_on(Guard::assess(&probe, &x, &y)).unwrap();
        let safety = if so(&text, 0) {
            Safety::Unsafe
        } else {
            Safety::Safe
        };
        assert_eq!(found.safety, safety, "{text}");
        let p_refusal = found.p_refusal.unwrap();
        assert_eq!(p_refusal > 0.5, so(&text, 1), "{text}: {p_refusal}");
    }
}

#[test]
fn a_judge_prefers_as_the_pairs_did_and_turns_with_the_order() {
    let pair = |number: usize| {
        let mut texts = ["this", "that"].map(|word| format!("Answer {number}: {word}."));
        if noise(&texts[0], 1) < noise(&texts[1], 1) {
            texts.reverse();
        }
        texts
    };
    let records: Vec<LabelRecord> = (0..90)
        .map(|number| {
            let [chosen, rejected] = pair(number);
            record(number, Label::Pair { chosen, rejected })
        })
        .collect();
    let probe = fitted(&records);
    let mut right = 0;
    for number in 200..240 {
        let x = Instruction::new(format!("Question {number}?"));
        let [better, worse] = pair(number).map(Response::new);
        let judged = block_on(probe.judge(&x, &better, &worse)).unwrap();
        let turned = block_on(probe.judge(&x, &worse, &better)).unwrap();
        assert_eq!(judged.margin().unwrap(), -turned.margin().unwrap());
        assert_ne!(judged.verdict(), turned.verdict());
        right += usize::from(judged.verdict() == Verdict::First);
    }
    assert!(right >= 36, "{right} of 40");
}
