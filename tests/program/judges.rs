//! Judges that are fitted on labels, and runs that take them.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Output,
};

use serde_json::{Value, json};

use crate::{
    candle_support,
    process::{program, said, text},
};

/// Prompts of the labels that come with the crate.
fn prompts(count: usize) -> Vec<Value> {
    let mild = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/labels/mild.jsonl");
    let mild = fs::read_to_string(mild).unwrap();
    let items = mild.lines().skip(90).take(count);
    items
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Answers to a few prompts: every prompt with a bad and a good answer, from two sources.
fn labels(path: &Path, count: usize) {
    let mut file = File::create(path).unwrap();
    for (item, source) in prompts(count)
        .iter()
        .zip(["one", "other"].into_iter().cycle())
    {
        for (kind, harmful) in [("bad", true), ("good", false)] {
            let record = json!({
                "prompt": item["prompt"], "response": item["answers"][kind], "harmful": harmful, "source": source,
            });
            writeln!(file, "{record}").unwrap();
        }
    }
}

fn tune_judge(labels: &Path, output: &Path, more: &[&str]) -> Output {
    program([
        "tune-judge",
        "--layers",
        "15,24",
        "--max-tokens",
        "48",
        "--model",
    ])
    .arg(candle_support::model_path())
    .arg("--labels")
    .arg(labels)
    .arg("--output")
    .arg(output)
    .args(more)
    .output()
    .unwrap()
}

#[test]
fn a_judge_is_fitted_kept_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let (file, judge) = (dir.path().join("labels.jsonl"), dir.path().join("judge"));
    labels(&file, 40);
    let output = tune_judge(&file, &judge, &["--licence", "one=MIT"]);
    assert!(output.status.success(), "{}", said(&output));
    let printed = text(&output.stdout);
    for part in [
        "harm: is the response harmful?\n  fitted on 80 labels, 40 of them yes\n",
        "on a source that it was not fitted on, each in turn (area under the ROC curve):\n",
        "    n-grams ",
        "refusal: not fitted: no labels of this kind\n",
        "safer-instruct run --judge-probe ",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let card: Value = serde_json::from_slice(&fs::read(judge.join("card.json")).unwrap()).unwrap();
    assert_eq!(
        card["data"][0],
        json!({"name": "one", "rows": 40, "licence": "MIT"})
    );
    let weights = fs::read(judge.join("probe.safetensors")).unwrap();

    // The states are read once; the fit is the same.
    let again = tune_judge(&file, &judge, &["--licence", "one=MIT"]);
    assert!(again.status.success(), "{}", said(&again));
    assert!(!said(&again).contains("responses read"), "{}", said(&again));
    assert_eq!(fs::read(judge.join("probe.safetensors")).unwrap(), weights);

    let run = |name: &str, more: &[&str]| {
        program([
            "run",
            "--demo",
            "--limit",
            "1",
            "--max-tokens",
            "8",
            "--adapter",
            "none",
        ])
        .args(["--form", "reversed", "--min-gain", "-9", "--model"])
        .arg(candle_support::model_path())
        .arg("--judge-probe")
        .arg(&judge)
        .arg("--output")
        .arg(dir.path().join(name))
        .args(more)
        .output()
        .unwrap()
    };
    let output = run("dry", &["--dry-run", "--guard", "probe"]);
    assert!(output.status.success(), "{}", said(&output));
    let printed = text(&output.stdout);
    // It was fitted on harm alone: a guard, and no judge.
    assert!(
        printed.contains("judgement  likelihood\nguard      probe; "),
        "{printed}"
    );
    let refused = run("refused", &["--judge", "probe"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("fitted on labels of preferences"),
        "{}",
        said(&refused)
    );
    // No response is quite without harm.
    let output = run("run", &["--keep-truncated", "--max-chosen", "0"]);
    assert!(output.status.success(), "{}", said(&output));
    let summary = fs::read_to_string(dir.path().join("run/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["read"], 1);
    assert_eq!(
        summary["dropped"],
        json!({"judge": {"chosen_unsafe": 1}}),
        "{summary}"
    );
}

#[test]
fn labels_that_nothing_can_be_learnt_from_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("labels.jsonl");
    let judge = dir.path().join("judge");
    for (content, says) in [
        ("", "labels.jsonl"),
        ("{\"prompt\": \"a\"\n", "labels.jsonl:1: "),
        (
            "{\"prompt\": \"a\", \"response\": \"b\"}\n",
            "labels.jsonl:1: ",
        ),
        (
            "{\"response\": \"You can do it.\", \"harmful\": false}\n",
            "harm: 0 labels say yes and 1 say no, and 10 of each are needed",
        ),
    ] {
        fs::write(&file, content).unwrap();
        let output = tune_judge(&file, &judge, &[]);
        assert_eq!(output.status.code(), Some(1), "{content}");
        assert!(said(&output).contains(says), "{says}: {}", said(&output));
        assert!(!judge.join("card.json").exists());
    }
    labels(&file, 20);
    let swapped = fs::read_to_string(&file)
        .unwrap()
        .replace("true", "1")
        .replace("false", "true");
    let twice = fs::read_to_string(&file).unwrap() + &swapped;
    fs::write(&file, twice).unwrap();
    let output = tune_judge(&file, &judge, &[]);
    assert!(
        said(&output).contains("20 labels of harm say the opposite"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_judge_that_does_no_better_than_the_length_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (path, judge) = (dir.path().join("labels.jsonl"), dir.path().join("judge"));
    let mut file = File::create(&path).unwrap();
    for item in prompts(20) {
        let good = item["answers"]["good"].as_str().unwrap();
        let short: String = good.chars().take(20).collect();
        for (response, harmful) in [(good, false), (&short, true)] {
            let record = json!({"response": response, "harmful": harmful});
            writeln!(file, "{record}").unwrap();
        }
    }
    let output = tune_judge(&path, &judge, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let printed = text(&output.stdout);
    assert!(
        printed.contains("harm is no better than the baseline \"length\""),
        "{printed}"
    );
    assert!(
        said(&output).contains("the judge is not kept"),
        "{}",
        said(&output)
    );
    assert!(!judge.join("card.json").exists());

    // It can be kept all the same, and no run takes it.
    let output = tune_judge(&path, &judge, &["--force"]);
    assert!(output.status.success(), "{}", said(&output));
    let run = program([
        "run", "--demo", "--limit", "1", "--guard", "probe", "--model",
    ])
    .arg(candle_support::model_path())
    .arg("--judge-probe")
    .arg(&judge)
    .arg("--output")
    .arg(dir.path().join("run"))
    .output()
    .unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(
        said(&run).contains("no better than the baseline length"),
        "{}",
        said(&run)
    );
}
