//! Gradients and logits of the real model beside those of torch and PEFT, from golden files.

use serde_json::Value;

use super::{tests::branches, *};
use crate::hub::{Fetcher, ModelCache, ModelSource};

#[path = "../../../../tests/golden/training/adapter.rs"]
mod golden;

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The default model with the adapter of the golden files.
fn load() -> (Trainable, Vec<f32>) {
    let fetcher = Fetcher::new(ModelCache::default_dir().unwrap());
    let model = fetcher.fetch(&ModelSource::smollm2_135m(), |_| {}).unwrap();
    let branches = Branches {
        rank: 4,
        ..branches(&[0, 1, 2, 3, 4, 5, 6], 0.0)
    };
    let folder = tempfile::tempdir().unwrap();
    golden::write(folder.path(), true);
    let begin = Begin::read(&model.path, folder.path()).unwrap();
    let model = Trainable::load(&model.path, &branches, 256, None, &mut |_, _| {}).unwrap();
    let parameters = model.parameters(&begin).unwrap();
    (model, parameters)
}

#[test]
fn gradients_are_those_of_torch() {
    let golden = read(include_str!(
        "../../../../tests/golden/training/gradient.json"
    ));
    let (model, parameters) = load();
    let examples: Vec<(Vec<u32>, usize)> = golden["examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|example| {
            let completion = ids(&example["completion"]);
            (
                [ids(&example["prompt"]), completion.clone()].concat(),
                completion.len(),
            )
        })
        .collect();
    let sequences: Vec<_> = examples
        .iter()
        .map(|(tokens, scored)| Sequence {
            tokens,
            scored: *scored,
        })
        .collect();
    let count: usize = examples.iter().map(|example| example.1).sum();
    let mut gradient = vec![0.0; parameters.len()];
    let logprobs = model
        .gradient(&sequences, &parameters, None, &mut gradient, |logprobs| {
            vec![-1.0 / count as f64; logprobs.len()]
        })
        .unwrap();
    let loss = -logprobs.iter().sum::<f64>() / count as f64;
    assert!(
        (loss / number(&golden["loss"]) - 1.0).abs() < 1e-4,
        "{loss}"
    );

    let mut seen = 0;
    let folder = tempfile::tempdir().unwrap();
    // Through the writer, which brings rows to the order of PEFT.
    model
        .write(
            &gradient,
            folder.path(),
            (8.0, 0.0, false),
            ("base", Numbers::F32),
        )
        .unwrap();
    let file = std::fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    for (name, right) in golden["gradients"].as_object().unwrap() {
        let view = tensors.tensor(name).unwrap();
        let (values, _) = view.data().as_chunks::<4>();
        let values: Vec<f64> = values
            .iter()
            .map(|x| f64::from(f32::from_le_bytes(*x)))
            .collect();
        let length = values.iter().map(|x| x * x).sum::<f64>().sqrt();
        let right: Vec<f64> = right.as_array().unwrap().iter().map(number).collect();
        assert!(
            (length / right[0] - 1.0).abs() < 1e-3,
            "{name}: {length} {}",
            right[0]
        );
        let places = [0, values.len() / 2, values.len() - 1];
        for (place, right) in places.into_iter().zip(&right[1..]) {
            // Beside the length: single entries may be next to nothing.
            let off = (values[place] - right).abs();
            let typical = length / (values.len() as f64).sqrt();
            assert!(
                off < 1e-3 * right.abs() + 2e-3 * typical,
                "{name} at {place}: {} {right}",
                values[place]
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 420);
}

#[test]
fn an_adapter_of_peft_gives_the_logits_that_peft_gives() {
    let golden = read(include_str!(
        "../../../../tests/golden/training/logits.json"
    ));
    let (model, parameters) = load();
    let tokens = ids(&golden["ids"]);
    let sequence = [Sequence {
        tokens: &tokens,
        scored: tokens.len() - 1,
    }];
    for (key, parameters) in [
        ("positions", parameters.clone()),
        ("without", vec![0.0; parameters.len()]),
    ] {
        let ours = model.logprobs(&sequence, &parameters).unwrap();
        let mut tape = Tape::new(model.input(&sequence, &parameters, None), false);
        let rows = model.weights.forward(&mut tape).unwrap().unwrap();
        let mut logits = vec![0.0; ours.len() * 49_152];
        model.weights.head.plain(&rows.data, &mut logits).unwrap();
        let positions = golden[key].as_array().unwrap();
        assert_eq!(positions.len(), ours.len());
        for ((position, ours), logits) in positions.iter().zip(&ours).zip(logits.chunks(49_152)) {
            let right = number(&position["log_probability"]);
            assert!(
                (ours - right).abs() < 1e-3 * right.abs(),
                "{key}: {ours} {right}"
            );
            let top = ids(&position["ids"])
                .into_iter()
                .zip(position["logits"].as_array().unwrap());
            for (id, right) in top {
                let (ours, right) = (f64::from(logits[id as usize]), number(right));
                assert!(
                    (ours - right).abs() < 1e-3 * right.abs(),
                    "{key}: {ours} {right}"
                );
            }
        }
    }
}
