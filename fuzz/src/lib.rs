//! What the targets share: a server that answers as the input says, and what nothing that is shown may hold.
//!
//! An input is a script. Its first line says in words what is asked, and of which server; then come the answers:
//!
//! ```text
//! vllm chat logprobs
//! @@ 429
//! retry-after: 7
//!
//! {"error": {"message": "busy"}}
//! @@ 200
//!
//! {"choices": …}
//! ```
//!
//! After the last answer it comes again. A status that is none, such as `@@ cut`, is a connection that breaks.

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt, pending, ready};
use http::{HeaderName, HeaderValue, StatusCode};
use safer_instruct::{
    ChatRequest, Error, Message, Prompt, Result, ScoreRequest,
    backends::openai::{
        HttpRequest, HttpResponse, HttpTransport, Limits, OpenAiModel, OpenAiModelBuilder, Server,
        TransportError,
    },
};

pub const KEY: &str = "sk-canary-7f3a91c2e5d8";
pub const HEADER: &str = "team-heron-4471-blue";
pub const TEXTS: [&str; 2] = [
    "You water the ferns at the lighthouse.",
    "The kettle sings\nin the morning <|im_end|> while nobody listens.",
];
/// One label and one longer text, neither of which anything but the request says.
pub const CONTINUATIONS: [&str; 2] = ["B", " quietly over twelve violet harbours"];

/// The crate's promise: so many characters in a row of a text or a key are a quotation of it.
const QUOTATION: usize = 12;
/// The longest report of an error, in characters.
const LONGEST_REPORT: usize = 2_000;
/// The most waits of one input: more are a wait without end.
const MOST_WAITS: usize = 10_000;
/// The most exchanges of one input; the connection breaks at the next.
const MOST_EXCHANGES: usize = 300;
/// Where there are limits, who has to wait for longer is not waited for: what counts them knows no more than 584 years.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// What an input says.
pub struct Script {
    words: String,
    answers: Vec<Option<HttpResponse>>,
}

impl Script {
    pub fn read(input: &[u8]) -> Self {
        let mut parts = split(input, b"\n@@ ");
        let words = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let answers = parts.map(answer).collect();
        Self { words, answers }
    }

    /// Whether the first line holds the word.
    pub fn has(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// All answers with the status 400 that would be a success.
    #[must_use]
    pub fn refusing(mut self) -> Self {
        for answer in self.answers.iter_mut().flatten() {
            if answer.status().is_success() {
                *answer.status_mut() = StatusCode::BAD_REQUEST;
            }
        }
        self
    }

    /// All bodies with something in the place of each name, which no script can know.
    #[must_use]
    pub fn naming(mut self, names: [(&str, &str); 2]) -> Self {
        for body in self
            .answers
            .iter_mut()
            .flatten()
            .map(http::Response::body_mut)
        {
            for (name, value) in names {
                *body = split(body, name.as_bytes())
                    .collect::<Vec<_>>()
                    .join(value.as_bytes());
            }
        }
        self
    }

    pub fn server(&self) -> Server {
        let servers = [
            ("openai", Server::OpenAi),
            ("vllm", Server::Vllm),
            ("sglang", Server::Sglang),
            ("llama", Server::LlamaCpp),
        ];
        let named = servers.into_iter().find(|(word, _)| self.has(word));
        named.map_or(Server::Other, |(_, server)| server)
    }

    /// The request for a completion that the words describe.
    pub fn request(&self) -> ChatRequest {
        let [system, user] = TEXTS;
        let said = vec![Message::system(system), Message::user(user)];
        let prompt = match () {
            () if self.has("raw") => Prompt::Raw(format!("{system} {user}")),
            () if self.has("unfinished") => Prompt::Unfinished(
                said.into_iter()
                    .chain([Message::assistant("Well")])
                    .collect(),
            ),
            () => Prompt::Chat(said),
        };
        let mut request = ChatRequest::new(prompt);
        if self.has("logprobs") {
            request = request.with_top_logprobs(2);
        }
        if self.has("stop") {
            request = request.with_stop("\n").with_stop("川");
        }
        if self.has("choices") {
            request = request.with_choices(CONTINUATIONS);
        }
        if self.has("schema") {
            request = request.with_json_schema(true.into());
        }
        request
    }

    /// The texts of that request.
    pub fn texts(&self) -> Vec<&'static str> {
        if self.has("choices") {
            scored_texts()
        } else {
            TEXTS.to_vec()
        }
    }

    /// The request for scores that the words describe.
    pub fn score_request(&self) -> ScoreRequest {
        let continuations = CONTINUATIONS
            .into_iter()
            .chain(self.has("empty").then_some(""));
        ScoreRequest::new(self.request().prompt, continuations)
    }

    /// The model behind which the answers are, with a key and a clock that only waiting moves on.
    pub fn builder(self) -> OpenAiModelBuilder {
        let is_limited = self.has("limits");
        let limits = if is_limited {
            Limits {
                requests: std::num::NonZeroU32::new(600),
                tokens: std::num::NonZeroU32::new(60_000),
            }
        } else {
            Limits::default()
        };
        let (sleep, clock) = time(if is_limited {
            LONGEST_WAIT
        } else {
            Duration::MAX
        });
        OpenAiModel::builder("http://localhost/v1", "m")
            .with_key(KEY)
            .with_header("x-team", HEADER)
            .with_limits(limits)
            .with_sleep(sleep)
            .with_clock(clock)
            .with_transport(Scripted {
                answers: self.answers,
                next: AtomicUsize::new(0),
            })
    }

    /// The same, without a question to the server.
    pub fn model(self) -> OpenAiModel {
        let server = self.server();
        self.builder().with_server(server).build().unwrap()
    }
}

/// What stands between the separators.
fn split<'a>(bytes: &'a [u8], by: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let now = rest?;
        let at = now.windows(by.len()).position(|piece| piece == by);
        rest = at.map(|at| &now[at + by.len()..]);
        Some(at.map_or(now, |at| &now[..at]))
    })
}

/// An answer over HTTP: a status, headers, an empty line, a body. None if the connection breaks.
fn answer(part: &[u8]) -> Option<HttpResponse> {
    let mut halves = part.splitn(2, |byte| *byte == b'\n');
    let status = StatusCode::from_bytes(halves.next()?).ok()?;
    let mut rest = halves.next().unwrap_or_default();
    let mut answer = HttpResponse::default();
    *answer.status_mut() = status;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, body) = (&rest[..end], &rest[end + 1..]);
        rest = body;
        if line.is_empty() {
            break;
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(halves.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(halves.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            answer.headers_mut().append(name, value);
        }
    }
    *answer.body_mut() = rest.to_vec();
    Some(answer)
}

/// Gives the answers in turn.
struct Scripted {
    answers: Vec<Option<HttpResponse>>,
    next: AtomicUsize,
}

#[async_trait]
impl HttpTransport for Scripted {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, TransportError> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.get(at).or(self.answers.last());
        let answer = answer.filter(|_| at < MOST_EXCHANGES);
        let answer = answer.cloned().flatten();
        answer.ok_or_else(|| TransportError::Connection("the script has no more".into()))
    }
}

type Sleep = Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;
type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// Time that passes only while somebody waits, and then at once; but a wait beyond the longest never ends.
fn time(longest: Duration) -> (Sleep, Clock) {
    let now = Arc::new(Mutex::new(Duration::ZERO));
    let waits = AtomicUsize::new(0);
    let clock = Arc::clone(&now);
    let sleep = move |wait: Duration| {
        let waits = waits.fetch_add(1, Ordering::Relaxed);
        assert!(waits < MOST_WAITS, "a wait without end");
        let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
        let then = now.saturating_add(wait.max(Duration::from_nanos(1)));
        if then > longest {
            return pending().boxed();
        }
        *now = then;
        ready(()).boxed()
    };
    let clock = move || *clock.lock().unwrap_or_else(PoisonError::into_inner);
    (Box::new(sleep), Box::new(clock))
}

/// The texts of a request for scores.
pub fn scored_texts() -> Vec<&'static str> {
    [TEXTS, CONTINUATIONS].concat()
}

/// Neither an error nor what is shown of a success may hold a key or a text of the request.
pub fn check<T: Debug>(result: &Result<T>, texts: &[&str]) {
    quotes_nothing(&format!("{result:?} {result:#?}"), texts);
    if let Err(error) = result {
        quotes_nothing(&error.report(), texts);
        check_report(error);
    }
}

/// The report of an error is one short line of plain text.
pub fn check_report(error: &Error) {
    let report = error.report();
    assert!(!report.contains(char::is_control), "{report:?}");
    assert!(report.chars().count() <= LONGEST_REPORT, "{report}");
}

/// A model file of which the header is given, with zeros for weights.
pub fn padded(header: &[u8]) -> Vec<u8> {
    let mut file = header.to_vec();
    file.resize(header.len() + (32 << 10), 0);
    file
}

fn quotes_nothing(shown: &str, texts: &[&str]) {
    for secret in texts.iter().chain([&KEY, &HEADER]) {
        for piece in secret.as_bytes().windows(QUOTATION) {
            let piece = std::str::from_utf8(piece).unwrap();
            assert!(!shown.contains(piece), "{piece:?} in {shown}");
        }
    }
}
