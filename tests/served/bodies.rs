//! What goes over the wire, and what is made of the answer.

use safer_instruct::{
    ChatModel, ChatRequest, FinishReason, Message, Prompt, ScoreRequest, ScoringModel,
    TokenLogprob, TopLogprob, Usage, backends::openai::Server,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{body_partial_json, header, method, path},
};

use crate::{CANARY, model, said};

#[tokio::test]
async fn a_chat_goes_out_with_key_headers_and_fields_of_the_caller() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", format!("Bearer {CANARY}").as_str()))
        .and(header("x-team", "blue"))
        .and(body_partial_json(
            json!({"model": "m", "reasoning_effort": "low", "temperature": 1.0, "stop": ["\n"]}),
        ))
        .respond_with(said("The Loire\nand more"))
        .expect(1)
        .mount(&server)
        .await;
    let model = model(&server)
        .with_header("x-team", "blue")
        .with_field("reasoning_effort", "low")
        // Some models take no other.
        .with_field("temperature", 1.0)
        .build()
        .unwrap();
    let request = ChatRequest::new(vec![Message::user("Name a river.")]).with_stop("\n");
    let completion = model.complete(&request).await.unwrap();
    // The server left the stop string in.
    assert_eq!(completion.text, "The Loire");
    assert_eq!(completion.finish_reason, FinishReason::Stop);
    assert_eq!(
        completion.usage,
        Usage {
            prompt_tokens: 5,
            completion_tokens: 2
        }
    );
    assert_eq!(completion.model.name, "m");
}

#[tokio::test]
async fn log_probabilities_come_with_their_bytes() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/chat/completions"))
        .and(body_partial_json(json!({"logprobs": true, "top_logprobs": 1})))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{"message": {"content": "川"}, "finish_reason": "length", "logprobs": {"content": [
                {"token": "\\xe5\\xb7", "bytes": [229, 183], "logprob": -0.5, "top_logprobs": [{"token": "a", "bytes": [97], "logprob": -0.25}]},
                {"token": "\\x9d", "bytes": [157], "logprob": -0.125, "top_logprobs": []},
            ]}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2},
        })))
        .mount(&server)
        .await;
    let request = ChatRequest::new(vec![Message::user("Write one sign.")]).with_top_logprobs(1);
    let completion = model(&server)
        .build()
        .unwrap()
        .complete(&request)
        .await
        .unwrap();
    assert_eq!(
        completion.logprobs.unwrap(),
        [
            TokenLogprob::new([229, 183], -0.5).with_top(vec![TopLogprob::new("a", -0.25)]),
            TokenLogprob::new([157], -0.125),
        ]
    );
}

/// As SGLang writes it: a token that stands before all texts, one that the model wrote, and no places.
fn echo(request: &Request) -> ResponseTemplate {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        (&body["echo"], &body["logprobs"]),
        (&json!(true), &json!(1))
    );
    let text = body["prompt"].as_str().unwrap();
    // A token is a word with the space before it.
    let mut tokens = vec!["<s>"];
    tokens.extend(text.split_inclusive(' ').flat_map(|word| {
        let (word, space) = word.split_at(word.trim_end().len());
        [word, space]
    }));
    tokens.retain(|token| !token.is_empty());
    tokens.push(" end");
    let logprobs: Vec<Option<f64>> = (0..tokens.len())
        .map(|at| (at > 0).then(|| -(at as f64)))
        .collect();
    ResponseTemplate::new(200).set_body_json(json!({
        "choices": [{"index": 0, "text": format!("{text} end"), "finish_reason": "length", "matched_stop": null, "logprobs": {
            "tokens": tokens, "token_logprobs": logprobs, "text_offset": vec![-1; tokens.len()],
            "top_logprobs": tokens.iter().map(|token| json!({*token: -0.5})).collect::<Vec<_>>(),
        }}],
        "usage": {"prompt_tokens": tokens.len() - 1, "completion_tokens": 1, "total_tokens": tokens.len(), "prompt_tokens_details": null},
    }))
}

#[tokio::test]
async fn an_echo_gives_the_scores_of_what_stands_behind_the_prompt() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/completions"))
        .respond_with(echo)
        .mount(&server)
        .await;
    let model = model(&server).with_server(Server::Sglang).build().unwrap();
    let request = ScoreRequest::new(Prompt::Raw("川 is a".into()), [" river", " wide river", ""]);
    let scores = model.score(&request).await.unwrap();
    let found: Vec<_> = scores
        .continuations
        .iter()
        .map(|score| (score.logprob, score.tokens))
        .collect();
    assert_eq!(found, [(-13.0, 2), (-30.0, 4), (0.0, 0)]);
}

#[tokio::test]
async fn a_server_that_passes_over_echo_gives_no_scores() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/completions"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{"index": 0, "text": " end", "finish_reason": "length", "logprobs": {
                "tokens": [" end"], "token_logprobs": [-0.5], "text_offset": [0], "top_logprobs": [{" end": -0.5}]}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1},
        })))
        .mount(&server)
        .await;
    let model = model(&server).with_server(Server::Other).build().unwrap();
    let request = ScoreRequest::new(Prompt::Raw("A river".into()), [" is"]);
    let report = model.score(&request).await.unwrap_err().report();
    assert!(report.contains("without an echo"), "{report}");
}

#[tokio::test]
async fn sglang_gives_log_probabilities_of_raw_text_without_places() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/completions"))
        .and(body_partial_json(json!({"prompt": "A river", "logprobs": 1})))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{"index": 0, "text": " is", "finish_reason": "stop", "matched_stop": 2, "logprobs": {
                "tokens": [" is", "</s>"], "token_logprobs": [-0.5, -0.25], "text_offset": [-1, -1],
                "top_logprobs": [{" is": -0.5}, {"</s>": -0.25}],
            }}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 2},
        })))
        .mount(&server)
        .await;
    let model = model(&server).with_server(Server::Sglang).build().unwrap();
    let request = ChatRequest::new(Prompt::Raw("A river".into())).with_top_logprobs(1);
    let completion = model.complete(&request).await.unwrap();
    assert_eq!(
        completion.logprobs.unwrap(),
        [
            TokenLogprob::new(" is", -0.5).with_top(vec![TopLogprob::new(" is", -0.5)]),
            TokenLogprob::new("</s>", -0.25).with_top(vec![TopLogprob::new("</s>", -0.25)]),
        ]
    );
}

/// Whether a body lacks a field.
fn without(name: &'static str) -> impl Fn(&Request) -> bool + Send + Sync {
    move |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        body.get(name).is_none()
    }
}

#[tokio::test]
async fn vllm_scores_tokens_of_the_prompt_that_the_callers_fields_make() {
    let server = MockServer::start().await;
    Mock::given(path("/tokenize"))
        .and(body_partial_json(json!({
            "messages": [{"role": "user", "content": "A or B?"}], "add_generation_prompt": true,
            "chat_template_kwargs": {"enable_thinking": false},
        })))
        .and(without("temperature"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({"count": 3, "tokens": [1, 2, 3]})),
        )
        .mount(&server)
        .await;
    for (text, tokens) in [("A", json!([7])), ("BC", json!([8, 9]))] {
        Mock::given(path("/tokenize"))
            .and(body_partial_json(
                json!({"prompt": text, "add_special_tokens": false}),
            ))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"tokens": tokens})))
            .mount(&server)
            .await;
    }
    let answer = |logprobs: Value| {
        ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{"text": "", "finish_reason": "length", "logprobs": {
                "tokens": vec!["t"; logprobs.as_array().unwrap().len()], "token_logprobs": logprobs, "text_offset": [],
            }}],
            "usage": {"prompt_tokens": 4, "completion_tokens": 1},
        }))
    };
    for (prompt, logprobs) in [
        (json!([1, 2, 3, 7]), json!([null, -1.0, -1.0, -0.25, -9.0])),
        (
            json!([1, 2, 3, 8, 9]),
            json!([null, -1.0, -1.0, -2.0, -0.5, -9.0]),
        ),
    ] {
        Mock::given(path("/v1/completions"))
            .and(body_partial_json(json!({
                "prompt": prompt, "echo": true, "max_tokens": 1, "temperature": 0.0, "logprobs": 1, "user": "me",
            })))
            .and(without("top_p"))
            .respond_with(answer(logprobs))
            .mount(&server)
            .await;
    }
    let model = model(&server)
        .with_server(Server::Vllm)
        .with_field("chat_template_kwargs", json!({"enable_thinking": false}))
        .with_field("user", "me")
        .with_field("max_tokens", 9)
        .with_field("temperature", 1.0)
        .with_field("logprobs", 0)
        .with_field("top_p", 0.5)
        .build()
        .unwrap();
    let scores = model
        .score(&ScoreRequest::new(
            vec![Message::user("A or B?")],
            ["A", "BC"],
        ))
        .await
        .unwrap();
    let found: Vec<_> = scores
        .continuations
        .iter()
        .map(|score| (score.logprob, score.tokens))
        .collect();
    assert_eq!(found, [(-0.25, 1), (-2.5, 2)]);
    assert_eq!(
        scores.usage,
        Usage {
            prompt_tokens: 8,
            completion_tokens: 2
        }
    );
}

#[tokio::test]
async fn llama_cpp_scores_after_the_prompt_that_the_callers_fields_make() {
    let server = MockServer::start().await;
    Mock::given(path("/apply-template"))
        .and(body_partial_json(json!({
            "messages": [{"role": "user", "content": "A or B?"}], "chat_template_kwargs": {"enable_thinking": false},
        })))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"prompt": "rendered"})))
        .mount(&server)
        .await;
    for (text, begins, tokens) in [("rendered", true, json!([1, 2])), ("A", false, json!([7]))] {
        Mock::given(path("/tokenize"))
            .and(body_partial_json(
                json!({"content": text, "add_special": begins}),
            ))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"tokens": tokens})))
            .mount(&server)
            .await;
    }
    Mock::given(path("/v1/completions"))
        .and(body_partial_json(
            json!({"prompt": [1, 2], "max_tokens": 1, "logit_bias": [[7, 1e5]], "cache_prompt": true}),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{"text": "A", "index": 0, "finish_reason": "length", "logprobs": {"content": [
                {"id": 7, "token": "A", "bytes": [65], "logprob": -0.25, "top_logprobs": [{"id": 3, "token": "B", "bytes": [66], "logprob": -0.125}]}]}}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
        })))
        .mount(&server)
        .await;
    let model = model(&server)
        .with_server(Server::LlamaCpp)
        .with_field("chat_template_kwargs", json!({"enable_thinking": false}))
        .with_field("cache_prompt", true)
        .with_field("logit_bias", json!([]))
        .build()
        .unwrap();
    let request = ScoreRequest::new(vec![Message::user("A or B?")], ["A"]);
    let scores = model.score(&request).await.unwrap();
    assert_eq!(scores.continuations[0].logprob, -0.25);
}

#[tokio::test]
async fn labels_are_scored_among_the_likeliest_first_tokens() {
    let server = MockServer::start().await;
    let top = json!([{"token": "A", "logprob": -0.5}, {"token": " maybe", "logprob": -2.0}]);
    Mock::given(path("/v1/chat/completions"))
        .and(body_partial_json(json!({"max_completion_tokens": 1, "top_logprobs": 20})))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{"message": {"content": "A"}, "finish_reason": "length", "logprobs": {"content": [
                {"token": "A", "logprob": -0.5, "top_logprobs": top}]}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 1},
        })))
        .mount(&server)
        .await;
    let model = model(&server).with_server(Server::OpenAi).build().unwrap();
    let ask = |labels: [&'static str; 2]| ScoreRequest::new(vec![Message::user("A or B?")], labels);
    let scores = model.score(&ask(["A", "B"])).await.unwrap();
    let rest: f64 = 1.0 - (-0.5_f64).exp() - (-2.0_f64).exp();
    assert_eq!(scores.continuations[0].logprob, -0.5);
    assert!((scores.continuations[1].logprob - rest.ln().min(-2.0)).abs() < 1e-12);
    assert_eq!(
        scores.usage,
        Usage {
            prompt_tokens: 9,
            completion_tokens: 1
        }
    );
    let error = model.score(&ask(["X", "Y"])).await.unwrap_err().report();
    assert!(error.contains("none is among the likeliest"), "{error}");
}

#[tokio::test]
async fn a_server_that_passes_over_a_constraint_is_found_out() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("perhaps"))
        .mount(&server)
        .await;
    let model = model(&server).with_server(Server::Vllm).build().unwrap();
    let ask = || ChatRequest::new(vec![Message::user("Yes or no?")]);
    for request in [
        ask().with_choices(["yes", "no"]),
        ask().with_json_schema(json!({"type": "object"})),
    ] {
        let error = model.complete(&request).await.unwrap_err();
        assert_eq!(error.kind(), "malformed");
    }
    let kept = model
        .complete(&ask().with_choices(["perhaps", "no"]))
        .await
        .unwrap();
    assert_eq!(kept.text, "perhaps");
}
