//! `tune`: pairs that are read, held out and written, Ctrl-C, resumed runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{finish, tool};
use crate::process::{Running, text};

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = tool("tune", folder);
    // `--self-instruct` is instead of pairs.
    if !arguments.contains(&"--self-instruct") {
        command.args(["--pairs", "pairs.jsonl"]);
    }
    let small = "--rank 2 --batch 2 --held-out 2 --measure 0";
    command.args(small.split(' ')).args(arguments);
    command
}

fn write_pairs(folder: &Path, count: usize) -> PathBuf {
    let lines: Vec<String> = (0..count)
        .map(|n| {
            let (a, b) = (n + 2, n * n + 1);
            format!("{{\"instruction\": \"How much is {a} and {b}?\", \"response\": \"{a} and {b} is {}.\"}}", a + b)
        })
        .collect();
    let path = folder.join("pairs.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

#[test]
fn ctrl_c_and_resume_give_the_adapter_of_an_undisturbed_run() {
    let folder = tempfile::tempdir().unwrap();
    write_pairs(folder.path(), 14);
    let (code, errors) = finish(command(folder.path(), &["--output", "whole"]));
    assert_eq!(code, 0, "{errors}");
    assert!(
        errors.contains("14 pairs")
            && errors.contains("12 pairs to train on, 0 of them with a shortened response"),
        "{errors}"
    );
    assert!(
        errors.contains("step 0: held-out loss") && errors.contains("step 6: held-out loss"),
        "{errors}"
    );

    let stopped = command(folder.path(), &["--output", "stopped"]);
    let mut running = Running::start(stopped);
    running.wait_for("step 0: held-out loss");
    running.interrupt();
    let output = running.end();
    assert_eq!(output.status.code(), Some(130));
    let said = text(&output.stdout);
    assert!(
        said.starts_with("stopped after ") && said.contains("--resume goes on"),
        "{said}"
    );

    let (_, error) = finish(command(folder.path(), &["--output", "stopped"]));
    assert!(error.contains("this folder holds a run already"), "{error}");
    let resumed = command(folder.path(), &["--output", "stopped", "--resume"]);
    assert_eq!(finish(resumed).0, 0);
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
        let [whole, stopped] =
            ["whole", "stopped"].map(|run| fs::read(folder.path().join(run).join(name)).unwrap());
        assert!(whole == stopped, "{name}");
    }
    let picture = fs::read_to_string(folder.path().join("whole/loss.svg")).unwrap();
    assert!(
        picture.starts_with("<svg") && picture.contains("polyline"),
        "{picture}"
    );
}

#[test]
fn pairs_that_cannot_be_trained_on_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |pairs: &str, arguments: &[&str]| {
        fs::write(folder.path().join("pairs.jsonl"), pairs).unwrap();
        let (code, printed) = finish(command(folder.path(), arguments));
        assert_eq!(code, 1, "{printed}");
        printed
    };
    let error = fails(
        "{\"instruction\": \"Name a river.\", \"response\": \"\"}\n",
        &[],
    );
    assert!(
        error.contains("no record holds an instruction and a response"),
        "{error}"
    );
    write_pairs(folder.path(), 6);
    let pairs = fs::read_to_string(folder.path().join("pairs.jsonl")).unwrap();
    let error = fails(&pairs, &["--max-tokens", "20"]);
    let named =
        |line: usize| error.contains(&format!("pairs.jsonl:{line} is left out: too long\n"));
    assert_eq!((1..=6).filter(|line| named(*line)).count(), 4, "{error}");
    assert!(
        error.contains("of 4 pairs none is left to train on; is --max-tokens too low?"),
        "{error}"
    );
    // A pair has the line on which it stands, wherever it comes in the order of training.
    let long = format!(
        "{{\"instruction\": \"{}\", \"response\": \"Yes.\"}}\n\n",
        "so ".repeat(400)
    );
    let error = fails(&format!("\n{long}{pairs}"), &UNTRAINED);
    let left_out = error.lines().filter(|line| line.contains("is left out"));
    assert_eq!(
        left_out.collect::<Vec<_>>(),
        ["pairs.jsonl:2 is left out: too long"]
    );
    let error = fails(&pairs, &["--learning-rate", "0"]);
    assert!(
        error.contains("learning_rate: 0 cannot be; it is above 0"),
        "{error}"
    );
}

#[test]
fn what_is_held_out_is_not_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    write_pairs(folder.path(), 6);
    let pairs = fs::read_to_string(folder.path().join("pairs.jsonl")).unwrap();
    let of = |instruction: &str, response: &str| {
        format!("{{\"instruction\": \"{instruction}\", \"response\": \"{response}\"}}\n")
    };
    let held_out = of("Name a river.", "The Rhine.") + &of("Name a sea.", "The Baltic.");
    fs::write(folder.path().join("held.jsonl"), held_out).unwrap();
    let run = |more: &str| {
        fs::write(folder.path().join("pairs.jsonl"), format!("{more}{pairs}")).unwrap();
        let arguments = [&["--held-out-pairs", "held.jsonl"][..], &UNTRAINED].concat();
        finish(command(folder.path(), &arguments)).1
    };
    let shared = of("Name a river.", "The Elbe.") + &of("Which river is it?", " The Rhine. ");
    let errors = run(&shared);
    assert!(
        errors.contains("2 pairs are not trained on: their instruction or response stands among")
            && errors.contains("6 pairs to train on,")
            && errors.contains("2 pairs to measure on,"),
        "{errors}"
    );
    let errors = run("");
    assert!(
        !errors.contains("not trained on") && errors.contains("6 pairs to train on,"),
        "{errors}"
    );
}

/// Ends a run before its first step: a file is no folder.
const UNTRAINED: [&str; 2] = ["--output", "pairs.jsonl"];

#[test]
fn a_file_that_is_cut_off_is_read_up_to_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    write_pairs(folder.path(), 6);
    let path = folder.path().join("pairs.jsonl");
    let pairs = fs::read_to_string(&path).unwrap();
    let run = |text: &str, arguments: &[&str]| {
        fs::write(&path, text).unwrap();
        let arguments = [&UNTRAINED, arguments].concat();
        finish(command(folder.path(), &arguments)).1
    };
    let array = format!("[{}, {{\"instru", pairs.replace('\n', ",\n"));
    let errors = run(&array, &[]);
    assert!(
        errors.contains("pairs.jsonl:6: record 7 is cut off after 8 bytes")
            && errors.contains("6 pairs, 1 bad record, 0 passed over")
            && errors.contains("4 pairs to train on,"),
        "{errors}"
    );
    let broken = format!("{{\"instruction\": 7}}\n{pairs}");
    let errors = run(&broken, &[]);
    assert!(
        errors.contains("pairs.jsonl:1: ") && !errors.contains("to train on"),
        "{errors}"
    );
    let errors = run(&broken, &["--skip-bad"]);
    assert!(
        errors.contains("pairs.jsonl:1: ") && errors.contains("4 pairs to train on,"),
        "{errors}"
    );
}

#[test]
fn pairs_that_a_model_writes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    // So few tokens end it when the pairs are there.
    let run = |arguments: &[&str]| {
        let writing = [
            "--self-instruct",
            "6",
            "--grounding",
            "-100",
            "--max-tokens",
            "20",
        ];
        let arguments = [&writing, arguments].concat();
        let (code, printed) = finish(command(folder.path(), &arguments));
        assert_eq!(code, 1, "{printed}");
        printed
    };
    let errors = run(&[]);
    assert!(
        errors.contains("6 of 6 pairs written")
            && errors.contains("6 pairs asked for,")
            && errors.contains("is --max-tokens too low?"),
        "{errors}"
    );
    let path = folder.path().join("adapter/written.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    assert_eq!(whole.lines().count(), 7, "one about the run, and six");

    // Killed within the fifth line.
    let cut: usize = whole.split_inclusive('\n').take(4).map(str::len).sum();
    fs::write(&path, &whole[..cut + 3]).unwrap();
    let errors = run(&["--resume"]);
    assert!(
        errors.contains("writing 6 pairs, of which 3 are there"),
        "{errors}"
    );
    assert!(fs::read_to_string(&path).unwrap() == whole);
    // What is there is taken, also where all else begins anew, and nothing is done for settings that cannot work.
    let errors = run(&["--overwrite"]);
    assert!(!errors.contains("writing 6 pairs"), "{errors}");
    let errors = run(&["--overwrite", "--seed", "1", "--learning-rate", "0"]);
    assert!(errors.contains("learning_rate: 0 cannot be"), "{errors}");
    assert!(fs::read_to_string(&path).unwrap() == whole);
    let errors = run(&["--resume", "--seed", "1"]);
    assert!(
        errors.contains("its pairs are of another writer or seed than"),
        "{errors}"
    );
    let errors = run(&["--overwrite", "--seed", "1"]);
    assert!(errors.contains("of which 0 are there"), "{errors}");
    assert!(fs::read_to_string(&path).unwrap() != whole);
}
