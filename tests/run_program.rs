//! The example that users of a served model run first, as a process beside a scripted server.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

const CANARY: &str = "sk-canary-20f6c8a1d4";

/// `cargo test` builds the examples beside the tests.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/run");
    assert!(
        path.exists(),
        "{path:?} is not there: `cargo test --features full` builds it"
    );
    path
}

async fn run(folder: &Path, key: &str, words: &[&str]) -> Output {
    let mut command = Command::new(program());
    command
        .arg("--folder")
        .arg(folder)
        .args(words)
        .env("OPENAI_API_KEY", key)
        .stdin(Stdio::null());
    // The server answers on this runtime meanwhile.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    for said in [&output.stdout, &output.stderr] {
        assert!(
            !String::from_utf8_lossy(said).contains("canary"),
            "the key is shown"
        );
    }
    output
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asks back, answers, and finds the kind answer better.
fn answer(request: &Request) -> ResponseTemplate {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let asked = body["messages"].to_string();
    let text = if asked.contains("Verdict: TIE") {
        let place = asked.find("Keep at it").unwrap() < asked.find("Answer B").unwrap();
        if place { "Verdict: A" } else { "Verdict: B" }
    } else if asked.contains("How would I") {
        "Keep at it: nobody is born with it, and the first weeks are the hardest."
    } else {
        "How would I learn to play the piano?"
    };
    ResponseTemplate::new(200).set_body_json(json!({
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }))
}

/// A server of the model `m` that takes one key, while it takes any.
async fn server(open: Arc<AtomicBool>) -> MockServer {
    let server = MockServer::start().await;
    let lets_in = move |request: &Request| {
        let key = request
            .headers
            .get("authorization")
            .map(|key| key.to_str().unwrap().to_owned());
        key.as_deref() == Some(&format!("Bearer {CANARY}")) && open.load(Ordering::SeqCst)
    };
    let refused =
        || ResponseTemplate::new(401).set_body_json(json!({"error": {"message": "invalid key"}}));
    let (one, other) = (lets_in.clone(), lets_in);
    Mock::given(method("GET"))
        .and(path("/v1/models"))
        .respond_with(move |request: &Request| {
            if one(request) {
                ResponseTemplate::new(200)
                    .set_body_json(json!({"data": [{"id": "m", "owned_by": "me"}]}))
            } else {
                refused()
            }
        })
        .mount(&server)
        .await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(move |request: &Request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            if !other(request) {
                refused()
            } else if body["model"] == "m" {
                answer(request)
            } else {
                ResponseTemplate::new(404).set_body_json(json!({"error": {"message": "The model `n` does not exist or you do not have access to it.", "type": "invalid_request_error", "param": null, "code": "model_not_found"}}))
            }
        })
        .mount(&server)
        .await;
    server
}

fn texts(folder: &Path, count: usize) -> String {
    let path = folder.join("texts.jsonl");
    let lines = (0..count).map(|n| {
        format!(
            "{}\n",
            json!({"text": format!("You will never learn to play it, number {n}.")})
        )
    });
    fs::write(&path, lines.collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_makes_pairs_and_the_others_look_at_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let server = server(Arc::new(AtomicBool::new(true))).await;
    let base = format!("{}/v1", server.uri());
    let input = texts(dir.path(), 3);
    let start = [
        "start",
        "--base-url",
        &base,
        "--model",
        "m",
        "--input",
        &input,
        "--price-read",
        "1",
        "--price-written",
        "2",
    ];
    let output = run(&folder, CANARY, &start).await;
    assert!(output.status.success(), "{}", said(&output));
    let pairs = fs::read_to_string(folder.join("out/pairs.jsonl")).unwrap();
    // All three have the same answer, so two of the pairs repeat the first.
    let first: Value = serde_json::from_str(pairs.lines().next().unwrap()).unwrap();
    assert_eq!(first["prompt"], "How would I learn to play the piano?");
    assert!(first["chosen"].as_str().unwrap().starts_with("Keep at it"));
    assert_eq!(
        first["rejected"],
        "You will never learn to play it, number 0."
    );

    let output = run(&folder, CANARY, &["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&status["complete"], &status["failed"]),
        (&json!(true), &json!(0))
    );
    let requests = status["spent"]["requests"].as_u64().unwrap();
    assert_eq!(status["spent"]["money"], requests * 120);
    // Two of the server's requests were before the run: the list of models and a greeting.
    let asked = server.received_requests().await.unwrap().len() as u64;
    assert_eq!(asked, requests + 2);

    // Nothing is left to do, and nothing is asked but whether the server is there.
    let output = run(&folder, CANARY, &["resume"]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        server.received_requests().await.unwrap().len() as u64,
        asked + 2
    );
    assert_eq!(
        fs::read_to_string(folder.join("out/pairs.jsonl")).unwrap(),
        pairs
    );
    let again = run(&folder, CANARY, &start).await;
    assert!(
        said(&again).contains("holds a run already"),
        "{}",
        said(&again)
    );

    for entry in [folder.clone(), folder.join("out")] {
        for file in fs::read_dir(entry)
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file())
        {
            let bytes = fs::read(&file).unwrap();
            assert!(
                !bytes.windows(9).any(|nine| nine == b"sk-canary"),
                "{}",
                file.display()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_before_a_run_begins() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let server = server(Arc::new(AtomicBool::new(true))).await;
    let base = format!("{}/v1", server.uri());
    for (key, base, model, more, says) in [
        (
            "sk-canary-wrong",
            base.as_str(),
            "m",
            &[][..],
            "does not accept the key",
        ),
        (CANARY, base.as_str(), "n", &[], "its list has no n, but m"),
        (
            CANARY,
            &server.uri(),
            "m",
            &[],
            "the base URL mostly ends in /v1",
        ),
        (
            CANARY,
            "http://127.0.0.1:9/v1",
            "m",
            &[],
            "Connection refused",
        ),
        (CANARY, "127.0.0.1:9", "m", &[], "must begin with http"),
        (
            CANARY,
            base.as_str(),
            "m",
            &["--judge", "likelihood"],
            "gives no scores of given answers",
        ),
        (
            CANARY,
            base.as_str(),
            "m",
            &["--input", "nowhere.jsonl"],
            "nowhere.jsonl",
        ),
        (
            CANARY,
            base.as_str(),
            "m",
            &["--input", "-"],
            "standard input can be read only once",
        ),
        (
            CANARY,
            base.as_str(),
            "m",
            &["--field", "effort=low"],
            "is not NAME=JSON",
        ),
    ] {
        let words = [&["start", "--base-url", base, "--model", model], more].concat();
        let output = run(&folder, key, &words).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(says), "{}", said(&output));
        assert!(!folder.exists(), "{says}: a folder was made");
    }
    let output = run(&folder, CANARY, &["resume"]).await;
    assert!(said(&output).contains("holds no run"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_ends_a_run_and_a_larger_one_lets_it_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let server = server(Arc::new(AtomicBool::new(true))).await;
    let base = format!("{}/v1", server.uri());
    let input = texts(dir.path(), 20);
    let start = [
        "start",
        "--base-url",
        &base,
        "--model",
        "m",
        "--input",
        &input,
        "--concurrency",
        "2",
    ];
    let output = run(
        &folder,
        CANARY,
        &[&start[..], &["--budget-requests", "10"]].concat(),
    )
    .await;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let output = run(&folder, CANARY, &["resume"]).await;
    assert!(output.status.success(), "{}", said(&output));
    let whole = dir.path().join("whole");
    let output = run(&whole, CANARY, &start).await;
    assert!(output.status.success(), "{}", said(&output));
    for file in ["pairs.jsonl", "dropped.jsonl", "failed.jsonl"] {
        let [a, b] =
            [&folder, &whole].map(|folder| fs::read(folder.join("out").join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_failed_under_an_expired_key_are_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let open = Arc::new(AtomicBool::new(true));
    let server = server(Arc::clone(&open)).await;
    let base = format!("{}/v1", server.uri());
    let input = texts(dir.path(), 4);
    // Expires with the first judgement.
    let expiring = Arc::clone(&open);
    Mock::given(path("/v1/chat/completions"))
        .and(move |request: &Request| {
            String::from_utf8_lossy(&request.body).contains("Verdict: TIE")
        })
        .respond_with(move |_: &Request| {
            expiring.store(false, Ordering::SeqCst);
            ResponseTemplate::new(401)
        })
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&server)
        .await;
    let start = [
        "start",
        "--base-url",
        &base,
        "--model",
        "m",
        "--input",
        &input,
    ];
    let output = run(&folder, CANARY, &start).await;
    assert!(
        said(&output).contains("this tries them again"),
        "{}",
        said(&output)
    );
    let failed = fs::read_to_string(folder.join("out/failed.jsonl")).unwrap();
    assert!(failed.contains("does not accept the key"), "{failed}");
    open.store(true, Ordering::SeqCst);
    let output = run(&folder, CANARY, &["retry"]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        fs::read_to_string(folder.join("out/failed.jsonl")).unwrap(),
        ""
    );
    assert!(
        !fs::read_to_string(folder.join("out/pairs.jsonl"))
            .unwrap()
            .is_empty()
    );
}
