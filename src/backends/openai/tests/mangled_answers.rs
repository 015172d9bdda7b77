//! Mangled answers: nothing that a server sends may make a parser panic. `PROPTEST_CASES` sets how many are tried.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::{prelude::*, sample::Index};

use crate::{
    backends::openai::{
        HttpResponse,
        errors::classify::{self, Context},
        http::headers,
        scores::{echo::behind, labels},
        wire::answer::Answer,
    },
    model::TokenLogprob,
};

/// Whole answers of each kind, of the servers that there are.
const BODIES: &[&str] = &[
    r#"{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"I am"},"logprobs":{"content":[{"id":57,"token":"I","bytes":[73],"logprob":-2.25,"top_logprobs":[{"id":57,"token":"I","bytes":[73],"logprob":-2.25}]}]}}],"model":"m","usage":{"completion_tokens":3,"prompt_tokens":32,"total_tokens":35}}"#,
    r#"{"choices":[{"text":" Paris.","index":0,"finish_reason":"stop","logprobs":{"tokens":["The"," cap"],"token_logprobs":[null,-0.5],"top_logprobs":[null,{" cap":-0.5,"a":-1}],"text_offset":[0,3]}}],"usage":{"prompt_tokens":5}}"#,
    r#"{"choices":[{"text":" Paris.","index":0,"finish_reason":"length","logprobs":{"tokens":["The"," cap"," is"],"token_logprobs":[null,-0.5,-1],"top_logprobs":[null,{" cap":-0.5},{}],"text_offset":[-1,-1,-1]}}],"usage":{"prompt_tokens":2,"completion_tokens":1}}"#,
    r#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"content_filter","logprobs":{"content":null}}],"usage":null}"#,
    r#"{"error":{"message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
    r#"{"error":{"code":400,"message":"request (24031 tokens) exceeds","type":"exceed_context_size_error","n_prompt_tokens":24031,"n_ctx":2048}}"#,
    r#"{"object":"error","message":"x","type":"NotFoundError","param":null,"code":404}"#,
    r#"{"detail":[{"loc":["body","messages"],"msg":"field required","type":"value_error"}]}"#,
    r#"[{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}]"#,
    "<html><body>502 Bad Gateway</body></html>",
];

/// A body with some of its bytes replaced, taken out, doubled, or filled up with others.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<Index>(),
        0..4_u8,
        prop_oneof![
            any::<u8>(),
            prop::sample::select(&b"{}[]\",:0-9eE.\\ntu\xff"[..])
        ],
    );
    (
        prop::sample::select(BODIES),
        prop::collection::vec(change, 0..6),
    )
        .prop_map(|(body, changes)| {
            let mut bytes = body.as_bytes().to_vec();
            for (place, kind, byte) in changes {
                if bytes.is_empty() {
                    break;
                }
                let at = place.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, byte),
                    _ => bytes.truncate(at),
                }
            }
            bytes
        })
}

fn response(status: u16, body: Vec<u8>, headers: HeaderMap) -> HttpResponse {
    let mut response = HttpResponse::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    *response.headers_mut() = headers;
    response
}

fn header_lines() -> impl Strategy<Value = HeaderMap> {
    let names = prop::sample::select(
        &[
            "retry-after",
            "retry-after-ms",
            "date",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ][..],
    );
    let values = prop_oneof![
        "[0-9hmsun.eE+-]{0,12}",
        "[ -~]{0,40}",
        Just("Wed, 21 Oct 2026 07:28:00 GMT".to_owned()),
        Just("99999999999999999999h".to_owned()),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.Z+-]{0,20}",
    ];
    prop::collection::vec((names, values), 0..5).prop_map(|lines| {
        let lines = lines.into_iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(&value).unwrap(),
            )
        });
        lines.collect()
    })
}

proptest! {
    #[test]
    fn an_answer_is_read_or_refused(body in mangled()) {
        let Ok(answer) = serde_json::from_slice::<Answer>(&body) else {
            return Ok(());
        };
        if let Ok(completion) = answer.completion("m") {
            let tokens: Option<Vec<TokenLogprob>> = completion.token_logprobs(3);
            prop_assert!(tokens.iter().flatten().all(|token| token.top.len() <= 3));
            for token in tokens.iter().flatten() {
                if let Ok(scores) = labels::scores(&["I".to_owned(), "cap".to_owned()], &token.top) {
                    prop_assert!(scores.iter().all(|score| *score <= 0.0));
                }
            }
            let _ = completion.first_of(57);
            if let Some(echoed) = completion.echoed() {
                let _ = behind(echoed, 1, "The cap", 3);
            }
        }
    }

    #[test]
    fn a_refusal_is_short_and_quotes_nothing(
        body in mangled(),
        status in 100..1000_u16,
        headers in header_lines(),
        from in any::<Index>(),
    ) {
        // A secret that the server repeats.
        let text = String::from_utf8_lossy(&body).into_owned();
        let chars: Vec<char> = text.chars().collect();
        let at = if chars.is_empty() { 0 } else { from.index(chars.len()) };
        let secret: String = chars.iter().skip(at).take(20).collect();
        let context = Context { backend: "b", model: "m", secrets: &[&secret], has_key: true };
        let answer = response(status, body, headers);
        let read = classify::read::<Answer>(&context, &answer).err();
        for error in [Some(classify::error(&context, &answer)), read].into_iter().flatten() {
            let report = error.report();
            prop_assert!(report.chars().count() < 600, "{}", report.len());
            let said = report.split_once("it says: ").map(|(_, said)| said).unwrap_or_default();
            prop_assert!(secret.chars().count() < 20 || !said.contains(&secret), "{said}");
        }
    }

    #[test]
    fn a_wait_is_a_wait(headers in header_lines()) {
        let _ = headers::retry_after(&headers);
        let _ = headers::reset(&headers);
    }
}
