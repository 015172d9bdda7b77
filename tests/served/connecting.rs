//! The errors that a newcomer reads after a mistake.

use safer_instruct::{
    ChatModel, ChatRequest, Error, Message,
    backends::openai::{Need, OpenAiModel, Server},
};
use serde_json::{Value, json};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{body_partial_json, path},
};

use crate::{CANARY, listing, model, said};

async fn refused(builder: safer_instruct::backends::openai::OpenAiModelBuilder) -> String {
    let error = builder.connect().await.unwrap_err();
    let shown = format!("{} {error:?}", error.report());
    assert!(!shown.contains("canary"), "{shown}");
    error.report()
}

#[tokio::test]
async fn the_server_is_found_out() {
    for (owner, server) in [
        ("vllm", Server::Vllm),
        ("sglang", Server::Sglang),
        ("openai", Server::OpenAi),
        ("mistralai", Server::Mistral),
        ("me", Server::Other),
    ] {
        let mock = listing(owner).await;
        Mock::given(path("/v1/chat/completions"))
            .respond_with(said("yes"))
            .mount(&mock)
            .await;
        let model = model(&mock).connect().await.unwrap();
        assert_eq!(model.server(), server);
    }
}

#[tokio::test]
async fn a_model_that_thinks_until_its_tokens_are_used_up_answers() {
    // OpenAI's message for a request of one token; and an answer that is reasoning alone.
    let refusal = ResponseTemplate::new(400).set_body_json(json!({"error": {
        "message": "Could not finish the message because max_tokens or model output limit was reached. Please try again with higher max_tokens.",
        "type": "invalid_request_error", "param": null, "code": null,
    }}));
    let cut = ResponseTemplate::new(200).set_body_json(json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "", "refusal": null}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 256, "completion_tokens_details": {"reasoning_tokens": 256}},
    }));
    for answer in [refusal.clone(), cut] {
        let server = listing("openai").await;
        Mock::given(path("/v1/chat/completions"))
            .and(body_partial_json(json!({"max_completion_tokens": 256})))
            .respond_with(answer)
            .expect(1)
            .mount(&server)
            .await;
        let model = model(&server).connect().await.unwrap();
        assert_eq!(model.server(), Server::OpenAi);
    }
    let server = listing("openai").await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(refusal)
        .mount(&server)
        .await;
    let request = ChatRequest::new(vec![Message::user("Name a river.")]);
    let model = model(&server).build().unwrap();
    let report = model.complete(&request).await.unwrap_err().report();
    assert!(
        report.contains("not finished within max_tokens") && report.contains("allow more"),
        "{report}"
    );
}

#[tokio::test]
async fn a_field_that_the_server_does_not_take_can_be_left_out() {
    // A reasoning model of OpenAI's, field by field.
    let server = listing("openai").await;
    let only = |name: &'static str, words: &'static str, code: &'static str| {
        move |request: &wiremock::Request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            body.get(name).is_some().then(|| {
                ResponseTemplate::new(400).set_body_json(json!({"error": {
                    "message": words, "type": "invalid_request_error", "param": name, "code": code,
                }}))
            })
        }
    };
    let (temperature, seed) = (
        only(
            "temperature",
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
            "unsupported_value",
        ),
        only(
            "seed",
            "Unsupported parameter: 'seed' is not supported with this model.",
            "unsupported_parameter",
        ),
    );
    Mock::given(path("/v1/chat/completions"))
        .respond_with(move |request: &wiremock::Request| {
            temperature(request)
                .or_else(|| seed(request))
                .unwrap_or_else(|| said("yes"))
        })
        .mount(&server)
        .await;
    let report = refused(model(&server)).await;
    assert!(
        report.contains("`with_field(\"temperature\", Value::Null)`")
            && report.contains("Only the default (1)"),
        "{report}"
    );
    let without = || model(&server).with_field("temperature", Value::Null);
    let report = refused(without()).await;
    assert!(
        report.contains("`with_field(\"seed\", Value::Null)`"),
        "{report}"
    );
    let model = without().with_field("seed", Value::Null);
    model.connect().await.unwrap();
    let last = server.received_requests().await.unwrap().pop().unwrap();
    let body: Value = serde_json::from_slice(&last.body).unwrap();
    let mut names: Vec<&String> = body.as_object().unwrap().keys().collect();
    // Their order depends on how `serde_json` was built.
    names.sort_unstable();
    assert_eq!(names, ["max_completion_tokens", "messages", "model"]);
}

#[tokio::test]
async fn a_wrong_key_model_or_address_is_named() {
    let server = listing("vllm").await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(ResponseTemplate::new(404).set_body_json(json!({"error": {
            "message": "The model `n` does not exist.", "type": "NotFoundError", "param": "model", "code": 404,
        }})))
        .mount(&server)
        .await;
    let wrong = OpenAiModel::builder(format!("{}/v1", server.uri()), "n");
    let report = refused(wrong).await;
    assert!(
        report.contains("no such address or model")
            && report.ends_with("it says: The model `n` does not exist.; its list has no n, but m"),
        "{report}"
    );
    let wrong = OpenAiModel::builder(format!("{}/api", server.uri()), "m");
    let report = refused(wrong).await;
    assert!(
        report.contains("the base URL mostly ends in /v1"),
        "{report}"
    );
    let report = refused(OpenAiModel::builder("http://127.0.0.1:9/v1", "m")).await;
    assert!(
        report.starts_with("the connection to m at http://127.0.0.1:9/v1 failed"),
        "{report}"
    );

    let locked = wiremock::MockServer::start().await;
    Mock::given(path("/v1/models"))
        .respond_with(
            ResponseTemplate::new(401)
                .set_body_json(json!({"error": {"message": format!("bad key {CANARY}")}})),
        )
        .mount(&locked)
        .await;
    // The same for a key that goes in a header of its own.
    let report = refused(
        OpenAiModel::builder(format!("{}/v1", locked.uri()), "m").with_header("api-key", CANARY),
    )
    .await;
    assert!(report.ends_with("(status 401)"), "{report}");
    let report = refused(model(&locked)).await;
    assert!(
        report.contains("does not accept the key") && report.ends_with("(status 401)"),
        "{report}"
    );
}

/// A server with this answer to `/models`, which answers a completion.
async fn with_list(list: ResponseTemplate) -> wiremock::MockServer {
    let server = wiremock::MockServer::start().await;
    Mock::given(path("/v1/models"))
        .respond_with(list)
        .mount(&server)
        .await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("yes"))
        .expect(1)
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn a_model_that_answers_need_not_be_in_a_list() {
    let ollama = json!({"object": "list", "data": [
        {"id": "llama3.1:latest", "object": "model", "created": 1_734_000_000, "owned_by": "library"},
    ]});
    for list in [
        ResponseTemplate::new(200).set_body_json(ollama),
        ResponseTemplate::new(200).set_body_string("<html></html>"),
        ResponseTemplate::new(200).set_body_json(json!({"object": "list", "data": null})),
        ResponseTemplate::new(403),
        ResponseTemplate::new(404),
    ] {
        let server = with_list(list).await;
        let model = OpenAiModel::builder(format!("{}/v1", server.uri()), "llama3.1");
        assert_eq!(model.connect().await.unwrap().server(), Server::Other);
    }
}

#[tokio::test]
async fn names_that_are_alike_are_shown_first() {
    let names: Vec<_> = (0..20).map(|n| json!({"id": format!("x{n}")})).collect();
    let names = [names, vec![json!({"id": "llama3.1:8b"})]].concat();
    let server = wiremock::MockServer::start().await;
    Mock::given(path("/v1/models"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"data": names})))
        .mount(&server)
        .await;
    let model = OpenAiModel::builder(format!("{}/v1", server.uri()), "llama3.1");
    let report = refused(model).await;
    assert!(
        report.ends_with(
            "its list has no llama3.1, but llama3.1:8b, x0, x1, x2, x3, x4, x5, x6 and 13 more"
        ),
        "{report}"
    );
}

#[tokio::test]
async fn addresses_that_are_asked_in_different_ways_are_no_one_model() {
    let (first, second) = (listing("vllm").await, listing("sglang").await);
    for server in [&first, &second] {
        Mock::given(path("/v1/chat/completions"))
            .respond_with(said("yes"))
            .mount(server)
            .await;
    }
    let both = || model(&first).with_endpoint(format!("{}/v1", second.uri()));
    let report = refused(both()).await;
    assert_eq!(
        report,
        format!(
            "server: {}/v1 is vLLM and {}/v1 is SGLang, which take different fields; \
             give addresses of one kind, or say by `with_server` as which kind all are to be asked",
            first.uri(),
            second.uri()
        )
    );
    let model = both().with_server(Server::Other).connect().await.unwrap();
    assert_eq!(model.server(), Server::Other);
}

#[tokio::test]
async fn what_is_needed_is_tried_at_every_address() {
    let (first, second) = (listing("sglang").await, listing("sglang").await);
    Mock::given(path("/v1/completions"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{"text": " time", "finish_reason": "length"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1},
        })))
        .mount(&first)
        .await;
    for server in [&first, &second] {
        Mock::given(path("/v1/chat/completions"))
            .respond_with(said("yes"))
            .expect(1)
            .mount(server)
            .await;
    }
    let both = model(&first)
        .with_endpoint(format!("{}/v1", second.uri()))
        .with_need(Need::RawPrompts);
    let report = refused(both).await;
    assert!(
        report.starts_with(&format!(
            "server: SGLang at {}/v1 gives no completions of raw text",
            second.uri()
        )),
        "{report}"
    );
}

#[tokio::test]
async fn a_server_without_what_is_needed_is_refused_at_the_start() {
    let server = listing("me").await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("yes"))
        .mount(&server)
        .await;
    for (need, says, cause) in [
        (
            Need::Logprobs,
            "gives no log-probabilities",
            "the model's answer is not a completion with log-probabilities",
        ),
        (
            Need::Scores,
            "gives no scores of given answers",
            "cannot score continuations without log-probabilities",
        ),
        (
            Need::RawScores,
            "gives no scores of given continuations",
            "it knows no such address or model",
        ),
        (
            Need::RawPrompts,
            "gives no completions of raw text",
            "it knows no such address or model",
        ),
        (
            Need::Choices,
            "gives no completions that are one of several",
            "cannot hold its completions to several choices",
        ),
        (
            Need::JsonSchema,
            "gives no completions that satisfy a JSON schema",
            "the model's answer is not whole JSON",
        ),
    ] {
        let report = refused(model(&server).with_need(need)).await;
        assert!(report.contains(says) && report.contains(cause), "{report}");
    }
}

#[tokio::test]
async fn a_need_that_is_met_is_met() {
    let server = listing("vllm").await;
    Mock::given(path("/v1/chat/completions"))
        .and(body_partial_json(
            json!({"structured_outputs": {"choice": ["zorvek", "quilmat"]}}),
        ))
        .respond_with(said("quilmat"))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("yes"))
        .mount(&server)
        .await;
    model(&server)
        .with_need(Need::Choices)
        .connect()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_that_passes_over_choices_is_found_out() {
    // vLLM before 0.11 ignores fields that it does not know.
    let server = listing("vllm").await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("yes"))
        .expect(2)
        .mount(&server)
        .await;
    let report = refused(model(&server).with_need(Need::Choices)).await;
    assert!(
        report.contains("gives no completions that are one of several")
            && report.contains("`structured_outputs` from 0.11 on"),
        "{report}"
    );
}

#[test]
fn what_cannot_be_is_said_before_anything_is_sent() {
    let config =
        |builder: safer_instruct::backends::openai::OpenAiModelBuilder| match builder.build() {
            Err(Error::Config { field, reason }) => format!("{field}: {reason}"),
            other => panic!("{other:?}"),
        };
    let at = |base: &str| config(OpenAiModel::builder(base, "m"));
    assert!(at("localhost:8000/v1").starts_with("base URL: it must begin with http"));
    assert!(at("http://me:secret@host/v1").contains("user name or password"));
    assert!(!at("http://me:secret@host/v1").contains("secret@"));
    assert!(at("http://host/v1?api-version=1").contains("holds a `?`"));
    assert_eq!(
        at("http://host/v1/chat/completions"),
        "base URL: leave out /chat/completions: http://host/v1"
    );
    let builder = || OpenAiModel::builder("http://host/v1", "m");
    let broken = config(builder().with_key(format!("{CANARY}\nx")));
    assert!(
        broken.contains("line break") && !broken.contains("canary"),
        "{broken}"
    );
    assert!(config(builder().with_field("messages", 1)).contains("sets this field itself"));
    assert!(config(OpenAiModel::builder("http://host/v1", " ")).contains("its name is empty"));
    let shown = format!(
        "{:?}",
        builder()
            .with_key(CANARY)
            .with_header("x", CANARY)
            .build()
            .unwrap()
    );
    assert!(!shown.contains("canary"), "{shown}");
    // Copied with a line break behind it.
    assert!(builder().with_key(format!(" {CANARY}\n")).build().is_ok());
    fn is_model(_: &impl ChatModel) {}
    is_model(&builder().build().unwrap());
}
