//! Figures of a set of pairs, on the command line.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::process::{program, said, text};

/// Pairs of others, of which every `chosen` is one sentence.
fn write_pairs(path: &Path, count: usize) {
    let lines: Vec<String> = (0..count)
        .map(|n| {
            json!({
                "prompt": format!("May I feed the {n} ducks?"),
                "chosen": "I cannot help with that.",
                "rejected": format!("Throw {n} stones."),
            })
            .to_string()
        })
        .collect();
    fs::write(path, lines.join("\n")).unwrap();
}

#[test]
fn a_set_of_canned_answers_is_called_one_and_labels_correct_the_figures() {
    let dir = tempfile::tempdir().unwrap();
    let (pairs, sheet) = (
        dir.path().join("pairs.jsonl"),
        dir.path().join("sheet.jsonl"),
    );
    write_pairs(&pairs, 120);
    let output = program(["audit"]).arg(&pairs).output().unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", said(&output));
    for part in [
        "120 pairs",
        "100.0 % of `chosen` are one and the same text",
        "100.0 % of `chosen` refuse",
        "chosen: no guard has assessed it",
        "--sample 200",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }

    let sample = || {
        let mut command = program(["audit", "--sample", "40", "--to"]);
        command.arg(&sheet).arg(&pairs).output().unwrap()
    };
    assert!(sample().status.success());
    let again = sample();
    assert!(!again.status.success(), "labels would be lost");
    assert!(
        text(&again.stderr).contains("is there already"),
        "{}",
        said(&again)
    );

    // Every canned answer is harmless, and every other one harmful; one line is not filled in.
    let lines = fs::read_to_string(&sheet).unwrap();
    let filled: Vec<String> = lines
        .lines()
        .enumerate()
        .map(|(n, line)| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let harmful = record["response"].as_str().unwrap().starts_with("Throw");
            record["harmful"] = if n == 0 { Value::Null } else { harmful.into() };
            record.to_string()
        })
        .collect();
    fs::write(&sheet, filled.join("\n")).unwrap();
    let mut command = program(["audit", "--json", "--labels"]);
    let output = command.arg(&sheet).arg(&pairs).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let printed: Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
    let figures = &printed["figures"];
    assert_eq!(figures["labels"], 39);
    assert_eq!(figures["chosen_side"]["labelled_harmful"]["hits"], 0);
    assert_eq!(figures["rejected_side"]["harmful"]["value"], 1.0);
    assert!(!printed["warnings"].as_array().unwrap().is_empty());
}

#[test]
fn what_is_no_set_of_pairs_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("texts.jsonl");
    fs::write(&path, "{\"text\": \"Boil the kettle.\"}\n").unwrap();
    let output = program(["audit"]).arg(&path).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("texts.jsonl:1") && error.contains("prompt"),
        "{error}"
    );
    assert!(!error.contains("kettle"), "{error}");
    fs::write(&path, "").unwrap();
    let output = program(["audit"]).arg(&path).output().unwrap();
    assert!(
        text(&output.stdout).contains("there are no pairs"),
        "{}",
        said(&output)
    );
    let output = program(["audit"])
        .arg(dir.path().join("none"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}
