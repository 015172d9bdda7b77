//! Fits on what is planted, on what is not there, and on too little.

use super::*;

#[test]
fn what_is_planted_is_found_in_folds_and_in_sources_that_were_left_out() {
    let fitted = fit(&ProbeTrainer::new(), &Fake::new(), &responses(90)).unwrap();
    let heads: Vec<&str> = fitted.heads.iter().map(|head| head.head.as_str()).collect();
    assert_eq!(heads, ["harm", "refusal"]);
    for report in &fitted.heads {
        let name = &report.head;
        let records = 0..90;
        let positives = records.filter(|number| so(name, &format!("Answer {number}.")));
        assert_eq!((report.rows, report.positives), (90, positives.count()));
        let left_out = report.left_out.as_ref().unwrap();
        for compared in [&report.folds, left_out] {
            assert_eq!(compared.rows, 90);
            assert!(compared.probe.value > 0.99, "{name}: {compared:?}");
            assert!(compared.beats_baselines(), "{name}: {compared:?}");
            let (_, best) = compared.best_baseline();
            assert!(best < 0.8, "no word says it: {name}: {compared:?}");
            let baselines: Vec<&str> = compared
                .baselines
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            assert_eq!(baselines, ["constant", "length", "refusal rule", "n-grams"]);
            let sources: Vec<(&str, usize)> = compared
                .sources
                .iter()
                .map(|one| (one.name.as_str(), one.rows))
                .collect();
            assert_eq!(sources, [("first", 30), ("second", 30), ("third", 30)]);
            assert!(compared.mean_of_sources().unwrap() > 0.99);
        }
        assert_eq!(report.decisive().probe, left_out.probe);
        assert_eq!(report.figure(), "area under the ROC curve");
    }
}

#[test]
fn the_heads_say_of_new_texts_what_is_planted_in_them() {
    let fitted = fit(&ProbeTrainer::new(), &Fake::new(), &responses(90)).unwrap();
    for number in 0..60 {
        let text = format!("Reply {number}.");
        for what in ["harm", "refusal"] {
            let probability = fitted.weights.probability(what, &states_of(&text)).unwrap();
            let sure = if so(what, &text) {
                probability
            } else {
                1.0 - probability
            };
            assert!(sure > 0.7, "{what} of {text}: {probability}");
        }
    }
}

#[test]
fn the_weights_of_last_states_are_nought() {
    let fitted = fit(&ProbeTrainer::new(), &Fake::new(), &responses(60)).unwrap();
    let [_, file] = bytes(&fitted.weights);
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    for head in ["harm", "refusal"] {
        let tensor = tensors.tensor(head).unwrap();
        assert_eq!(tensor.shape(), [LAYERS.len(), 2, HIDDEN]);
        let (values, _) = tensor.data().as_chunks::<4>();
        let values: Vec<f32> = values
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        for layer in values.chunks(2 * HIDDEN) {
            assert!(
                layer[..HIDDEN].iter().all(|weight| *weight != 0.0),
                "{layer:?}"
            );
            assert_eq!(layer[HIDDEN..], [0.0; HIDDEN]);
        }
    }
}

#[test]
fn states_that_know_nothing_are_no_better_than_chance_and_than_a_baseline_that_sees_the_label() {
    // A prompt has one response of each kind, so that folds and sources are alike.
    let records: Vec<LabelRecord> = (0..120)
        .map(|number| LabelRecord {
            label: Label::Response {
                text: format!(
                    "{} on day {number}.",
                    if number % 2 == 0 { "Fog" } else { "Sun" }
                ),
                harmful: Some(number % 2 == 0),
                refusal: None,
            },
            ..response(number / 2)
        })
        .collect();
    let fitted = fit(&ProbeTrainer::new(), &Fake::with(empty_state), &records).unwrap();
    let [report] = <[HeadReport; 1]>::try_from(fitted.heads).unwrap();
    for compared in [&report.folds, report.left_out.as_ref().unwrap()] {
        assert!(compared.probe.covers(0.5), "{compared:?}");
        assert!(!compared.probe.covers(0.8), "{compared:?}");
        assert!(!compared.beats_baselines(), "{compared:?}");
        let (name, best) = compared.best_baseline();
        assert_eq!(name, "n-grams");
        assert!(best > 0.95, "{compared:?}");
    }
    let below = fitted.weights.card().below_baselines().count();
    assert_eq!(below, 2);
}

#[test]
fn a_curve_says_what_fewer_labels_give() {
    let fitted = fit(&ProbeTrainer::new(), &Fake::new(), &responses(130)).unwrap();
    let report = &fitted.heads[0];
    let rows: Vec<usize> = report.curve.iter().map(|point| point.rows).collect();
    // 104 are four fifths, which is what a fold is fitted on.
    assert_eq!(rows, [50, 65, 100]);
    let half = report.curve[1].value;
    assert_eq!(
        report.gain_of_last_half(),
        Some(report.folds.probe.value - half)
    );
}

#[test]
fn a_source_that_is_measured_on_is_not_fitted_on() {
    let records = responses(90);
    let is_third = |record: &&LabelRecord| record.source.as_deref() == Some("third");
    let others: Vec<LabelRecord> = records
        .iter()
        .filter(|one| !is_third(one))
        .cloned()
        .collect();
    let trainer = ProbeTrainer::new().with_measured_sources(["third".to_owned()]);
    let measured = fit(&trainer, &Fake::new(), &records).unwrap();
    let without = fit(&ProbeTrainer::new(), &Fake::new(), &others).unwrap();
    assert_eq!(measured.weights.card().data, without.weights.card().data);
    assert_eq!(measured.weights.card().heads, without.weights.card().heads);
    let [[_, a], [_, b]] = [&measured, &without].map(|fitted| bytes(&fitted.weights));
    assert!(a == b, "the weights are the same");
    assert_eq!(
        (measured.heads[0].rows, measured.heads[0].folds.rows),
        (60, 60)
    );
}

#[test]
fn a_head_with_one_kind_alone_or_with_too_few_labels_is_left_out_with_the_reason() {
    let refusals = || {
        (100..140).map(|number| match response(number) {
            LabelRecord {
                label: Label::Response { text, refusal, .. },
                prompt,
                source,
                group,
            } => LabelRecord {
                prompt,
                source,
                group,
                label: Label::Response {
                    text,
                    harmful: None,
                    refusal,
                },
            },
            pair => pair,
        })
    };
    for (yes, no, expected) in [
        (
            30,
            0,
            Some("30 labels say yes and 0 say no, and 10 of each are needed"),
        ),
        (
            0,
            30,
            Some("0 labels say yes and 30 say no, and 10 of each are needed"),
        ),
        (
            9,
            30,
            Some("9 labels say yes and 30 say no, and 10 of each are needed"),
        ),
        (
            30,
            9,
            Some("30 labels say yes and 9 say no, and 10 of each are needed"),
        ),
        (10, 10, None),
    ] {
        let harmful = [vec![true; yes], vec![false; no]].concat();
        let mut records = labelled(harmful);
        records.extend(refusals());
        let fitted = fit(&ProbeTrainer::new(), &Fake::new(), &records).unwrap();
        let heads: Vec<&str> = fitted.heads.iter().map(|head| head.head.as_str()).collect();
        let reasons: Vec<(&str, &str)> = fitted
            .left_out
            .iter()
            .map(|(head, reason)| (head.as_str(), reason.as_str()))
            .collect();
        let no_pairs = ("preference", "no labels of this kind");
        match expected {
            Some(reason) => {
                assert_eq!(heads, ["refusal"]);
                assert_eq!(reasons, [("harm", reason), no_pairs]);
            }
            None => {
                assert_eq!(heads, ["harm", "refusal"]);
                assert_eq!(reasons, [no_pairs]);
            }
        }
        let on_card: Vec<&str> = fitted
            .weights
            .card()
            .heads
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(on_card, heads);
    }
}

#[test]
fn labels_of_fewer_groups_than_folds_are_left_out() {
    let grouped = |groups: usize| {
        let mut records = labelled((0..40).map(|number| number / 5 % 2 == 0));
        for (number, record) in records.iter_mut().enumerate() {
            record.group = Some(format!("group {}", number % groups));
        }
        records
    };
    let error = fit(&ProbeTrainer::new(), &Fake::new(), &grouped(4)).unwrap_err();
    let (field, reason) = reason(error);
    assert_eq!(field, "labels");
    assert!(
        reason.starts_with(
            "harm: the labels are of 4 groups (same prompt, response or group), and 5 are needed"
        ),
        "{reason}"
    );
    let fitted = fit(&ProbeTrainer::new(), &Fake::new(), &grouped(5)).unwrap();
    assert_eq!(fitted.heads[0].folds.rows, 40);
}

#[test]
fn a_probe_without_heads_is_refused_with_every_reason() {
    let expected = |harm: &str| {
        let none = "no labels of this kind";
        (
            "labels".to_owned(),
            format!("harm: {harm}; refusal: {none}; preference: {none}"),
        )
    };
    let none = fit(&ProbeTrainer::new(), &Fake::new(), &[]).unwrap_err();
    assert_eq!(reason(none), expected("no labels of this kind"));
    let records = labelled([true; 12]);
    let alike = fit(&ProbeTrainer::new(), &Fake::new(), &records).unwrap_err();
    let harm = "12 labels say yes and 0 say no, and 10 of each are needed";
    assert_eq!(reason(alike), expected(harm));
    let few = fit(&ProbeTrainer::new(), &Fake::new(), &pairs(9)).unwrap_err();
    let (_, reason) = reason(few);
    assert!(
        reason.ends_with("; preference: 9 pairs, and 10 are needed"),
        "{reason}"
    );
    assert!(fit(&ProbeTrainer::new(), &Fake::new(), &pairs(10)).is_ok());
}

#[test]
fn states_that_were_not_read_are_an_error() {
    let (model, records) = (Fake::new(), responses(30));
    let dir = tempfile::tempdir().unwrap();
    let mut table = model.table(dir.path());
    block_on(table.read(&model, &records[1..], |_, _| true)).unwrap();
    let error = ProbeTrainer::new().fit(&records, &table).unwrap_err();
    let expected = ("states", "the states of a labelled response were not read");
    let (field, reason) = reason(error);
    assert_eq!((field.as_str(), reason.as_str()), expected);
}

#[test]
fn pairs_give_a_head_without_a_bias() {
    let fitted = fit(&ProbeTrainer::new(), &Fake::new(), &pairs(90)).unwrap();
    let [report] = <[HeadReport; 1]>::try_from(fitted.heads).unwrap();
    assert_eq!(
        (report.head.as_str(), report.figure()),
        ("preference", "accuracy")
    );
    assert_eq!((report.rows, report.positives), (90, 90));
    for compared in [&report.folds, report.left_out.as_ref().unwrap()] {
        assert!(
            compared.probe.value > 0.9 && compared.beats_baselines(),
            "{compared:?}"
        );
        assert!(compared.probe.low < compared.probe.value && compared.probe.low > 0.8);
    }
    let head = fitted.weights.card().heads["preference"];
    // Without a bias, and with a probability of one half for two that are alike.
    assert_eq!(head.bias, 0.0);
    assert!(head.slope > 0.0 && head.offset.abs() < 1e-6, "{head:?}");
    let margins = (200..240).map(|number| {
        let label = pair(number).label;
        let of = |text| log_odds(&fitted.weights, "preference", text);
        let [better, worse] =
            <[f64; 2]>::try_from(label.responses().map(of).collect::<Vec<_>>()).unwrap();
        better - worse
    });
    let right = margins.filter(|margin| *margin > 0.0).count();
    assert!(right >= 36, "{right} of 40");
}

#[test]
fn the_same_labels_and_seed_give_the_same_bytes() {
    let model = Fake::new();
    let mut records = responses(60);
    records.extend(pairs(30));
    let trainer = ProbeTrainer::new()
        .with_seed(7)
        .with_licence("first", "MIT");
    let dir = tempfile::tempdir().unwrap();
    let mut table = model.table(dir.path());
    block_on(table.read(&model, &records, |_, _| true)).unwrap();
    let first = bytes(&trainer.fit(&records, &table).unwrap().weights);
    let again = bytes(&trainer.fit(&records, &table).unwrap().weights);
    assert!(first == again, "fitted twice");
    let reopened = model.table(dir.path());
    let from_files = bytes(&trainer.fit(&records, &reopened).unwrap().weights);
    assert!(
        first == from_files,
        "the states come back from their files bit by bit"
    );
    let other = bytes(
        &trainer
            .clone()
            .with_seed(8)
            .fit(&records, &table)
            .unwrap()
            .weights,
    );
    assert!(first[0] != other[0], "the card says the seed");
}

/// The numbers of the folds follow from the order of the records, and so do their figures and the calibration; what is
/// fitted on all of them is the same but for rounding, as long as the penalty is.
#[test]
fn another_order_of_the_records_gives_the_same_log_odds() {
    let records = responses(60);
    let turned: Vec<LabelRecord> = records.iter().rev().cloned().collect();
    let [first, second] =
        [records, turned].map(|records| fit(&ProbeTrainer::new(), &Fake::new(), &records).unwrap());
    for (a, b) in first.heads.iter().zip(&second.heads) {
        assert_eq!(
            (&a.head, a.rows, a.positives, a.c),
            (&b.head, b.rows, b.positives, b.c)
        );
        assert!(a.folds.probe.value > 0.99 && b.folds.probe.value > 0.99);
        for number in 0..20 {
            let text = format!("Reply {number}.");
            let [a, b] = [&first, &second].map(|fitted| log_odds(&fitted.weights, &a.head, &text));
            assert!((a - b).abs() < 1e-2 * a.abs().max(0.1), "{a} {b}");
        }
    }
    let [first, second] = [first, second].map(|fitted| fitted.weights.card().clone());
    assert_eq!(first.data, second.data);
}

#[test]
fn the_card_says_what_the_probe_was_made_of() {
    let base = ModelId::new("fake.gguf")
        .with_hash("sha256:0a")
        .with_adapter("sha256:0b");
    let model = Fake::new().named(base.clone());
    let mut records = responses(40);
    records[0].source = None;
    records.extend(pairs(11));
    let trainer = ProbeTrainer::new()
        .with_seed(5)
        .with_licence("first", "MIT")
        .with_licence("third", "CC-BY-4.0")
        .with_licence("unused", "Apache-2.0")
        .with_not_for("Other languages.")
        .with_not_for("Deciding about people.");
    let fitted = fit(&trainer, &model, &records).unwrap();
    let card = fitted.weights.card();
    assert_eq!(card.format, ProbeCard::FORMAT);
    assert_eq!(card.base, base);
    assert_eq!((card.layers.as_slice(), card.hidden), (&LAYERS[..], HIDDEN));
    assert_eq!((card.max_tokens, card.seed), (MAX_TOKENS, 5));
    let data = |name: &str, rows, licence: &str| ProbeData {
        name: name.to_owned(),
        rows,
        licence: licence.to_owned(),
    };
    assert_eq!(
        card.data,
        [
            data("first", 13 + 4, "MIT"),
            data("labels", 1, ""),
            data("second", 13 + 4, ""),
            data("third", 13 + 3, "CC-BY-4.0"),
        ]
    );
    assert_eq!(card.not_for, ["Other languages.", "Deciding about people."]);
    let whats: Vec<String> = card
        .measures
        .iter()
        .map(|one| format!("{}: {}", one.head, one.what))
        .collect();
    assert_eq!(
        whats,
        [
            "harm: area under the ROC curve, 40 labels, each source left out in turn",
            "harm: area under the ROC curve, 40 labels, five folds by group",
            "refusal: area under the ROC curve, 40 labels, each source left out in turn",
            "refusal: area under the ROC curve, 40 labels, five folds by group",
            "preference: accuracy, 11 labels, each source left out in turn",
            "preference: accuracy, 11 labels, five folds by group",
        ]
    );
    for (measure, report) in card.measures.iter().step_by(2).zip(&fitted.heads) {
        let compared = report.decisive();
        assert_eq!(measure.value, compared.probe.value);
        assert_eq!(measure.interval, [compared.probe.low, compared.probe.high]);
        assert_eq!(
            (measure.baseline.as_str(), measure.baseline_value),
            compared.best_baseline()
        );
    }
    let dir = tempfile::tempdir().unwrap();
    fitted.weights.write(dir.path()).unwrap();
    let read = ProbeWeights::read(dir.path()).unwrap();
    let data = |weights: &ProbeWeights| weights.card().data.clone();
    assert_eq!(data(&read), data(&fitted.weights));
}

#[test]
fn one_source_alone_is_measured_in_folds() {
    let mut records = responses(40);
    records.iter_mut().for_each(|record| record.source = None);
    let fitted = fit(&ProbeTrainer::new(), &Fake::new(), &records).unwrap();
    let report = &fitted.heads[0];
    assert!(report.left_out.is_none());
    assert_eq!(report.decisive().probe, report.folds.probe);
    assert_eq!(fitted.weights.card().measures.len(), 2, "one for each head");
}
