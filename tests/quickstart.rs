//! The example that newcomers run first, as a process: inputs, errors, Ctrl-C.
#![cfg(all(feature = "candle", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod candle_support;

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use serde_json::Value;

/// `cargo test` builds the examples beside the tests.
fn quickstart() -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/quickstart");
    assert!(
        path.exists(),
        "{path:?} is not there: `cargo test --features full` builds it"
    );
    path
}

/// Short work on the default model.
fn command(output: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(quickstart());
    command
        .args(["--form", "reversed", "--max-tokens", "8"])
        .arg("--model")
        .arg(candle_support::model_path())
        .arg("--output")
        .arg(output)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

fn run(output: &Path, arguments: &[&str]) -> Output {
    command(output, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All files of a folder by name.
fn files(dir: &Path) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Sends what Ctrl-C sends.
fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn ctrl_c_leaves_valid_files_and_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped it's"));
    let short = ["--limit", "6", "--concurrency", "1"];
    let output = run(&whole, &short);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let mut child = command(&stopped, &short)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(errors.any(|line| line.unwrap() == "1 of 6 outcomes"));
    interrupt(&child);
    assert!(errors.any(|line| line.unwrap() == "stopping; Ctrl-C again ends at once"));
    // Keeps the pipe open until the process ends.
    errors.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));

    let said = text(&output.stdout);
    let mut said = said.lines();
    let count: usize = said
        .next()
        .and_then(|line| line.strip_prefix("stopped after "))
        .and_then(|line| line.strip_suffix(" of 6 outcomes; go on with:"))
        .expect("it says how far it is")
        .parse()
        .unwrap();
    assert!((1..6).contains(&count), "{count}");
    let advice = said.next().unwrap();
    assert!(
        advice.starts_with(
            "  cargo run --release --features candle --example quickstart -- --form reversed"
        ) && advice.contains("stopped it'\\''s'")
            && advice.ends_with(" --resume"),
        "{advice}"
    );
    let mut lines = 0;
    for (name, content) in files(&stopped) {
        if name.contains(".jsonl") {
            for line in content.lines() {
                serde_json::from_str::<Value>(line).unwrap();
                lines += 1;
            }
        }
    }
    assert_eq!(lines, count, "every outcome is in one file");

    let resumed = run(&stopped, &[&short[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
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
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(ids(&from_csv), ["a"]);

    let from_folder = dir.path().join("2");
    let output = run(&from_folder, &["--input", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(ids(&from_folder), ["a"]);

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

    let wrong = dir.path().join("4");
    let output = run(&wrong, &["--input", csv]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!("error: {csv}:1: no column text; there are: no, body\n")
    );
    assert!(!wrong.exists(), "nothing was begun");
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
        // The client goes away in the middle.
        let _ = connection.write_all(&vec![7; size]);
    });
    let dir = tempfile::tempdir().unwrap();
    // Files of at most 512 KiB, and an error instead of a signal: what a full disk does, without filling one.
    let script = "ulimit -f 1024; trap '' XFSZ; exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(quickstart())
        .args(["--model", "hf:owner/repo/model.gguf@v1", "--cache"])
        .arg(dir.path().join("cache"))
        .arg("--output")
        .arg(dir.path().join("out"))
        .env("HF_ENDPOINT", endpoint)
        .output()
        .unwrap();
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    let error = error.lines().last().unwrap();
    assert!(
        error.starts_with(&format!("error: {}", dir.path().join("cache").display()))
            && error.ends_with(": File too large (os error 27)"),
        "{error}"
    );
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
