//! Figures of a set of pairs.

use std::fs;

use safer_instruct::{
    PreferencePair,
    audit::{PairAudit, PairFigures},
    dataset::{Label, LabelRecord, Preference, read_labels},
    measure::Proportion,
};
use serde_json::json;

/// A pair of a run, whose sides a guard assessed.
fn made(n: usize, p_chosen: f64, p_rejected: f64, flipped: bool) -> PreferencePair {
    let assessment =
        |p: f64| json!({"safety": if p < 0.5 { "safe" } else { "unsafe" }, "p_unsafe": p});
    serde_json::from_value(json!({
        "prompt": format!("May I feed the {n} ducks?"),
        "chosen": format!("Take {n} leaves of lettuce to the pond, please."),
        "rejected": format!("Throw {n} stones."),
        "provenance": {
            "source_id": format!("post-{n}"), "draw": 0, "run_seed": 0, "category": "animals",
            "chosen_from": "expert", "rejected_from": "source",
            "chosen_assessment": assessment(p_chosen), "rejected_assessment": assessment(p_rejected),
            "judgement": {"verdict": "first", "expert_first": true, "flipped": flipped},
        },
    }))
    .unwrap()
}

fn label(n: usize, chosen: bool, harmful: bool) -> LabelRecord {
    let pair = made(n, 0.1, 0.9, false);
    LabelRecord {
        prompt: pair.prompt,
        label: Label::Response {
            text: if chosen { pair.chosen } else { pair.rejected },
            harmful: Some(harmful),
            refusal: None,
        },
        source: None,
        group: None,
    }
}

fn warned(figures: &PairFigures, of: &str) -> bool {
    figures
        .warnings()
        .iter()
        .any(|warning| warning.contains(of))
}

#[test]
fn a_run_is_measured_by_its_guard_and_its_judge() {
    let mut audit = PairAudit::new();
    for n in 0..200 {
        audit.add(&made(n, 0.2, 0.8, n % 10 == 0));
    }
    let figures = audit.figures();
    assert_eq!(
        (figures.pairs, figures.sampled, figures.identical),
        (200, 200, 0)
    );
    assert_eq!(figures.chosen_side.found_unsafe, Proportion::new(0, 200));
    assert_eq!(
        figures.rejected_side.found_unsafe,
        Proportion::new(200, 200)
    );
    assert!((figures.chosen_side.mean_p_unsafe.unwrap() - 0.2).abs() < 1e-12);
    assert_eq!(
        (
            figures.order.judged,
            figures.order.flipped,
            figures.order.first_preferred
        ),
        (200, 20, 200)
    );
    assert_eq!(figures.categories["animals"], 200);
    assert_eq!(figures.length.chosen_longer, Proportion::new(200, 200));
    assert_eq!(
        figures.chosen_side.harmful, None,
        "nobody has labelled anything"
    );
    // Every side is one phrase, and every length is the same.
    assert_eq!(figures.told_apart.n_grams.unwrap().value, 1.0);
    assert_eq!(figures.length.cohens_d, None);
    assert!(warned(&figures, "tell `chosen` from `rejected`"));
    assert!(warned(&figures, "20 of 200 verdicts"));
    assert!(!warned(&figures, "labels"));
}

#[test]
fn labels_say_how_often_the_guard_is_wrong() {
    let labels: Vec<LabelRecord> = (0..40)
        .map(|n| label(n, true, n % 4 == 0))
        .chain((0..40).map(|n| label(n, false, true)))
        .collect();
    let mut audit = PairAudit::new().with_labels(&labels).unwrap();
    for n in 0..400 {
        audit.add(&made(n, if n % 4 == 0 { 0.45 } else { 0.1 }, 0.9, false));
    }
    let figures = audit.figures();
    assert_eq!((figures.labels, figures.labels_met), (80, 80));
    assert_eq!(
        figures.chosen_side.labelled_harmful,
        Proportion::new(10, 40)
    );
    let harmful = figures.chosen_side.harmful.unwrap();
    assert!((harmful.value - 0.25).abs() < 1e-9, "{harmful:?}");
    assert!(warned(&figures, "25.0 % of `chosen` are harmful"));
    let rejected = figures.rejected_side.harmful.unwrap();
    assert_eq!((rejected.value, rejected.high), (1.0, 1.0));
    assert!(rejected.low > 0.9 && rejected.low < 1.0);
}

#[test]
fn labels_that_contradict_each_other_or_meet_nothing_are_told() {
    let twice = [
        label(1, true, true),
        label(2, true, true),
        label(1, true, false),
    ];
    let error = PairAudit::new()
        .with_labels(&twice)
        .unwrap_err()
        .to_string();
    assert!(error.contains("label 3"), "{error}");
    assert!(!error.contains("ducks"), "{error}");
    let mut audit = PairAudit::new()
        .with_labels(&[label(7, true, true)])
        .unwrap();
    audit.add(&made(8, 0.1, 0.9, false));
    assert!(warned(&audit.figures(), "none of the labels"));
}

#[test]
fn pairs_of_others_have_no_guard_and_the_same_seed_gives_the_same_figures() {
    let audit = |seed| {
        let mut audit = PairAudit::new().with_seed(seed);
        for n in 0..300_usize {
            audit.add_texts(&Preference {
                prompt: format!("Was ist {} mal {}?", n % 17, n % 13),
                chosen: format!("Das ist {}, glaube ich.", (n % 17) * (n % 13)),
                rejected: if n % 3 == 0 {
                    String::new()
                } else {
                    format!("Rechne {n} selbst.")
                },
            });
        }
        audit.figures()
    };
    let figures = audit(1);
    assert_eq!(figures, audit(1));
    assert_eq!(figures.chosen_side.assessed, 0);
    assert_eq!(figures.rejected.empty, 100);
    assert!(warned(&figures, "100 texts of `rejected` are empty"));
    assert!(warned(
        &figures,
        "33.3 % of `rejected` are one and the same text"
    ));
    assert!(warned(&PairAudit::new().figures(), "there are no pairs"));
    let json = serde_json::to_value(&figures).unwrap();
    assert_eq!(json["rejected"]["empty"], 100);
}

#[test]
fn a_sheet_that_is_half_filled_in_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.jsonl");
    let lines = [
        r#"{"prompt": "a", "response": "1", "harmful": null, "refusal": null}"#,
        r#"{"prompt": "b", "response": "2", "harmful": true, "refusal": null}"#,
        r#"{"prompt": "c", "response": "3", "harmful": "", "refusal": null}"#,
    ];
    fs::write(&path, lines.join("\n")).unwrap();
    let mut reader = read_labels(&path).unwrap().skip_unlabelled();
    let read: Vec<LabelRecord> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!((read.len(), reader.unlabelled()), (1, 2));
    assert_eq!(read[0].prompt, "b");
    let errors = read_labels(&path).unwrap().filter(Result::is_err).count();
    assert_eq!(errors, 2, "by default they are errors");
}
