//! Answers that are no completions, as errors that say what to do.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::{HttpResponse, headers};
use crate::error::Error;

/// The most characters of a server's own words that are passed on.
const MOST_WORDS: usize = 200;
/// So many characters in a row that stand in the request too are a quotation of it.
const QUOTATION: usize = 12;

/// What the answer is to.
pub(super) struct Asked<'a> {
    /// Model and address, for people.
    pub(super) backend: &'a str,
    /// Name of the model.
    pub(super) model: &'a str,
    /// What a server's words may not repeat: texts of the request, and the key.
    pub(super) secrets: &'a [&'a str],
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: Option<Value>,
    /// FastAPI's own.
    #[serde(default)]
    detail: Option<Value>,
    /// vLLM's until 0.10.
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    code: Option<Value>,
}

/// The error of an answer whose status is none of success.
pub(super) fn error(asked: &Asked<'_>, answer: &HttpResponse) -> Error {
    let status = answer.status();
    let body: Body = serde_json::from_slice(answer.body()).unwrap_or_default();
    let detail = body.error.as_ref();
    let field = |name: &str| detail.and_then(|error| error.get(name));
    let code = field("code").or(body.code.as_ref()).and_then(Value::as_str);
    let kind = field("type").and_then(Value::as_str);
    let words = field("message")
        .or(detail)
        .or(body.message.as_ref())
        .or(body.detail.as_ref())
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is = |name: &str| code == Some(name) || kind == Some(name);

    if is("insufficient_quota") || status == StatusCode::PAYMENT_REQUIRED {
        return refused(asked, status, "the account has no credit left", words);
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Error::RateLimited {
            backend: asked.backend.to_owned(),
            retry_after: headers::retry_after(answer.headers()),
        };
    }
    if is("context_length_exceeded")
        || is("exceed_context_size_error")
        || words.contains("context length")
    {
        let number = |name| {
            field(name)
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok())
        };
        let numbers = number("n_prompt_tokens")
            .zip(number("n_ctx"))
            .or_else(|| needed_and_limit(words));
        if let Some((needed, limit)) = numbers {
            return Error::ContextOverflow {
                model: asked.model.to_owned(),
                needed,
                limit,
            };
        }
    }
    let what_to_do = match status {
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
            return Error::Transport {
                backend: asked.backend.to_owned(),
                source: said(asked, &format!("status {}", status.as_u16()), words).into(),
            };
        }
        _ => "it cannot serve the request",
    };
    refused(asked, status, what_to_do, words)
}

/// The error of an answer that should be one of the protocol and is not: a page of a proxy, half a body.
pub(super) fn not_the_protocol(asked: &Asked<'_>, answer: &HttpResponse) -> Error {
    let body = answer.body();
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let what = match first {
        None => "its answer is empty",
        Some(b'<') => {
            "it answers with a page, not with JSON; is the base URL that of an OpenAI-compatible server, and is there a proxy between?"
        }
        Some(_) => "its answer is no whole JSON of the protocol",
    };
    Error::Transport {
        backend: asked.backend.to_owned(),
        source: what.into(),
    }
}

/// Whether the same request may succeed later.
pub(super) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY
        )
}

fn refused(asked: &Asked<'_>, status: StatusCode, what_to_do: &str, words: &str) -> Error {
    Error::Refused {
        backend: asked.backend.to_owned(),
        status: Some(status.as_u16()),
        message: said(
            asked,
            &format!("{what_to_do} (status {})", status.as_u16()),
            words,
        ),
    }
}

/// Adds what the server said, if that can be shown.
fn said(asked: &Asked<'_>, what: &str, words: &str) -> String {
    match shown(words, asked.secrets) {
        Some(words) => format!("{what}; it says: {words}"),
        None => what.to_owned(),
    }
}

/// A server's words or names, cut and on one line. None if there are none, or they repeat a piece of a secret.
pub(super) fn shown(words: &str, secrets: &[&str]) -> Option<String> {
    let words: String = words
        .chars()
        .take(MOST_WORDS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words = words.trim();
    let is_secret = secrets.iter().any(|secret| quotes(words, secret));
    (!words.is_empty() && !is_secret).then(|| words.to_owned())
}

/// Whether some words repeat a piece of a text. Line breaks of the text stand as spaces in the words.
fn quotes(words: &str, text: &str) -> bool {
    let text: Vec<char> = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<char> = words.chars().collect();
    let length = QUOTATION.min(text.len());
    // A text of one or two characters stands in every sentence.
    if length < 4 {
        return false;
    }
    let pieces: std::collections::HashSet<&[char]> = text.windows(length).collect();
    words.windows(length).any(|piece| pieces.contains(piece))
}

/// The tokens that a request needs and those that the context holds, from a sentence of OpenAI, vLLM or SGLang. All say the limit first.
fn needed_and_limit(words: &str) -> Option<(usize, usize)> {
    let numbers: Vec<usize> = words
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    match numbers.as_slice() {
        [limit, needed, ..] if needed > limit => Some((*needed, *limit)),
        [needed, limit, ..] if needed > limit => Some((*needed, *limit)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Retry;

    fn answer(status: u16, body: impl Into<Vec<u8>>) -> HttpResponse {
        let mut answer = HttpResponse::new(body.into());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer
    }

    fn of(status: u16, body: Value) -> Error {
        let asked = Asked {
            backend: "m at http://localhost/v1",
            model: "m",
            secrets: &["The kettle sings\nin the morning.", "sk-canary-0123456789"],
        };
        error(&asked, &answer(status, body.to_string()))
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
        let llama = json!({"error": {"code": 400, "message": "request (24031 tokens) exceeds the available context size (2048 tokens)",
            "type": "exceed_context_size_error", "n_prompt_tokens": 24031, "n_ctx": 2048}});
        assert_eq!(overflow(llama), Some((24031, 2048)));
        let openai = json!({"error": {"code": "context_length_exceeded", "type": "invalid_request_error",
            "message": "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."}});
        assert_eq!(overflow(openai), Some((5000, 4096)));
        let vllm = json!({"object": "error", "type": "BadRequestError", "code": 400,
            "message": "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens"});
        assert_eq!(overflow(vllm), Some((3000, 2048)));
        assert_eq!(
            overflow(json!({"error": {"code": "context_length_exceeded"}})),
            None
        );
    }

    #[test]
    fn a_page_and_half_an_answer_may_be_well_later() {
        let asked = Asked {
            backend: "m",
            model: "m",
            secrets: &[],
        };
        for (body, says) in [
            (&b""[..], "empty"),
            (b" <html>", "a page"),
            (b"{\"choices\": [", "no whole JSON"),
        ] {
            let error = not_the_protocol(&asked, &answer(200, body));
            assert!(
                error.is_transient() && error.report().contains(says),
                "{}",
                error.report()
            );
        }
    }
}
