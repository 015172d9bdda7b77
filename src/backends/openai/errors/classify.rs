//! Classifies answers that are not completions as errors that say what to do.

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{context_overflow::needed_and_limit, redact::quotes, rejected_field};
use crate::{
    backends::openai::http::{headers, transport::HttpResponse},
    error::{Error, Later, Result},
};

/// The most characters of a server's message that an error shows.
const MOST_WORDS: usize = 200;
/// The most characters of it that are searched for quotations, which escapes make longer.
const MOST_SEARCHED: usize = 4 * MOST_WORDS;
/// The message for an answer that was cut off. Reasoning models of OpenAI reject a request whose tokens are used up by
/// reasoning.
const RAN_OUT: &str =
    "its answer was not finished within max_tokens, of which thoughts are a part; allow more";

/// The request that the answer belongs to.
pub(crate) struct Context<'a> {
    /// Model and address, for people.
    pub(crate) backend: &'a str,
    /// Name of the model.
    pub(crate) model: &'a str,
    /// What an error may not repeat: texts of the request, the key, and the values of headers.
    pub(crate) secrets: &'a [&'a str],
    /// Whether a key was sent.
    pub(crate) has_key: bool,
}

impl Context<'_> {
    /// Adds the server's message, if it may be shown.
    fn said(&self, what: &str, words: &str) -> String {
        match shown(words, self.secrets) {
            Some(words) => format!("{what}; it says: {words}"),
            None => what.to_owned(),
        }
    }
}

/// What a server says about an error, in any of the known forms.
struct Said {
    /// Code, type and status, where they are names.
    names: Vec<String>,
    /// The status inside the body.
    status: Option<StatusCode>,
    words: String,
    /// Tokens that are needed, and tokens that the context holds (llama.cpp).
    tokens: Option<(usize, usize)>,
}

impl Said {
    fn of(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let body = within(&body);
        let present = |value: &&Value| !value.is_null();
        // vLLM's until 0.10 has no `error` around it.
        let error = body.get("error").filter(present).unwrap_or(body);
        let field = |name: &str| error.get(name).or_else(|| body.get(name)).filter(present);
        let names: Vec<String> = ["code", "type", "status", "error_type"]
            .iter()
            .filter_map(|name| field(name)?.as_str().map(str::to_owned))
            .collect();
        let number = |name: &str| usize::try_from(field(name)?.as_u64()?).ok();
        let status = ["code", "status"].iter().find_map(|name| {
            let code = field(name)?;
            let code = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
            let code = StatusCode::from_u16(u16::try_from(code).ok()?).ok()?;
            (code.is_client_error() || code.is_server_error()).then_some(code)
        });
        let words = field("message").and_then(Value::as_str).or(error.as_str());
        let words = match words {
            Some(words) => words.to_owned(),
            None => field("detail").map(detail).unwrap_or_default(),
        };
        Self {
            status: status.or_else(|| names.iter().find_map(|name| named(name))),
            words,
            tokens: number("n_prompt_tokens").zip(number("n_ctx")),
            names,
        }
    }

    fn is(&self, name: &str) -> bool {
        self.names.iter().any(|mine| mine == name)
    }
}

/// Gemini puts errors into a list of one.
fn within(body: &Value) -> &Value {
    body.get(0).unwrap_or(body)
}

/// FastAPI gives a text, or a list of what is wrong where.
fn detail(detail: &Value) -> String {
    let Some(faults) = detail.as_array() else {
        return detail.as_str().unwrap_or_default().to_owned();
    };
    let faults = faults.iter().filter_map(|fault| {
        let what = fault.get("msg")?.as_str()?;
        let place = fault.get("loc").and_then(Value::as_array);
        let place: Vec<String> = place
            .into_iter()
            .flatten()
            .map(|step| {
                step.as_str()
                    .map_or_else(|| step.to_string(), str::to_owned)
            })
            .collect();
        Some(format!("{}: {what}", place.join(".")))
    });
    faults.collect::<Vec<_>>().join("; ")
}

/// The status that the name of an error stands for.
fn named(name: &str) -> Option<StatusCode> {
    const NAMES: &[(&str, StatusCode)] = &[
        ("quota", StatusCode::PAYMENT_REQUIRED),
        ("ratelimit", StatusCode::TOO_MANY_REQUESTS),
        ("toomanyrequests", StatusCode::TOO_MANY_REQUESTS),
        ("resourceexhausted", StatusCode::TOO_MANY_REQUESTS),
        ("authentication", StatusCode::UNAUTHORIZED),
        ("unauthenticated", StatusCode::UNAUTHORIZED),
        ("unauthorized", StatusCode::UNAUTHORIZED),
        ("apikey", StatusCode::UNAUTHORIZED),
        ("permission", StatusCode::FORBIDDEN),
        ("notfound", StatusCode::NOT_FOUND),
        ("overloaded", StatusCode::SERVICE_UNAVAILABLE),
        ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        ("invalid", StatusCode::BAD_REQUEST),
        ("badrequest", StatusCode::BAD_REQUEST),
        ("validation", StatusCode::BAD_REQUEST),
        ("contextlength", StatusCode::BAD_REQUEST),
        ("contextsize", StatusCode::BAD_REQUEST),
    ];
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let known = NAMES.iter().find(|(piece, _)| name.contains(piece));
    known.map(|(_, status)| *status)
}

/// Parses an answer of the protocol; any other is an error.
pub(crate) fn read<T: DeserializeOwned>(context: &Context<'_>, answer: &HttpResponse) -> Result<T> {
    if !answer.status().is_success() {
        return Err(error(context, answer));
    }
    if let Ok(read) = serde_json::from_slice(answer.body()) {
        return Ok(read);
    }
    let Ok(body) = serde_json::from_slice::<Value>(answer.body()) else {
        return Err(no_json(context, answer));
    };
    // Some proxies send errors so.
    let body = within(&body);
    let is_error = body.get("error").is_some_and(|error| !error.is_null())
        || body.get("object").is_some_and(|object| object == "error");
    if is_error {
        return Err(error(context, answer));
    }
    Err(Error::Refused {
        backend: context.backend.to_owned(),
        status: Some(answer.status().as_u16()),
        message: "it answers with JSON of another protocol; is the base URL that of an OpenAI-compatible server? It mostly ends in /v1"
            .to_owned(),
    })
}

/// The error of an answer whose status is not a success, or whose body holds an error.
pub(crate) fn error(context: &Context<'_>, answer: &HttpResponse) -> Error {
    let said = Said::of(answer.body());
    let within = answer.status().is_success();
    let status = match said.status {
        // It may succeed later: proxies pass on the failures of others in this form.
        _ if within => said.status.unwrap_or(StatusCode::BAD_GATEWAY),
        _ => answer.status(),
    };
    let shown = match said.status {
        Some(status) if within => format!("status {} within an answer", status.as_u16()),
        None if within => "an error within an answer".to_owned(),
        _ => format!("status {}", status.as_u16()),
    };
    let refused = |what_to_do: &str| Error::Refused {
        backend: context.backend.to_owned(),
        status: Some(status.as_u16()),
        message: context.said(&format!("{what_to_do} ({shown})"), &said.words),
    };

    if said.is("insufficient_quota") || status == StatusCode::PAYMENT_REQUIRED {
        return refused("the account has no credit left");
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Error::RateLimited {
            backend: context.backend.to_owned(),
            retry_after: headers::retry_after(answer.headers()),
        };
    }
    if let Some((needed, limit)) = said.tokens.or_else(|| needed_and_limit(&said.words)) {
        return Error::ContextOverflow {
            model: context.model.to_owned(),
            needed,
            limit,
        };
    }
    if said.is("context_length_exceeded") || said.is("exceed_context_size_error") {
        return refused("the text is too long for its context; shorten it or lower max_tokens");
    }
    if let Some(advice) = rejected_field::advice(status, answer.body()) {
        return refused(&advice);
    }
    refused(match status {
        StatusCode::BAD_REQUEST
            if said
                .words
                .contains("max_tokens or model output limit was reached") =>
        {
            RAN_OUT
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !context.has_key => {
            "it wants a key, and none was given; is the variable set that the key is to come from?"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "it does not accept the key; is it the key of this server, and still valid?"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "it knows no such address or model; the base URL mostly ends in /v1, and the model is named as the server's list names it"
        }
        StatusCode::PAYLOAD_TOO_LARGE => "the request is too large for it; shorten the text",
        _ if status.is_redirection() => {
            "it sends elsewhere, and the key is not sent after it; give the address that it names as base URL"
        }
        _ if is_transient(status) => {
            let message = context.said(&shown, &said.words);
            return Error::Transport {
                backend: context.backend.to_owned(),
                source: match headers::retry_after(answer.headers()) {
                    Some(after) => Later { message, after }.into(),
                    None => message.into(),
                },
            };
        }
        _ => "it cannot serve the request",
    })
}

/// The error of an answer that is not JSON, such as an HTML page of a proxy or a truncated body.
fn no_json(context: &Context<'_>, answer: &HttpResponse) -> Error {
    let body = answer.body();
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let what = match first {
        None => "its answer is empty",
        Some(b'<') => {
            "it answers with a page, not with JSON; is the base URL that of an OpenAI-compatible server, and is there a proxy between?"
        }
        Some(_) => "its answer is no whole JSON",
    };
    Error::Transport {
        backend: context.backend.to_owned(),
        source: what.into(),
    }
}

/// Whether the model answers, but used up its tokens.
pub(crate) fn ran_out(error: &Error) -> bool {
    matches!(error, Error::Refused { message, .. } if message.starts_with(RAN_OUT))
}

/// Whether the same request may succeed later.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY
        )
}

/// A server's message, cut and on one line. None if it is empty or repeats a part of a secret.
pub(crate) fn shown(words: &str, secrets: &[&str]) -> Option<String> {
    let searched: String = words.chars().take(MOST_SEARCHED).collect();
    let words: String = searched
        .chars()
        .take(MOST_WORDS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words = words.trim();
    let is_secret = secrets.iter().any(|secret| quotes(&searched, secret));
    (!words.is_empty() && !is_secret).then(|| words.to_owned())
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{backends::openai::wire::answer::Answer, error::Retry};

    fn answer(status: u16, body: impl Into<Vec<u8>>) -> HttpResponse {
        let mut answer = HttpResponse::new(body.into());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer
    }

    const CONTEXT: Context<'static> = Context {
        backend: "m at http://localhost/v1",
        model: "m",
        secrets: &[
            "The kettle sings\nin the morning.",
            "お湯が沸きました。どうぞ召し上がれ。",
            "sk-canary-0123456789",
        ],
        has_key: true,
    };

    fn of(status: u16, body: Value) -> Error {
        error(&CONTEXT, &answer(status, body.to_string()))
    }

    fn read_of(body: Value) -> Error {
        read::<Answer>(&CONTEXT, &answer(200, body.to_string()))
            .err()
            .unwrap()
    }

    #[test]
    fn each_status_says_what_to_do() {
        let say = |status, words: &str| of(status, json!({"error": {"message": words}})).report();
        assert_eq!(
            say(401, "Invalid key"),
            "m at http://localhost/v1 refused the request: it does not accept the key; is it the key of this server, and still valid? \
             (status 401); it says: Invalid key"
        );
        assert!(say(404, "").contains("the base URL mostly ends in /v1"));
        assert!(say(307, "").contains("give the address that it names"));
        assert_eq!(
            say(503, "Loading model"),
            "the connection to m at http://localhost/v1 failed: status 503; it says: Loading model"
        );
        for (status, retry) in [
            (400, Retry::Never),
            (401, Retry::Never),
            (408, Retry::Transient),
            (409, Retry::Transient),
            (413, Retry::Never),
            (429, Retry::Transient),
            (500, Retry::Transient),
            (501, Retry::Never),
            (529, Retry::Transient),
        ] {
            assert_eq!(of(status, json!({})).retry(), retry, "{status}");
        }
        let broke = of(429, json!({"error": {"code": "insufficient_quota"}}));
        assert_eq!(broke.retry(), Retry::Never);
    }

    #[test]
    fn neither_the_request_nor_the_key_is_repeated() {
        for words in [
            "bad input: The kettle sings in the mor",
            "cannot read 'in the morning.'",
            "Incorrect API key: sk-canary-0123456789",
            "key ...nary-0123456789 is wrong",
            r"input_value='The kettle sings\nin', input_type=str",
            r#"[{'input': {"content": "The kettle\\u0020sings\\u000ain the"}}]"#,
            r"bad: \u304a\u6e6f\u304c\u6cb8\u304d\u307e\u3057\u305f\u3002\u3069\u3046\u305e\u53ec",
        ] {
            let report = of(400, json!({"error": {"message": words}})).report();
            assert!(report.ends_with("(status 400)"), "{report}");
        }
        let long = of(400, json!({"error": {"message": "x".repeat(10_000)}})).report();
        assert!(long.len() < 400, "{}", long.len());
    }

    #[test]
    fn a_context_that_is_too_small_says_by_how_much() {
        let overflow = |body| match of(400, body) {
            Error::ContextOverflow { needed, limit, .. } => Some((needed, limit)),
            _ => None,
        };
        let llama = json!({"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it",
            "type": "exceed_context_size_error", "n_prompt_tokens": 24031, "n_ctx": 2048}});
        assert_eq!(overflow(llama), Some((24031, 2048)));
        let sentence = "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.";
        for body in [
            json!({"error": {"code": "context_length_exceeded", "type": "invalid_request_error", "message": sentence}}),
            json!({"object": "error", "type": "BadRequestError", "code": 400, "message": sentence}),
            json!({"error": {"message": sentence, "type": "BadRequestError", "param": "input_tokens", "code": 400}}),
            json!({"detail": sentence}),
        ] {
            assert_eq!(overflow(body), Some((5000, 4096)));
        }
        let unsaid = of(400, json!({"error": {"code": "context_length_exceeded"}}));
        assert!(
            unsaid.report().contains("shorten it"),
            "{}",
            unsaid.report()
        );
    }

    #[test]
    fn every_form_of_an_error_is_read() {
        let words = |body: Value| {
            let report = of(422, body).report();
            report.split_once("it says: ").unwrap().1.to_owned()
        };
        let fault = json!([{"type": "missing", "loc": ["body", "messages", 0], "msg": "Field required", "input": {"a": 1}},
            {"loc": ["body", "n"], "msg": "Input should be 1"}]);
        assert_eq!(
            words(json!({"detail": fault})),
            "body.messages.0: Field required; body.n: Input should be 1"
        );
        assert_eq!(words(json!({"detail": "Not so"})), "Not so");
        assert_eq!(
            words(json!({"error": "Not so", "error_type": "validation"})),
            "Not so"
        );
        assert_eq!(
            words(json!({"object": "error", "message": "Not so"})),
            "Not so"
        );
        assert_eq!(
            words(
                json!([{"error": {"code": 400, "message": "Not so", "status": "INVALID_ARGUMENT"}}])
            ),
            "Not so"
        );
    }

    #[test]
    fn a_key_that_is_missing_is_not_called_wrong() {
        let context = Context {
            has_key: false,
            ..CONTEXT
        };
        let report = error(&context, &answer(401, "{}")).report();
        assert!(report.contains("none was given"), "{report}");
    }

    #[test]
    fn an_error_within_an_answer_is_what_it_says() {
        for (error, kind, retry) in [
            (
                json!({"code": 429, "message": "slow"}),
                "rate_limited",
                Retry::Transient,
            ),
            (
                json!({"code": "502", "message": "upstream"}),
                "transport",
                Retry::Transient,
            ),
            (json!({"code": 401}), "refused", Retry::Never),
            (
                json!({"type": "rate_limit_error"}),
                "rate_limited",
                Retry::Transient,
            ),
            (
                json!({"type": "overloaded_error"}),
                "transport",
                Retry::Transient,
            ),
            (
                json!({"type": "invalid_request_error", "code": null}),
                "refused",
                Retry::Never,
            ),
            (
                json!({"code": "invalid_api_key", "type": "invalid_request_error"}),
                "refused",
                Retry::Never,
            ),
            (
                json!({"type": "insufficient_quota"}),
                "refused",
                Retry::Never,
            ),
            (json!("something broke"), "transport", Retry::Transient),
        ] {
            let of = read_of(json!({"error": error}));
            assert_eq!(
                (of.kind(), of.retry()),
                (kind, retry),
                "{error}: {}",
                of.report()
            );
        }
        assert_eq!(
            read_of(json!([{"error": {"code": 503, "message": "busy"}}])).report(),
            "the connection to m at http://localhost/v1 failed: status 503 within an answer; it says: busy"
        );
        let vllm =
            json!({"object": "error", "message": "no", "type": "BadRequestError", "code": 400});
        assert_eq!(read_of(vllm).retry(), Retry::Never);
    }

    #[test]
    fn json_of_another_protocol_is_for_good_and_half_an_answer_is_not() {
        for body in [
            json!({}),
            json!({"model": "m", "response": "Hello"}),
            json!([]),
            json!("ok"),
            json!({"error": null}),
        ] {
            let error = read_of(body);
            assert_eq!(error.retry(), Retry::Never);
            assert!(
                error.report().contains("mostly ends in /v1"),
                "{}",
                error.report()
            );
        }
        for (body, says) in [
            (&b""[..], "empty"),
            (b" <html>", "a page"),
            (b"{\"choices\": [", "no whole JSON"),
        ] {
            let error = read::<Answer>(&CONTEXT, &answer(200, body)).err().unwrap();
            assert!(
                error.is_transient() && error.report().contains(says),
                "{}",
                error.report()
            );
        }
    }
}
