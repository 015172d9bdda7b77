//! Recognizes fields of a request that a server rejects, and says how to do without them.

use http::StatusCode;
use serde_json::Value;

/// Fields that the crate sets and that a request can do without or rename.
const FIELDS: &[&str] = &[
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "repeat_penalty",
    "seed",
    "stop",
    "cache_prompt",
    "max_tokens",
    "max_completion_tokens",
    "logprobs",
    "top_logprobs",
];
/// What servers say about a field that they reject, in lower case.
const WORDS: &[&str] = &[
    "unsupported",
    "not support",
    "unrecognized",
    "unknown name",
    "unknown parameter",
    "unknown field",
    "not permitted",
    "not allowed",
];

/// What to do about a rejected field, if that is why the server refuses.
pub(crate) fn advice(status: StatusCode, body: &[u8]) -> Option<String> {
    let refuses = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY
    );
    let body: Value = serde_json::from_slice(body).ok()?;
    let name = refused(&body).filter(|_| refuses)?;
    Some(match name {
        "max_tokens" => {
            "it does not take `max_tokens`; ask it as OpenAI's own, by `with_server(Server::OpenAi)`".to_owned()
        }
        "max_completion_tokens" => {
            "it does not take `max_completion_tokens`; ask it by `with_server(Server::Other)`".to_owned()
        }
        "logprobs" | "top_logprobs" => {
            "it gives no log-probabilities of this model; take another model, or stages and a judge that do without".to_owned()
        }
        "seed" => {
            "it does not take `seed`; leave it out by `with_field(\"seed\", Value::Null)`, or, if it is Mistral's, say so by `with_server(Server::Mistral)`".to_owned()
        }
        name => {
            format!("it does not take this `{name}`; leave it out by `with_field(\"{name}\", Value::Null)`")
        }
    })
}

/// The rejected field, if the crate sets it.
fn refused(body: &Value) -> Option<&'static str> {
    let error = body.get("error").unwrap_or(body);
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let ours = |name: &str| FIELDS.iter().copied().find(|ours| *ours == name);
    // Pydantic's, of FastAPI (`detail`) and of Mistral (`message`, with or without `detail` in it).
    let lists = [body.get("detail"), body.get("message")];
    let lists = lists.into_iter().flatten();
    let mut wrongs = lists
        .map(|list| list.get("detail").unwrap_or(list))
        .filter_map(Value::as_array)
        .flatten()
        .filter(|wrong| wrong.get("type").and_then(Value::as_str) == Some("extra_forbidden"));
    if let Some(name) = wrongs.find_map(|wrong| ours(wrong.get("loc")?.get(1)?.as_str()?)) {
        return Some(name);
    }
    let words = error.as_str().or(text("message")).unwrap_or_default();
    let lower = words.to_lowercase();
    if !WORDS.iter().any(|said| lower.contains(said)) {
        return None;
    }
    text("param").and_then(ours).or_else(|| {
        let names = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.into_iter().find_map(ours)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_field_is_found_in_the_words_of_each_server() {
        let openai = |words: &str, param: &str, code: &str| json!({"error": {"message": words, "type": "invalid_request_error", "param": param, "code": code}});
        let extra = json!([{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 0}]);
        for (body, name) in [
            (
                openai(
                    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
                    "temperature",
                    "unsupported_value",
                ),
                "temperature",
            ),
            (
                openai(
                    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                    "max_tokens",
                    "unsupported_parameter",
                ),
                "max_tokens",
            ),
            (
                json!({"error": {"message": "Unsupported parameter: 'stop' is not supported with this model.", "param": null}}),
                "stop",
            ),
            // OpenAI's gpt-5, with status 403.
            (
                json!({"error": {"message": "You are not allowed to request logprobs from this model"}}),
                "logprobs",
            ),
            // Azure.
            (
                json!({"error": {"message": "Unrecognized request argument supplied: seed"}}),
                "seed",
            ),
            // Gemini.
            (
                json!({"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"seed\": Cannot find field.", "status": "INVALID_ARGUMENT"}}),
                "seed",
            ),
            // FastAPI, and Mistral in two forms.
            (json!({"detail": extra}), "seed"),
            (
                json!({"object": "error", "message": {"detail": extra}, "type": "invalid_request_error"}),
                "seed",
            ),
            (
                json!({"object": "Error", "detail": extra, "message": extra, "code": 3001}),
                "seed",
            ),
        ] {
            assert_eq!(refused(&body), Some(name), "{body}");
        }
        for body in [
            // The value is wrong, not the field.
            openai(
                "max_tokens is too large: 32000. This model supports at most 16384 completion tokens",
                "max_tokens",
                "invalid_value",
            ),
            openai(
                "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
                "reasoning_effort",
                "unsupported_parameter",
            ),
            json!({"detail": [{"type": "missing", "loc": ["body", "seed"]}]}),
            json!({"detail": "Not Found"}),
            json!(null),
        ] {
            assert_eq!(refused(&body), None, "{body}");
        }
    }
}
