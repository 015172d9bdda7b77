//! Probes: what they read off, whom they refuse, and their files.

use std::{collections::BTreeMap, fs, sync::Arc};

use futures::executor::block_on;
use safer_instruct::{
    Guard, Instruction, LayerStates, ModelId, PreferenceJudge, Response, Safety, StateModel,
    StateRequest, States, Usage, Verdict,
    guards::{HeadCard, Probe, ProbeCard, ProbeData, ProbeMeasure, ProbeWeights},
    state_fn,
};

fn base() -> ModelId {
    ModelId::new("tiny.gguf").with_hash("sha256:01")
}

/// Two layers of two values: the mean counts exclamation marks, the last state commas.
fn model(id: ModelId) -> impl StateModel + Clone {
    let id = Arc::new(id);
    Arc::new(state_fn(move |request: StateRequest| {
        let id = Arc::clone(&id);
        async move {
            let count = |of| request.continuation.matches(of).count() as f32;
            let layers = request.layers.iter().map(|layer| LayerStates {
                layer: *layer,
                mean: vec![count('!'), 0.5],
                last: vec![count(','), -0.5],
            });
            Ok(States {
                layers: layers.collect(),
                tokens: request.max_tokens,
                usage: Usage {
                    prompt_tokens: 7,
                    completion_tokens: 0,
                },
                model: id,
            })
        }
    }))
}

fn card() -> ProbeCard {
    let head = HeadCard {
        bias: -1.0,
        slope: 2.0,
        offset: 0.5,
    };
    ProbeCard {
        format: ProbeCard::FORMAT,
        base: base(),
        layers: vec![2, 5],
        hidden: 2,
        max_tokens: 16,
        heads: [("harm", head), ("preference", head)]
            .map(|(name, head)| (name.to_owned(), head))
            .into(),
        data: vec![ProbeData {
            name: "ours".to_owned(),
            rows: 8,
            licence: "MIT".to_owned(),
        }],
        seed: 1,
        measures: vec![ProbeMeasure {
            head: "harm".to_owned(),
            what: "area under the ROC curve, folds by prompt".to_owned(),
            value: 0.9,
            interval: [0.8, 0.95],
            baseline: "length".to_owned(),
            baseline_value: 0.6,
        }],
        not_for: vec!["Other languages.".to_owned()],
    }
}

fn heads() -> BTreeMap<String, Vec<f32>> {
    // Layer 2: mean, last; layer 5: mean, last.
    let harm = vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0];
    let preference = vec![-1.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0];
    [("harm", harm), ("preference", preference)]
        .map(|(name, weights)| (name.to_owned(), weights))
        .into()
}

fn weights() -> ProbeWeights {
    ProbeWeights::new(card(), heads()).unwrap()
}

#[test]
fn harm_is_read_off_the_states_and_calibrated() {
    let probe = Probe::new(model(base()), weights());
    let ask = |text: &str| {
        let response = Response::new(text);
        block_on(Guard::assess(&probe, &Instruction::new("Well?"), &response)).unwrap()
    };
    // log-odds: -1 + marks - 2 * 0.5; P = sigmoid(2 * log-odds + 0.5)
    for (text, log_odds) in [("No.", -2.0), ("No!!", 0.0), ("No!!!!", 2.0)] {
        let expected = 1.0 / (1.0 + (-(2.0 * log_odds + 0.5_f64)).exp());
        let found = ask(text);
        assert!((found.p_unsafe.unwrap() - expected).abs() < 1e-12, "{text}");
        let safety = if expected >= 0.5 {
            Safety::Unsafe
        } else {
            Safety::Safe
        };
        assert_eq!(found.safety, safety);
        assert_eq!(found.p_refusal, None);
        let origin = found.origin.unwrap();
        assert_eq!(
            (origin.method.as_str(), origin.usage.prompt_tokens),
            ("probe", 7)
        );
    }
}

#[test]
fn the_margin_is_the_difference_of_both_responses() {
    let probe = Probe::new(model(base()), weights()).with_tie_margin(0.5);
    let judge = |first: &str, second: &str| {
        let [first, second] = [first, second].map(Response::new);
        let judged = block_on(probe.judge(&Instruction::new("Well?"), &first, &second));
        let judged = judged.unwrap();
        (judged.verdict(), judged.margin())
    };
    assert_eq!(judge("No!", "No."), (Verdict::Second, Some(-1.0)));
    assert_eq!(judge("No.", "No!"), (Verdict::First, Some(1.0)));
    assert_eq!(judge("Well, no.", "No."), (Verdict::Tie, Some(0.25)));
    assert_eq!(judge("No.", "No."), (Verdict::Tie, None));
}

#[test]
fn another_model_or_head_is_refused() {
    let other = ModelId::new("other.gguf").with_hash("sha256:02");
    let tuned = base().with_adapter("sha256:03");
    for id in [other, tuned] {
        let probe = Probe::new(model(id), weights());
        let (x, y) = (Instruction::new("Well?"), Response::new("No."));
        let error = block_on(Guard::assess(&probe, &x, &y))
            .unwrap_err()
            .to_string();
        assert!(error.contains("tiny.gguf"), "{error}");
    }
    let (mut card, mut heads) = (card(), heads());
    card.heads.remove("harm");
    heads.remove("harm");
    let probe = Probe::new(model(base()), ProbeWeights::new(card, heads).unwrap());
    let (x, y) = (Instruction::new("Well?"), Response::new("No."));
    let error = block_on(Guard::assess(&probe, &x, &y))
        .unwrap_err()
        .to_string();
    assert!(error.contains("`harm`"), "{error}");
}

#[test]
fn a_probe_comes_back_from_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("judge");
    weights().write(&folder).unwrap();
    assert_eq!(ProbeWeights::read(&folder).unwrap(), weights());
    // Over itself.
    weights().write(&folder).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let error = ProbeWeights::read(folder).unwrap_err().to_string();
    assert!(error.contains("card.json"), "{error}");
    weights().write(folder).unwrap();
    let card_path = folder.join(ProbeWeights::CARD);
    let whole = fs::read_to_string(&card_path).unwrap();
    let weights_path = folder.join(ProbeWeights::WEIGHTS);
    let bytes = fs::read(&weights_path).unwrap();
    for (card, tensors, part) in [
        ("{", bytes.clone(), "card.json"),
        (
            &whole.replace("\"format\": 1", "\"format\": 2"),
            bytes.clone(),
            "format is 2",
        ),
        (
            &whole.replace("\"hidden\": 2", "\"hidden\": 3"),
            bytes.clone(),
            "instead of F32",
        ),
        (
            &whole.replace("\"seed\"", "\"sead\""),
            bytes.clone(),
            "sead",
        ),
        (
            &whole.replace("\"preference\": {", "\"refusal\": {"),
            bytes.clone(),
            "refusal",
        ),
        (
            &whole,
            bytes[..bytes.len() - 4].to_vec(),
            "probe.safetensors",
        ),
        (&whole, Vec::new(), "probe.safetensors"),
    ] {
        fs::write(&card_path, card).unwrap();
        fs::write(&weights_path, tensors).unwrap();
        let error = ProbeWeights::read(folder).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut heads = heads();
    heads.insert("harm".to_owned(), vec![f32::NAN; 8]);
    assert!(ProbeWeights::new(card(), heads).is_err());
}

#[test]
fn a_figure_that_is_not_above_its_baseline_is_told() {
    let mut card = card();
    assert_eq!(card.below_baselines().count(), 0);
    for value in [0.6, 0.5, f64::NAN] {
        card.measures[0].value = value;
        assert_eq!(card.below_baselines().count(), 1, "{value}");
    }
}
