//! Runs with a served model, beside a scripted server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

use crate::process::{Running, files, outcomes, program, said, stopped_after, text};

const CANARY: &str = "sk-canary-20f6c8a1d4";

/// The program beside the server, which answers on this runtime meanwhile.
async fn run(key: &str, words: &[&str]) -> Output {
    let mut command = program(words);
    command.env("OPENAI_API_KEY", key);
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

/// Induces a question, answers it, or judges that the kind answer is better.
fn answer(request: &Request) -> ResponseTemplate {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let asked = body["messages"].to_string();
    let text = if asked.contains("Safety: Safe, Unsafe or Controversial") {
        if asked.contains("You will never learn") {
            "Safety: Unsafe\nCategories: hate\nRefusal: No"
        } else {
            "Safety: Safe\nCategories: None\nRefusal: No"
        }
    } else if asked.contains("Verdict: TIE") {
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
    let at = folder.to_str().unwrap();
    let server = server(Arc::new(AtomicBool::new(true))).await;
    let base = format!("{}/v1", server.uri());
    let input = texts(dir.path(), 3);
    let start = [
        "run",
        "--output",
        at,
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
    let output = run(CANARY, &start).await;
    assert!(output.status.success(), "{}", said(&output));
    let pairs = fs::read_to_string(folder.join("pairs.jsonl")).unwrap();
    // All three have the same answer, so two of the pairs repeat the first.
    let first: Value = serde_json::from_str(pairs.lines().next().unwrap()).unwrap();
    assert_eq!(first["prompt"], "How would I learn to play the piano?");
    assert!(first["chosen"].as_str().unwrap().starts_with("Keep at it"));
    assert_eq!(
        first["rejected"],
        "You will never learn to play it, number 0."
    );

    let output = run(CANARY, &["status", "--json", at]).await;
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
    let output = run(CANARY, &["resume", at]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        server.received_requests().await.unwrap().len() as u64,
        asked + 2
    );
    assert_eq!(
        fs::read_to_string(folder.join("pairs.jsonl")).unwrap(),
        pairs
    );
    let again = run(CANARY, &start).await;
    assert!(
        said(&again).contains("holds a run already"),
        "{}",
        said(&again)
    );

    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let holds_key = bytes.windows(9).any(|nine| nine == b"sk-canary");
        assert!(!holds_key, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_before_a_run_begins() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let at = folder.to_str().unwrap();
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
    ] {
        let input = if more.contains(&"--input") {
            &[][..]
        } else {
            &["--demo"]
        };
        let start = ["run", "--output", at, "--base-url", base, "--model", model];
        let words = [&start, input, more].concat();
        let output = run(key, &words).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(says), "{}", said(&output));
        assert!(!folder.exists(), "{says}: a folder was made");
    }
    let output = run(CANARY, &["resume", at]).await;
    assert!(said(&output).contains("holds no run"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_ends_a_run_and_a_larger_one_lets_it_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let at = folder.to_str().unwrap();
    let server = server(Arc::new(AtomicBool::new(true))).await;
    let base = format!("{}/v1", server.uri());
    let input = texts(dir.path(), 20);
    let start = [
        "run",
        "--output",
        at,
        "--base-url",
        &base,
        "--model",
        "m",
        "--input",
        &input,
        "--concurrency",
        "2",
    ];
    let with_budget = [&start[..], &["--budget-requests", "10"]].concat();
    let output = run(CANARY, &with_budget).await;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let advice = format!("safer-instruct resume {at} --budget-requests …");
    assert!(printed.contains(&advice), "{printed}");
    // A budget holds until another one is given.
    let output = run(CANARY, &["resume", at]).await;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let output = run(CANARY, &["resume", at, "--budget-requests", "1000"]).await;
    assert!(output.status.success(), "{}", said(&output));
    let whole = dir.path().join("whole");
    let start = start.map(|word| {
        if word == at {
            whole.to_str().unwrap()
        } else {
            word
        }
    });
    let output = run(CANARY, &start).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(files(&folder), files(&whole));
}

/// The answer to the third text does not come while this is set.
#[derive(Clone, Default)]
struct Held(Arc<AtomicBool>);

impl Held {
    fn set(&self, held: bool) {
        self.0.store(held, Ordering::SeqCst);
    }

    async fn mount(&self, server: &MockServer) {
        let held = self.clone();
        Mock::given(path("/v1/chat/completions"))
            .and(|request: &Request| String::from_utf8_lossy(&request.body).contains("number 2."))
            .respond_with(move |request: &Request| {
                let answer = answer(request);
                if held.0.load(Ordering::SeqCst) {
                    answer.set_delay(Duration::from_secs(3_600))
                } else {
                    answer
                }
            })
            .with_priority(1)
            .mount(server)
            .await;
    }
}

/// A run of 30 texts that is asked for one by one.
struct Long {
    _dir: tempfile::TempDir,
    server: MockServer,
    held: Held,
    base: String,
    input: String,
    whole: PathBuf,
    other: PathBuf,
    /// Requests that an undisturbed run makes, beside two that each session begins with.
    needed: usize,
}

impl Long {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = server(Arc::new(AtomicBool::new(true))).await;
        let held = Held::default();
        held.mount(&server).await;
        let mut long = Self {
            base: format!("{}/v1", server.uri()),
            input: texts(dir.path(), 30),
            whole: dir.path().join("whole"),
            other: dir.path().join("other"),
            _dir: dir,
            server,
            held,
            needed: 0,
        };
        let command = long.start(&long.whole);
        let output = blocking(|| Running::start(command).end()).await;
        assert!(output.status.success(), "{}", said(&output));
        long.needed = long.requests().await - 2;
        long
    }

    fn start(&self, folder: &Path) -> Command {
        let mut command = program(["run", "--model", "m", "--concurrency", "1"]);
        command
            .args(["--base-url", &self.base, "--input", &self.input, "--output"])
            .arg(folder)
            .env("OPENAI_API_KEY", CANARY);
        command
    }

    async fn requests(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ctrl_c_nothing_that_was_answered_is_asked_again() {
    let long = Long::new().await;
    long.held.set(true);
    let mut command = long.start(&long.other);
    // No time to end, because an answer that is held back never comes.
    command.args(["--drain", "0"]);
    let output = blocking(|| {
        let mut running = Running::start(command);
        running.wait_for("2 of 30 outcomes");
        running.interrupt();
        running.wait_for("stopping after the texts in work");
        running.end()
    })
    .await;
    long.held.set(false);
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    let (count, advice) = stopped_after(&output);
    assert_eq!((count, outcomes(&long.other)), (2, 2));
    let words: Vec<&str> = advice.split(' ').skip(1).collect();
    let output = run(CANARY, &words).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(files(&long.other), files(&long.whole));
    let sessions = 3;
    assert!(long.requests().await <= 2 * long.needed + 1 + 2 * sessions);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_goes_on_and_pays_again_for_nothing_but_what_was_in_flight() {
    let long = Long::new().await;
    long.held.set(true);
    let (command, folder) = (long.start(&long.other), long.other.clone());
    let mut overwrite = long.start(&long.other);
    overwrite.arg("--overwrite");
    blocking(move || {
        let mut running = Running::start(command);
        running.wait_for("2 of 30 outcomes");
        // Other processes may read meanwhile, but only one may work.
        let output = program(["status"]).arg(&folder).output().unwrap();
        let status = text(&output.stdout);
        assert!(status.starts_with("not complete: 2 outcomes"), "{status}");
        let output = program(["export"]).arg(&folder).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(outcomes(&folder), 2);
        let mut other = program(["resume"]);
        let output = other
            .arg(&folder)
            .env("OPENAI_API_KEY", CANARY)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("in use"), "{}", said(&output));
        let output = overwrite.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let refused = "in use by another process";
        assert!(said(&output).contains(refused), "{}", said(&output));
        running.kill();
    })
    .await;
    long.held.set(false);
    let output = run(CANARY, &["resume", long.other.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(files(&long.other), files(&long.whole));
    // Of the third text its first call was in flight.
    let sessions = 5;
    assert!(long.requests().await <= 2 * long.needed + 1 + 2 * sessions);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_may_have_a_model_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let server = server(Arc::new(AtomicBool::new(true))).await;
    let base = format!("{}/v1", server.uri());
    let input = texts(dir.path(), 1);
    let settings = dir.path().join("run.toml");
    let text = format!(
        "[input]\npath = \"texts.jsonl\"\n[model]\nname = \"m\"\nbase_url = \"{base}\"\n[judge]\nmodel = \"n\"\n[output]\nfolder = \"run\"\n"
    );
    fs::write(&settings, text).unwrap();
    let settings = settings.to_str().unwrap();
    let output = run(CANARY, &["run", "--settings", settings]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("its list has no n, but m"),
        "{}",
        said(&output)
    );
    let output = run(
        CANARY,
        &[
            "run",
            "--settings",
            settings,
            "--judge-model",
            "m",
            "--json",
        ],
    )
    .await;
    assert!(output.status.success(), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&summary["end"], &summary["judged"]),
        (&json!("complete"), &json!(1))
    );
    let summary = &summary["summary"];
    assert_eq!(summary["kept"], 1);
    let manifest = &summary["manifest"];
    assert_eq!(manifest["input"], "texts.jsonl");
    assert_eq!(manifest["models"]["judge"]["name"], "m");
    assert_eq!(manifest["profile"]["judge"], "pairwise");
    assert!(input.starts_with(dir.path().to_str().unwrap()) && folder.exists());
}

/// A run of 4 texts whose first judgement is answered with a status, and what it prints. `open` is what the server accepts
/// keys by.
async fn refused(status: u16, folder: &Path, open: &Arc<AtomicBool>) -> (MockServer, Output) {
    let server = server(Arc::clone(open)).await;
    let base = format!("{}/v1", server.uri());
    let input = texts(folder.parent().unwrap(), 4);
    let expiring = Arc::clone(open);
    Mock::given(path("/v1/chat/completions"))
        .and(move |request: &Request| {
            String::from_utf8_lossy(&request.body).contains("Verdict: TIE")
        })
        .respond_with(move |_: &Request| {
            expiring.store(status != 401, Ordering::SeqCst);
            ResponseTemplate::new(status)
        })
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&server)
        .await;
    let at = folder.to_str().unwrap();
    let start = [
        "run",
        "--output",
        at,
        "--base-url",
        &base,
        "--model",
        "m",
        "--input",
        &input,
    ];
    let output = run(CANARY, &start).await;
    (server, output)
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_expires_ends_the_run_which_goes_on_with_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let at = folder.to_str().unwrap();
    let open = Arc::new(AtomicBool::new(true));
    let (_server, output) = refused(401, &folder, &open).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let printed = String::from_utf8(output.stderr).unwrap();
    let last = printed.trim_end().lines().last().unwrap();
    assert!(last.contains("does not accept the key"), "{printed}");
    assert!(
        printed.contains(&format!("safer-instruct resume {at}")),
        "{printed}"
    );

    open.store(true, Ordering::SeqCst);
    let output = run(CANARY, &["resume", at]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(read(&folder, "failed.jsonl"), "");
    assert!(!read(&folder, "pairs.jsonl").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_failed_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let at = folder.to_str().unwrap();
    let open = Arc::new(AtomicBool::new(true));
    let (_server, output) = refused(400, &folder, &open).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    let advice = format!("Try them again with:\n  safer-instruct retry {at}");
    assert!(printed.contains(&advice), "{printed}");
    assert!(read(&folder, "failed.jsonl").contains("cannot serve the request"));
    let output = run(CANARY, &["retry", at]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(read(&folder, "failed.jsonl"), "");
    assert!(!read(&folder, "pairs.jsonl").is_empty());
}
