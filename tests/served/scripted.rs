//! The laws of models over a scripted server.

use std::sync::LazyLock;

use safer_instruct::{
    backends::openai::{OpenAiModel, Server},
    testkit,
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::path};

fn answer(request: &Request) -> ResponseTemplate {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    ResponseTemplate::new(200).set_body_json(completion(&body))
}

/// Says the same to all: as many words as it may, a token each.
pub(crate) fn completion(body: &Value) -> Value {
    let most = body["max_tokens"].as_u64().unwrap_or(8) as usize;
    let words = ["a", " b", " c", " d"];
    let written = words.len().min(most);
    let stop = body["stop"].as_array().cloned().unwrap_or_default();
    let mut text: String = words[..written].concat();
    let mut reason = if written < words.len() {
        "length"
    } else {
        "stop"
    };
    if let Some(at) = stop
        .iter()
        .filter_map(|stop| text.find(stop.as_str()?))
        .min()
    {
        text.truncate(at);
        reason = "stop";
    }
    let prompt = body["prompt"]
        .as_str()
        .map_or_else(|| body["messages"].to_string(), str::to_owned);
    let content: Vec<Value> = words[..written]
        .iter()
        .map(|word| json!({"token": word, "bytes": word.as_bytes(), "logprob": -0.5, "top_logprobs": [{"token": word, "logprob": -0.5}]}))
        .collect();
    let logprobs = if body.get("logprobs").is_some() {
        json!({"content": content})
    } else {
        Value::Null
    };
    // A marker that is whole would be one token.
    let tokens = prompt
        .replace("<|", "x")
        .replace("_of_turn>", "x")
        .chars()
        .count()
        + prompt.matches('\u{200b}').count();
    json!({
        "choices": [{"message": {"content": text}, "text": text, "finish_reason": reason, "logprobs": logprobs}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": written},
    })
}

struct Served {
    _runtime: tokio::runtime::Runtime,
    _server: MockServer,
    model: OpenAiModel,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(async {
        let server = MockServer::start().await;
        for at in ["/v1/chat/completions", "/v1/completions"] {
            Mock::given(path(at))
                .respond_with(answer)
                .mount(&server)
                .await;
        }
        server
    });
    let model = OpenAiModel::builder(format!("{}/v1", server.uri()), "m")
        .with_server(Server::Other)
        .build()
        .unwrap();
    Served {
        _runtime: runtime,
        _server: server,
        model,
    }
});

testkit::chat_laws!(chat, SERVED.model.clone());
