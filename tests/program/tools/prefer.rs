//! `prefer`, and `merge` of what comes out.

use std::{fs, path::Path, process::Command};

use super::{finish, tool};
use crate::process::Running;

fn preference(folder: &Path, pairs: &str, arguments: &[&str]) -> Command {
    let mut command = tool("prefer", folder);
    command
        .args(["--measure", "1", "--pairs", pairs])
        .args(arguments);
    command
}

fn tune(folder: &Path, pairs: &str, arguments: &[&str]) -> (i32, String) {
    finish(preference(folder, pairs, arguments))
}

const FILES: [&str; 4] = [
    "preference-adapter/sft/adapter_model.safetensors",
    "preference-adapter/sft/adapter_config.json",
    "preference-adapter/dpo/adapter_model.safetensors",
    "preference-adapter/dpo/adapter_config.json",
];

fn files(folder: &Path) -> [Vec<u8>; 4] {
    FILES.map(|name| fs::read(folder.join(name)).unwrap())
}

#[test]
fn pairs_of_anyone_are_tuned_on_and_nothing_is_removed_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let lines = |same: bool| -> String {
        let line = |n: usize| {
            let chosen = format!("{n} apples, please.");
            let rejected = if same {
                chosen.clone()
            } else {
                format!("I would like to have {n} apples if you have so many.")
            };
            format!(
                "{{\"prompt\": \"Order {n} apples.\", \"chosen\": \"{chosen}\", \"rejected\": \"{rejected}\", \"score\": 1}}\n"
            )
        };
        (0..10).map(line).collect()
    };
    fs::write(folder.join("pairs.jsonl"), lines(false)).unwrap();
    fs::write(folder.join("same.jsonl"), lines(true)).unwrap();
    let (code, said) = tune(folder, "pairs.jsonl", &["--rank", "2"]);
    assert_eq!(code, 0, "{said}");
    // One in five is held out.
    assert!(
        said.contains("8 pairs to train on, by their chosen responses")
            && said.contains("2 pairs to measure on, by their preferences")
            && said.contains("| tuned on the preferences |"),
        "{said}"
    );
    let adapters = files(folder);
    let config: serde_json::Value = serde_json::from_slice(&adapters[3]).unwrap();
    let base = config["base_model_name_or_path"].as_str().unwrap();
    assert!(
        base.ends_with(".gguf") && !base.contains('/'),
        "no path of this machine: {base}"
    );
    assert!(adapters[0] != adapters[2], "both parts change something");

    // Whatever is wrong is found before anything is removed, and before the first part begins.
    for (pairs, arguments, reason) in [
        ("pairs.jsonl", &[][..], "this folder holds a run already"),
        ("pairs.jsonl", &["--overwrite", "--beta", "0"], "beta: 0"),
        (
            "pairs.jsonl",
            &["--overwrite", "--label-smoothing", "0.6"],
            "label_smoothing: 0.6",
        ),
        (
            "pairs.jsonl",
            &["--overwrite", "--batch", "0"],
            "batch: 0 cannot be",
        ),
        (
            "pairs.jsonl",
            &["--overwrite", "--epochs", "0"],
            "epochs: 0 cannot be",
        ),
        (
            "pairs.jsonl",
            &["--overwrite", "--held-out", "10"],
            "hold out fewer by --held-out",
        ),
        (
            "same.jsonl",
            &["--overwrite"],
            "same.jsonl:3 is left out: both responses are the same\n",
        ),
    ] {
        let (code, said) = tune(folder, pairs, arguments);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
        assert!(!said.contains("step "), "{said}");
        assert!(files(folder) == adapters, "{reason}");
    }

    // The earlier runs are removed as soon as the first part begins: `--resume` must not find the second.
    let again = preference(folder, "pairs.jsonl", &["--overwrite", "--rank", "3"]);
    let mut running = Running::start(again);
    running.wait_for("step 0: held-out loss");
    running.kill();
    assert!(!folder.join(FILES[2]).exists());
    let (code, said) = tune(folder, "pairs.jsonl", &["--resume", "--rank", "3"]);
    assert_eq!(code, 0, "{said}");
    assert!(files(folder) != adapters);

    let broken = lines(false) + "{\"prompt\": \"Order.\", \"chosen\": 7, \"rejected\": \"x\"}\n";
    fs::write(folder.join("broken.jsonl"), broken).unwrap();
    let (code, said) = tune(folder, "broken.jsonl", &["--output", "other"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("broken.jsonl:11: column chosen is a number, not a string"),
        "{said}"
    );

    let merge = |arguments: &[&str]| {
        let mut command = tool("merge", folder);
        command
            .args(["--adapter", "preference-adapter/dpo"])
            .args(["--output", "tuned.gguf"])
            .args(arguments);
        finish(command)
    };
    let (code, said) = merge(&["--form", "q8_0"]);
    assert_eq!(code, 0, "{said}");
    let merged = fs::read(folder.join("tuned.gguf")).unwrap();
    assert!(merged.starts_with(b"GGUF"));
    let (code, said) = merge(&[]);
    assert_eq!(code, 1);
    assert!(said.contains("tuned.gguf"), "{said}");
    assert!(fs::read(folder.join("tuned.gguf")).unwrap() == merged);
}
