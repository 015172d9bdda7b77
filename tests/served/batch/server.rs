//! The batch endpoints, in memory. What a request says decides what becomes of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::channel::mpsc;
use safer_instruct::backends::openai::Server as Kind;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::CANARY;

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Upload,
    Create,
    Get,
    List,
    Content,
    Cancel,
}

/// What the server does with a call, in place of answering it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers with a status and does nothing.
    Refuses(u16),
    /// Does it, and answers that it is busy.
    DoesAndForgets,
    /// Does it and never answers.
    DoesAndHangs,
}

struct Batch {
    id: String,
    file: String,
    endpoint: String,
    metadata: Value,
    status: &'static str,
    errors: Value,
    polls: u32,
    output: Option<String>,
    failures: Option<String>,
}

#[derive(Default)]
pub(crate) struct State {
    files: BTreeMap<String, Vec<u8>>,
    batches: Vec<Batch>,
    /// How often each request was asked for.
    asked: HashMap<String, u32>,
    billed: HashSet<String>,
    pub(crate) calls: Vec<Call>,
    /// What is wrong with the next calls of a kind, in turn.
    pub(crate) faults: Vec<(Call, Fault)>,
    /// Codes with which the next batches fail as a whole.
    pub(crate) failing: Vec<&'static str>,
    /// How often a batch is asked after before it is done.
    pub(crate) polls: u32,
    /// The status that batches end with.
    pub(crate) ends: Option<&'static str>,
    /// What stands before the answers of a batch.
    pub(crate) noise: Vec<u8>,
    /// What the server lists in place of its batches, with more to come on every page.
    pub(crate) endless: Option<fn(usize) -> Value>,
    /// Seconds that a refusal asks for.
    pub(crate) retry_after: u32,
    /// Requests that were paid for twice, or were in two batches at a time.
    pub(crate) twice: Vec<String>,
    told: Option<mpsc::UnboundedSender<Call>>,
}

pub(crate) struct Server {
    mock: MockServer,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let mock = MockServer::start().await;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        Mock::given(any())
            .respond_with(move |request: &Request| shared.lock().unwrap().answer(request))
            .mount(&mock)
            .await;
        Self { mock, state }
    }

    pub(crate) fn base(&self) -> String {
        format!("{}/v1", self.mock.uri())
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Receives every call that hangs.
    pub(crate) fn hangs(&self) -> mpsc::UnboundedReceiver<Call> {
        let (sender, receiver) = mpsc::unbounded();
        self.state().told = Some(sender);
        receiver
    }

    pub(crate) fn count(&self, call: Call) -> usize {
        self.state()
            .calls
            .iter()
            .filter(|made| **made == call)
            .count()
    }

    /// How many requests each batch has, and that none is paid for twice.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let state = self.state();
        assert!(state.twice.is_empty(), "{:?}", state.twice);
        let batches = state.batches.iter();
        batches.map(|batch| state.requests(batch).len()).collect()
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        let state = self.state();
        let batches = state.batches.iter();
        batches.map(|batch| batch.endpoint.clone()).collect()
    }
}

fn json_answer(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn refusal(status: u16) -> ResponseTemplate {
    // As servers do that quote what they are given.
    ResponseTemplate::new(status)
        .set_body_json(json!({"error": {"message": format!("no: {CANARY}")}}))
}

impl State {
    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let key = request.headers.get("authorization");
        assert_eq!(key.unwrap(), format!("Bearer {CANARY}").as_str());
        let path: Vec<&str> = request.url.path().split('/').skip(2).collect();
        let call = match (request.method.as_str(), path.as_slice()) {
            ("POST", ["files"]) => Call::Upload,
            ("POST", ["batches"]) => Call::Create,
            ("GET", ["batches"]) => Call::List,
            ("GET", ["batches", _]) => Call::Get,
            ("GET", ["files", _, "content"]) => Call::Content,
            ("POST", ["batches", _, "cancel"]) => Call::Cancel,
            _ => return refusal(404),
        };
        self.calls.push(call);
        let fault = self.faults.iter().position(|(at, _)| *at == call);
        let fault = fault.map(|at| self.faults.remove(at).1);
        if let Some(Fault::Refuses(status)) = fault {
            let refusal = refusal(status);
            return match self.retry_after {
                0 => refusal,
                wait => refusal.insert_header("retry-after", wait.to_string().as_str()),
            };
        }
        let answer = match (call, path.get(1)) {
            (Call::Upload, _) => self.upload(request),
            (Call::Create, _) => self.create(&serde_json::from_slice(&request.body).unwrap()),
            (Call::List, _) => self.list(request),
            (Call::Get, Some(id)) => self.get(id),
            (Call::Cancel, Some(id)) => self.cancel(id),
            (Call::Content, Some(id)) => match self.files.get(*id) {
                Some(file) => ResponseTemplate::new(200).set_body_bytes(file.clone()),
                None => refusal(404),
            },
            _ => unreachable!(),
        };
        match fault {
            Some(Fault::DoesAndForgets) => refusal(503),
            Some(Fault::DoesAndHangs) => {
                if let Some(told) = &self.told {
                    told.unbounded_send(call).unwrap();
                }
                answer.set_delay(Duration::from_secs(3600))
            }
            _ => answer,
        }
    }

    fn upload(&mut self, request: &Request) -> ResponseTemplate {
        let kind = request.headers["content-type"].to_str().unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let body = String::from_utf8(request.body.clone()).unwrap();
        let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
        let [_, purpose, file, end] = parts.as_slice() else {
            panic!("{} parts", parts.len());
        };
        assert!(purpose.ends_with("name=\"purpose\"\r\n\r\nbatch\r\n"));
        assert_eq!(*end, "--\r\n");
        let (_, file) = file.split_once("\r\n\r\n").unwrap();
        let file = file.strip_suffix("\r\n").unwrap();
        let id = format!("file-{}", self.files.len());
        self.files.insert(id.clone(), file.as_bytes().to_vec());
        json_answer(json!({"id": id, "object": "file", "bytes": file.len(), "purpose": "batch"}))
    }

    fn requests(&self, batch: &Batch) -> Vec<Value> {
        let lines = self.files[&batch.file].split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn create(&mut self, body: &Value) -> ResponseTemplate {
        assert_eq!(body["completion_window"], "24h");
        let code = (!self.failing.is_empty()).then(|| self.failing.remove(0));
        let batch = Batch {
            id: format!("batch_{}", self.batches.len()),
            file: body["input_file_id"].as_str().unwrap().to_owned(),
            endpoint: body["endpoint"].as_str().unwrap().to_owned(),
            metadata: body["metadata"].clone(),
            status: if code.is_some() { "failed" } else { "in_progress" },
            errors: code.map_or(Value::Null, |code| {
                json!({"object": "list", "data": [{"code": code, "message": "The kettle sings.", "line": null}]})
            }),
            polls: 0,
            output: None,
            failures: None,
        };
        let running: HashSet<String> = self
            .batches
            .iter()
            .filter(|batch| batch.status == "in_progress")
            .flat_map(|batch| self.requests(batch))
            .map(|request| request["custom_id"].as_str().unwrap().to_owned())
            .collect();
        let mut seen = HashSet::new();
        for request in self.requests(&batch) {
            assert_eq!(request["url"], batch.endpoint.as_str());
            assert_eq!(request["method"], "POST");
            let id = request["custom_id"].as_str().unwrap().to_owned();
            if running.contains(&id) || self.billed.contains(&id) || !seen.insert(id.clone()) {
                self.twice.push(id);
            }
        }
        let answer = shown(&batch);
        self.batches.push(batch);
        json_answer(answer)
    }

    fn list(&self, request: &Request) -> ResponseTemplate {
        if let Some(page) = self.endless {
            let page = page(
                self.calls
                    .iter()
                    .filter(|call| **call == Call::List)
                    .count(),
            );
            return json_answer(json!({"object": "list", "data": page, "has_more": true}));
        }
        let query: HashMap<_, _> = request.url.query_pairs().into_owned().collect();
        let limit: usize = query["limit"].parse().unwrap();
        let mut batches: Vec<Value> = self.batches.iter().rev().map(shown).collect();
        if let Some(after) = query.get("after") {
            let at = batches
                .iter()
                .position(|batch| batch["id"] == after.as_str());
            batches.drain(..=at.unwrap());
        }
        let has_more = batches.len() > limit;
        batches.truncate(limit);
        json_answer(json!({"object": "list", "data": batches, "has_more": has_more}))
    }

    fn get(&mut self, id: &str) -> ResponseTemplate {
        let Some(at) = self.batches.iter().position(|batch| batch.id == id) else {
            return refusal(404);
        };
        self.batches[at].polls += 1;
        if self.batches[at].polls > self.polls && self.batches[at].status == "in_progress" {
            self.complete(at);
        }
        json_answer(shown(&self.batches[at]))
    }

    fn cancel(&mut self, id: &str) -> ResponseTemplate {
        let at = self
            .batches
            .iter()
            .position(|batch| batch.id == id)
            .unwrap();
        self.batches[at].status = "cancelling";
        json_answer(shown(&self.batches[at]))
    }

    fn complete(&mut self, at: usize) {
        let (mut output, mut failures) = (self.noise.clone(), Vec::new());
        for request in self.requests(&self.batches[at]) {
            let id = request["custom_id"].as_str().unwrap();
            let asked = self.asked.entry(id.to_owned()).or_default();
            *asked += 1;
            let row = row(&request, *asked);
            let file = if row
                .as_ref()
                .is_some_and(|row| row["response"]["status_code"] == 200)
            {
                self.billed.insert(id.to_owned());
                &mut output
            } else {
                &mut failures
            };
            if let Some(row) = row {
                file.extend(serde_json::to_vec(&row).unwrap());
                file.push(b'\n');
            }
        }
        for (file, kind) in [(output, "output"), (failures, "errors")] {
            if file.is_empty() {
                continue;
            }
            let id = format!("file-{kind}-{at}");
            self.files.insert(id.clone(), file);
            if kind == "output" {
                self.batches[at].output = Some(id);
            } else {
                self.batches[at].failures = Some(id);
            }
        }
        self.batches[at].status = self.ends.unwrap_or("completed");
    }
}

fn shown(batch: &Batch) -> Value {
    json!({
        "id": batch.id, "object": "batch", "endpoint": batch.endpoint, "input_file_id": batch.file, "completion_window": "24h",
        "status": batch.status, "output_file_id": batch.output, "error_file_id": batch.failures, "errors": batch.errors,
        "request_counts": {"total": 1, "completed": 0, "failed": 0}, "metadata": batch.metadata, "created_at": 1,
    })
}

/// What becomes of a request when it is asked for the n-th time: `<what> <until> …` goes well at the `until`-th time.
fn row(request: &Value, asked: u32) -> Option<Value> {
    let body = &request["body"];
    let words = body["prompt"]
        .as_str()
        .or(body["messages"][0]["content"].as_str());
    let words = words.unwrap_or_default();
    let (what, rest) = words.split_once(' ').unwrap_or_default();
    let until = rest
        .split(' ')
        .next()
        .and_then(|until| until.parse().ok())
        .unwrap_or(0_u32);
    let is_well = asked >= until;
    let status = |status: u16, body: Value| json!({"response": {"status_code": status, "request_id": "r", "body": body}, "error": null});
    let mut row = match what {
        "missing" if !is_well => return None,
        "expired" if !is_well => {
            json!({"response": null, "error": {"code": "batch_expired", "message": "not in time"}})
        }
        "busy" if !is_well => status(
            503,
            json!({"error": {"message": format!("busy with: {words}")}}),
        ),
        "refused" => status(
            400,
            json!({"error": {"message": format!("no: {words}"), "code": "bad"}}),
        ),
        "locked" if !is_well => status(401, json!({"error": {"message": "no key"}})),
        "say" | "missing" | "expired" | "busy" | "locked" => {
            let choice =
                json!({"message": {"content": words}, "text": words, "finish_reason": "stop"});
            status(
                200,
                json!({"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}),
            )
        }
        _ => status(200, crate::scripted::completion(Kind::Other, body)),
    };
    row["id"] = "row".into();
    row["custom_id"] = request["custom_id"].clone();
    Some(row)
}
