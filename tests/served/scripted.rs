//! The laws of models over a scripted server of each kind.

use std::sync::LazyLock;

use safer_instruct::{
    Prompt, ScoreRequest, ScoringModel,
    backends::openai::{OpenAiModel, Server},
    testkit,
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::method};

/// Stands before all texts in the tokens of SGLang and llama.cpp.
const BEGIN: u32 = 1;

fn answer(server: Server, request: &Request) -> ResponseTemplate {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let said = match (request.url.path(), server) {
        ("/v1/chat/completions", _) => completion(server, &body),
        ("/v1/completions", _) => {
            if body.get("echo").is_some() {
                echo(server, &body)
            } else if body["prompt"].is_array() {
                forced(&body)
            } else {
                completion(server, &body)
            }
        }
        ("/tokenize", Server::Vllm) => {
            let text = match body.get("messages") {
                Some(messages) => rendered(messages),
                None => body["prompt"].as_str().unwrap().to_owned(),
            };
            json!({"count": text.chars().count(), "max_model_len": 4096, "tokens": tokens(&text)})
        }
        ("/tokenize", Server::LlamaCpp) => {
            let mut all = tokens(body["content"].as_str().unwrap());
            if body["add_special"] == true {
                all.insert(0, BEGIN);
            }
            json!({"tokens": all})
        }
        ("/apply-template", Server::LlamaCpp) => json!({"prompt": rendered(&body["messages"])}),
        _ => return ResponseTemplate::new(404),
    };
    ResponseTemplate::new(200).set_body_json(said)
}

/// A token is a character.
fn tokens(text: &str) -> Vec<u32> {
    text.chars().map(u32::from).collect()
}

fn text(token: u32) -> String {
    match token {
        BEGIN => "<s>".to_owned(),
        token => char::from_u32(token).unwrap().to_string(),
    }
}

fn rendered(messages: &Value) -> String {
    format!("{messages}>")
}

/// log P of a token behind another one.
fn logprob(before: u32, token: u32) -> f64 {
    -f64::from((before * 31 + token) % 97 + 1) / 64.0
}

/// Log-probabilities of raw text, with what each server says of places.
fn raw_logprobs(server: Server, tokens: &[String], logprobs: &[Option<f64>]) -> Value {
    let places = tokens.iter().scan(0_i64, |end, token| {
        let begin = *end;
        *end += token.chars().count() as i64;
        Some(if server == Server::Sglang { -1 } else { begin })
    });
    let top = tokens.iter().zip(logprobs);
    let top = top.map(|(token, logprob)| logprob.map(|logprob| json!({token: logprob})));
    json!({
        "tokens": tokens, "token_logprobs": logprobs, "text_offset": places.collect::<Vec<_>>(),
        "top_logprobs": top.collect::<Vec<_>>(),
    })
}

/// The prompt, as text or in tokens, with a token behind it.
fn echo(server: Server, body: &Value) -> Value {
    let mut all = match &body["prompt"] {
        Value::String(text) => tokens(text),
        tokens => serde_json::from_value(tokens.clone()).unwrap(),
    };
    let prompt: String = all.iter().map(|token| text(*token)).collect();
    if server == Server::Sglang {
        all.insert(0, BEGIN);
    }
    let read = all.len();
    all.push('!'.into());
    let texts: Vec<String> = all.iter().map(|token| text(*token)).collect();
    let logprobs = all.windows(2).map(|pair| Some(logprob(pair[0], pair[1])));
    let logprobs: Vec<Option<f64>> = [None].into_iter().chain(logprobs).collect();
    json!({
        "choices": [{"index": 0, "text": format!("{prompt}!"), "finish_reason": "length",
            "logprobs": raw_logprobs(server, &texts, &logprobs)}],
        "usage": {"prompt_tokens": read, "completion_tokens": 1, "total_tokens": read + 1},
    })
}

/// The token that a bias leaves, as llama.cpp says it.
fn forced(body: &Value) -> Value {
    let prompt: Vec<u32> = serde_json::from_value(body["prompt"].clone()).unwrap();
    let token = body["logit_bias"][0][0].as_u64().unwrap() as u32;
    let (text, logprob) = (text(token), logprob(*prompt.last().unwrap(), token));
    json!({
        "choices": [{"index": 0, "text": text, "finish_reason": "length", "logprobs": {"content": [
            {"id": token, "token": text, "bytes": text.as_bytes(), "logprob": logprob, "top_logprobs": []}]}}],
        "usage": {"prompt_tokens": prompt.len(), "completion_tokens": 1, "total_tokens": prompt.len() + 1},
    })
}

/// Says the same to all: as many words as it may, a token each; or what a constraint leaves.
pub(crate) fn completion(server: Server, body: &Value) -> Value {
    let raw = body.get("prompt").is_some();
    let most = body.get("max_completion_tokens").or(body.get("max_tokens"));
    let most = most.and_then(Value::as_u64).unwrap_or(8) as usize;
    let held = constrained(body);
    let words = match &held {
        Some(held) => vec![held.as_str()],
        None => vec!["a", " b", " c", " d"],
    };
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
    // A marker that is whole would be one token.
    let tokens = prompt
        .replace("<|", "x")
        .replace("_of_turn>", "x")
        .chars()
        .count()
        + prompt.matches('\u{200b}').count();
    json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "text": text, "finish_reason": reason,
            "logprobs": logprobs(server, body, raw, &words[..written])}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": written, "total_tokens": tokens + written},
    })
}

fn logprobs(server: Server, body: &Value, raw: bool, words: &[&str]) -> Value {
    // llama.cpp says nothing if it is to name no others, and writes those of raw text as those of chats.
    let others = if raw { "logprobs" } else { "top_logprobs" };
    let unsaid = server == Server::LlamaCpp && body[others] == 0;
    if body.get("logprobs").is_none() || unsaid {
        return Value::Null;
    }
    if raw && server != Server::LlamaCpp {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        return raw_logprobs(server, &words, &vec![Some(-0.5); words.len()]);
    }
    let content: Vec<Value> = words
        .iter()
        .map(|word| json!({"token": word, "bytes": word.as_bytes(), "logprob": -0.5, "top_logprobs": [{"token": word, "logprob": -0.5}]}))
        .collect();
    json!({"content": content})
}

/// The first of the choices, or JSON, if the body asks for either in the way of a server.
fn constrained(body: &Value) -> Option<String> {
    if body.get("response_format").is_some() || body.get("json_schema").is_some() {
        return Some(r#"{"river":"Loire"}"#.to_owned());
    }
    if let Some(first) = body["structured_outputs"]["choice"].get(0) {
        return first.as_str().map(str::to_owned);
    }
    let (rule, ends) = match (body["grammar"].as_str(), body["regex"].as_str()) {
        (Some(grammar), _) => (grammar.strip_prefix("root ::= \"")?, '"'),
        (_, Some(regex)) => (regex.strip_prefix('(')?, '|'),
        _ => return None,
    };
    let mut first = String::new();
    let mut rule = rule.chars();
    while let Some(c) = rule.next().filter(|c| *c != ends && *c != ')') {
        first.push(if c == '\\' { rule.next()? } else { c });
    }
    Some(first)
}

struct Served {
    _runtime: tokio::runtime::Runtime,
    servers: Vec<(MockServer, OpenAiModel)>,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let kinds = [
        Server::OpenAi,
        Server::Vllm,
        Server::Sglang,
        Server::LlamaCpp,
        Server::Other,
    ];
    let servers = kinds.map(|kind| {
        let mock = runtime.block_on(async {
            let mock = MockServer::start().await;
            Mock::given(method("POST"))
                .respond_with(move |request: &Request| answer(kind, request))
                .mount(&mock)
                .await;
            mock
        });
        let model = OpenAiModel::builder(format!("{}/v1", mock.uri()), "m")
            .with_server(kind)
            .build()
            .unwrap();
        (mock, model)
    });
    Served {
        _runtime: runtime,
        servers: servers.into(),
    }
});

fn served(kind: Server) -> OpenAiModel {
    let mut models = SERVED.servers.iter().map(|(_, model)| model);
    models.find(|model| model.server() == kind).unwrap().clone()
}

testkit::chat_laws!(chat_of_openai, served(Server::OpenAi));
testkit::chat_laws!(chat_of_vllm, served(Server::Vllm));
testkit::chat_laws!(chat_of_sglang, served(Server::Sglang));
testkit::chat_laws!(chat_of_llama_cpp, served(Server::LlamaCpp));
testkit::chat_laws!(chat_of_others, served(Server::Other));

// OpenAI scores labels only.
testkit::scoring_laws!(scores_of_vllm, served(Server::Vllm));
testkit::scoring_laws!(scores_of_sglang, served(Server::Sglang));
testkit::scoring_laws!(scores_of_llama_cpp, served(Server::LlamaCpp));
testkit::scoring_laws!(scores_of_others, served(Server::Other));

#[test]
fn all_kinds_give_the_same_scores_of_raw_text() {
    let request = ScoreRequest::new(
        Prompt::Raw("川 is a".to_owned()),
        [" river", " 川。", "!", ""],
    );
    let before = |text: &str| {
        let all: Vec<u32> = tokens(&format!("a{text}"));
        let logprob = all
            .windows(2)
            .map(|pair| logprob(pair[0], pair[1]))
            .sum::<f64>();
        (logprob, all.len() - 1)
    };
    let expected: Vec<_> = request
        .continuations
        .iter()
        .map(|text| before(text))
        .collect();
    for kind in [
        Server::Vllm,
        Server::Sglang,
        Server::LlamaCpp,
        Server::Other,
    ] {
        let scores = futures::executor::block_on(served(kind).score(&request)).unwrap();
        let found: Vec<_> = scores
            .continuations
            .iter()
            .map(|score| (score.logprob, score.tokens))
            .collect();
        assert_eq!(found, expected, "{kind}");
    }
}
