//! Runs of training beside those of torch, PEFT and TRL, from golden files (`benches/peers/train_peers.py`).

#[path = "../golden/training/adapter.rs"]
mod golden;

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
};

use safer_instruct::train::{
    Dpo, Example, Ipo, Objective, Policy, Schedule, Sft, Step, Trainer, TrainingEvent,
    TrainingReport,
};
use serde_json::Value;

use crate::candle_support::model_path;

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

/// Relative, within a thousandth.
fn close(what: &str, ours: f64, right: f64) {
    let off = (ours / right - 1.0).abs();
    assert!(off < 1e-3, "{what}: {ours} is not {right}");
}

fn policy() -> Policy {
    let folder = tempfile::tempdir().unwrap();
    golden::write(folder.path(), false);
    Policy::builder(model_path())
        .with_adapter(folder.path())
        .with_context(256)
        .load()
        .unwrap()
}

/// Runs with settings and gives every step.
fn run<O: Objective>(
    objective: O,
    tuning: &Value,
    (batch, examples, held_out): (usize, &[Example], &[Example]),
    folder: &Path,
) -> (Vec<Step>, TrainingReport) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&steps);
    let report = Trainer::new(objective)
        .with_learning_rate(number(&tuning["peak"]))
        .with_schedule(Schedule::Cosine)
        .with_warm_up(tuning["warm_up"].as_u64().unwrap() as usize)
        .with_steps(tuning["steps"].as_u64().unwrap() as usize)
        .with_max_gradient_norm(number(&tuning["max_gradient_norm"]))
        .with_batch(batch)
        .with_shuffle(false)
        .with_evaluation(0)
        .with_observer(move |event| {
            if let TrainingEvent::Step(step) = event {
                heard.lock().unwrap().push(*step);
            }
            ControlFlow::Continue(())
        })
        .run(&policy(), examples, held_out, folder)
        .unwrap();
    let steps = steps.lock().unwrap().clone();
    (steps, report)
}

#[test]
fn supervised_steps_are_those_of_torch_and_peft() {
    let golden = read(include_str!("../golden/training/sft.json"));
    let examples = |key: &str| -> Vec<Example> {
        let examples = golden[key].as_array().unwrap().iter();
        let make = |e: &Value| Example::completion(&ids(&e["prompt"]), &ids(&e["completion"]));
        examples.map(make).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let (train, held_out) = (examples("examples"), examples("held_out"));
    let (steps, report) = run(
        Sft,
        &golden["tuning"],
        (4, &train, &held_out),
        folder.path(),
    );
    let right = golden["steps"].as_array().unwrap();
    assert_eq!(steps.len(), right.len());
    for (step, right) in steps.iter().zip(right) {
        close("loss", step.loss, number(&right["loss"]));
        close(
            "gradient norm",
            step.gradient_norm,
            number(&right["gradient_norm"]),
        );
        assert!((step.learning_rate - number(&right["learning_rate"])).abs() < 1e-12);
    }
    let held_out = &golden["held_out_loss"];
    close(
        "before",
        report.held_out_before.unwrap(),
        number(&held_out[0]),
    );
    close("after", report.held_out_best.unwrap(), number(&held_out[1]));

    let file = fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    for (name, right) in golden["tensors"].as_object().unwrap() {
        let view = tensors.tensor(name).unwrap();
        let (values, _) = view.data().as_chunks::<4>();
        let values = values.iter().map(|x| f64::from(f32::from_le_bytes(*x)));
        let squares: f64 = values.map(|x| x * x).sum();
        let right = number(&right["squares"]);
        assert!(
            (squares / right - 1.0).abs() < 0.01,
            "{name}: {squares} {right}"
        );
    }
}

#[test]
fn preference_steps_are_those_of_trl() {
    let golden = read(include_str!("../golden/training/preference.json"));
    let pairs: Vec<Example> = golden["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            let [prompt, chosen, rejected] =
                ["prompt", "chosen", "rejected"].map(|key| ids(&pair[key]));
            Example::preference(&prompt, &chosen, &rejected)
        })
        .collect();
    let objectives: [(&str, Box<dyn Objective>); 3] = [
        ("dpo", Box::new(Dpo::new())),
        (
            "dpo_smoothed",
            Box::new(Dpo::new().with_label_smoothing(0.1).unwrap()),
        ),
        ("ipo", Box::new(Ipo::new())),
    ];
    for (name, objective) in objectives {
        let folder = tempfile::tempdir().unwrap();
        let tuning = &golden[name]["tuning"];
        let (steps, _) = run(objective, tuning, (2, &pairs, &[]), folder.path());
        let right = golden[format!("{name}_steps")].as_array().unwrap();
        assert_eq!(steps.len(), right.len());
        for (step, right) in steps.iter().zip(right) {
            let what = |what: &str| format!("{name}, step {}: {what}", step.step);
            close(&what("loss"), step.loss, number(&right["loss"]));
            close(
                &what("gradient norm"),
                step.gradient_norm,
                number(&right["gradient_norm"]),
            );
            let (ours, right_margin) = (step.reward_margin.unwrap(), number(&right["margin"]));
            assert!(
                (ours - right_margin).abs() < 1e-3 * right_margin.abs() + 1e-4,
                "{}",
                what("margin")
            );
            // Of the first two all margins are 0 but for rounding.
            if step.step > 2 {
                assert_eq!(
                    step.reward_accuracy.unwrap(),
                    number(&right["accuracy"]),
                    "{}",
                    what("accuracy")
                );
            }
        }
    }
}
