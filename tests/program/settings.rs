//! Files of settings, and the commands that need no model.

use std::fs;

use crate::process::{program, said, text};

#[test]
fn init_writes_a_file_that_run_takes_and_leaves_one_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    let path = path.to_str().unwrap();
    let output = program(["init", path]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let again = program(["init", path]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("File exists"), "{}", said(&again));

    let output = program(["run", "--settings", path]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("give --input FILE, or --demo"),
        "{}",
        said(&output)
    );
    let dry = program(["run", "--settings", path, "--demo", "--dry-run"])
        .output()
        .unwrap();
    assert!(dry.status.success(), "{}", said(&dry));
}

#[test]
fn a_misspelt_key_is_named_with_the_one_that_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    fs::write(&path, "[input]\ndemo = true\n\n[respond]\nmax_token = 9\n").unwrap();
    let path = path.to_str().unwrap();
    let output = program(["run", "--settings", path]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        format!("error: {path}:5: there is no key `max_token`; did you mean `max_tokens`?\n")
    );
}

#[test]
fn bad_arguments_have_a_code_of_their_own() {
    for (words, says) in [
        (&["run", "--inptu", "a"][..], "--input"),
        (&["run", "--field", "effort=low"], "is not NAME=JSON"),
        (&["run", "--budget=-1"], "it must be 0 or more"),
        (&["run", "--demo", "--input", "a"], "cannot be used with"),
        (&["resume", "--draws", "0"], "--draws"),
    ] {
        let output = program(words).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?}: {}",
            said(&output)
        );
        assert!(said(&output).contains(says), "{}", said(&output));
    }
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    let output = program([
        "run",
        "--demo",
        "--model",
        "qwen2.5-coder-1.5b",
        "--dry-run",
    ])
    .args(["--price-read", "1", "--price-written", "2"])
    .output()
    .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let printed = text(&output.stdout);
    for part in [
        "texts      28\n",
        "induce     qwen2.5-coder-1.5b on this machine\n",
        "induction  chat, without an adapter\n",
        "judgement  probe\n",
        "guard      probe; P(unsafe) of the chosen response at most 0.5, of the rejected one at least 0.5; ",
        "min_source_chars = 8\n",
        "prompt of the stage respond for the text insult-1:\n",
        "Honestly, your drawing looks like",
        "(the induced instruction stands here)",
        // Eight candidates with their scores, two scores of the filter and one response; a probe is asked nothing.
        "\nat most 532 calls, about ",
        "\nat most about 0.",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[test]
fn a_dry_run_asks_no_server() {
    let output = program(["run", "--demo", "--model", "m", "--dry-run"])
        .args(["--base-url", "http://127.0.0.1:9/v1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let printed = text(&output.stdout);
    for part in [
        "induce     m at http://127.0.0.1:9/v1\n",
        "judgement  pairwise\n",
        "\nat most 168 calls, about ",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[test]
fn models_and_completions_are_printed() {
    let output = program(["models"]).output().unwrap();
    let printed = text(&output.stdout);
    for part in [
        "smollm2-135m\n",
        "Apache-2.0",
        "98 MB",
        "reversed, with the adapter",
        "judge and guard by the probe smollm2-135m",
        "Japanese",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let output = program(["models", "--json"]).output().unwrap();
    let models: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(models[0]["profile"]["induction"], "reversed");

    let output = program(["completions", "bash"]).output().unwrap();
    assert!(text(&output.stdout).contains("--dry-run"));
}

#[test]
fn a_folder_without_a_run_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    for command in ["resume", "retry", "status", "export"] {
        let output = program([command, folder]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("holds no run"), "{}", said(&output));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
