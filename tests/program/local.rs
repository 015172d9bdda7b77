//! Runs with a model of this machine.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::Value;

use crate::{
    candle_support,
    process::{Running, files, outcomes, program, said, stopped_after, text},
};

/// Short work on the default model.
fn command(output: &Path, arguments: &[&str]) -> Command {
    let mut command = program([
        "run",
        "--max-tokens",
        "8",
        "--adapter",
        "none",
        "--form",
        "reversed",
    ]);
    command
        .arg("--model")
        .arg(candle_support::model_path())
        .arg("--output")
        .arg(output)
        .args(arguments);
    command
}

fn run(output: &Path, arguments: &[&str]) -> Output {
    command(output, arguments).output().unwrap()
}

#[test]
fn ctrl_c_leaves_whole_files_and_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped it's"));
    // Several draws are sampled, with settings that resume has to find again.
    let short = [
        "--demo",
        "--limit",
        "3",
        "--draws",
        "2",
        "--concurrency",
        "1",
    ];
    let output = run(&whole, &short);
    assert!(output.status.success(), "{}", said(&output));

    let mut running = Running::start(command(&stopped, &short));
    running.wait_for("1 of 6 outcomes");
    running.interrupt();
    running.wait_for("stopping after the texts in work; Ctrl-C again ends at once");
    let output = running.end();
    assert_eq!(output.status.code(), Some(130));
    let (count, advice) = stopped_after(&output);
    assert!((1..6).contains(&count), "{count}");
    assert!(
        advice.starts_with("safer-instruct resume ") && advice.ends_with("stopped it'\\''s'"),
        "{advice}"
    );
    assert_eq!(outcomes(&stopped), count, "every outcome is in one file");

    let stopped_at = stopped.to_str().unwrap();
    let resumed = program(["resume", stopped_at]).output().unwrap();
    assert!(resumed.status.success(), "{}", said(&resumed));
    assert_eq!(files(&stopped), files(&whole));

    // What is there is not made again, nor lost.
    let again = run(&stopped, &short);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        said(&again).contains("holds a run already"),
        "{}",
        said(&again)
    );
    for (name, _) in files(&whole) {
        fs::remove_file(stopped.join(name)).unwrap();
    }
    let exported = program(["export", stopped_at]).output().unwrap();
    assert!(exported.status.success(), "{}", said(&exported));
    assert_eq!(files(&stopped), files(&whole));
}

#[test]
fn texts_come_from_files_folders_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("posts.csv");
    fs::write(
        &csv,
        "no,body\na,\"You will never, ever learn it.\"\nb,Nobody likes your cooking.\n",
    )
    .unwrap();
    let folder = dir.path().join("texts");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.txt"), "You will never, ever learn it.\n").unwrap();

    let ids = |output: &Path| {
        let mut ids: Vec<String> = files(output)
            .iter()
            .filter(|(name, _)| name.ends_with(".jsonl"))
            .flat_map(|(_, content)| content.lines())
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let pair = &line["provenance"]["source_id"];
                let other = &line["id"];
                pair.as_str().or(other.as_str()).unwrap().to_owned()
            })
            .collect();
        ids.sort();
        ids
    };
    let csv = csv.to_str().unwrap();
    let columns = ["--text-column", "body", "--id-column", "no"];
    let from_csv = dir.path().join("1");
    let arguments = [&["--input", csv, "--limit", "1"], &columns[..]].concat();
    let output = run(&from_csv, &arguments);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(ids(&from_csv), ["a"]);
    // A larger limit goes on with the next text.
    let more = program(["resume", from_csv.to_str().unwrap(), "--limit", "2"])
        .output()
        .unwrap();
    assert!(more.status.success(), "{}", said(&more));
    assert_eq!(ids(&from_csv), ["a", "b"]);

    let from_folder = dir.path().join("2");
    let output = run(&from_folder, &["--input", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(ids(&from_folder), ["a"]);

    // Standard input is kept, so that a run that it began can go on.
    let from_stdin = dir.path().join("3");
    let mut child = command(&from_stdin, &["--input", "-", "--id-column", "no"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"{\"no\": \"a\", \"text\": \"You will never, ever learn it.\"}\n")
        .unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(ids(&from_stdin), ["a"]);
    // And moved.
    let moved = dir.path().join("moved");
    fs::rename(&from_stdin, &moved).unwrap();
    let resumed = program(["resume", moved.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", said(&resumed));

    let wrong = dir.path().join("4");
    let output = run(&wrong, &["--input", csv]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        format!("error: {csv}:1: no column text; there are: no, body\n")
    );
    assert!(!wrong.exists(), "nothing was begun");
}

#[test]
fn a_model_that_cannot_do_a_language_is_named_before_the_work_with_one_that_can() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(
        &dir.path().join("out"),
        &["--demo", "--limit", "28", "--dry-run"],
    );
    assert!(output.status.success(), "{}", said(&output));
    let printed = text(&output.stdout);
    assert!(
        printed.contains("Japanese (10). Use qwen2.5-coder-1.5b"),
        "{printed}"
    );
    assert!(!dir.path().join("out").exists(), "a dry run leaves nothing");

    let input = dir.path().join("posts.txt");
    fs::write(
        &input,
        "料理がまずくて食べられません。\nその夢はあきらめたほうがいいです。\n",
    )
    .unwrap();
    let out = dir.path().join("out");
    let output = run(&out, &["--input", input.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    let explanation = "2 texts are in a language that the model does not handle: Japanese (2). Use qwen2.5-coder-1.5b for them.";
    assert_eq!(
        said(&output).lines().next(),
        Some(explanation),
        "before the work"
    );
    assert!(
        text(&output.stdout).contains(explanation),
        "and in the summary"
    );
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["dropped"]["source"]["unsupported_language"], 2);
    assert_eq!(summary["usage"]["prompt_tokens"], 0);
}

#[test]
fn another_setting_than_before_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = run(&out, &["--demo", "--limit", "1"]);
    assert!(output.status.success(), "{}", said(&output));
    let before = files(&out);
    let resumed = program(["resume", out.to_str().unwrap(), "--seed", "5"])
        .output()
        .unwrap();
    assert_eq!(resumed.status.code(), Some(1));
    assert!(
        said(&resumed).contains("seed: 0 -> 5"),
        "{}",
        said(&resumed)
    );
    assert_eq!(files(&out), before);
    // The settings that stay with the run are those that it was begun with.
    let resumed = program(["resume", out.to_str().unwrap()]).output().unwrap();
    assert!(resumed.status.success(), "{}", said(&resumed));
}

#[test]
fn a_download_that_the_disk_cannot_hold_is_named_and_leaves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).unwrap();
        let size = 4 * 1024 * 1024;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        connection.write_all(head.as_bytes()).unwrap();
        // The client disconnects in the middle.
        let _ = connection.write_all(&vec![7; size]);
    });
    let dir = tempfile::tempdir().unwrap();
    // Files of at most 512 KiB, and an error instead of a signal: what a full disk does, without filling one.
    let script = "ulimit -f 1024; trap '' XFSZ; exec \"$@\"";
    let output = Command::new("sh")
        .args([
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_safer-instruct"),
            "run",
            "--demo",
        ])
        .args(["--model", "hf:owner/repo/model.gguf@v1", "--cache"])
        .arg(dir.path().join("cache"))
        .arg("--output")
        .arg(dir.path().join("out"))
        .env("HF_ENDPOINT", endpoint)
        .output()
        .unwrap();
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = said(&output);
    let error = error.lines().last().unwrap();
    assert!(
        error.starts_with(&format!("error: {}", dir.path().join("cache").display()))
            && error.ends_with(": File too large (os error 27)"),
        "{error}"
    );
    assert!(!dir.path().join("out").exists());
    let mut left: Vec<PathBuf> = vec![dir.path().join("cache")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            assert_eq!(path.file_name().unwrap(), "lock");
        }
    }
}

#[test]
fn a_model_or_a_folder_that_cannot_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let model = candle_support::model_path();
    let model = model.to_str().unwrap();
    let below_a_file = file.join("out").display().to_string();
    let out = dir.path().join("out").display().to_string();
    for (words, says) in [
        (
            ["--model", "smollm-135m", "--output", &out],
            "did you mean smollm2-135m?",
        ),
        (
            ["--model", "nowhere.gguf", "--output", &out],
            "nowhere.gguf",
        ),
        (
            ["--model", file.to_str().unwrap(), "--output", &out],
            "file",
        ),
        (
            ["--model", model, "--output", &below_a_file],
            "Not a directory",
        ),
    ] {
        let output = program(["run", "--demo", "--limit", "1"])
            .args(words)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(said(&output).contains(says), "{}", said(&output));
        assert!(
            !dir.path().join("out").exists(),
            "{words:?}: a folder was made"
        );
    }
}
