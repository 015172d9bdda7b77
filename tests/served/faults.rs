//! Servers and networks that misbehave.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    num::NonZeroU32,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use safer_instruct::{
    ChatModel, ChatRequest, Decorate, Error, Message, Retry, RetryPolicy, ScoreRequest,
    ScoringModel, Sleep,
    backends::openai::{Client, Limits, OpenAiModel, OpenAiModelBuilder, Server},
};
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::{CANARY, hasty, model, said};

fn ask() -> ChatRequest {
    ChatRequest::new(vec![Message::user("The kettle sings in the morning.")])
}

/// A server below HTTP: what it does with each connection is given.
fn raw_server(serve: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut head = [0; 4096];
            let _ = connection.read(&mut head);
            serve(&mut connection);
        }
    });
    format!("http://{address}/v1")
}

async fn error_of(base: String) -> Error {
    let model = OpenAiModel::builder(base, "m")
        .with_key(CANARY)
        .with_transport(hasty())
        .build()
        .unwrap();
    let error = model.complete(&ask()).await.unwrap_err();
    let shown = format!("{} {error:?}", error.report());
    assert!(
        !shown.contains("kettle") && !shown.contains("canary"),
        "{shown}"
    );
    error
}

#[tokio::test]
async fn what_may_pass_is_transient_and_says_what_it_was() {
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\": [";
    let write = |text: String| {
        move |connection: &mut TcpStream| drop(connection.write_all(text.as_bytes()))
    };
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>";
    let json = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\": ]";
    for (base, says) in [
        ("http://127.0.0.1:9/v1".to_owned(), "refused"),
        (
            raw_server(|connection| drop(connection.shutdown(std::net::Shutdown::Both))),
            "failed: error sending request",
        ),
        (
            raw_server(write(half.to_owned())),
            "failed: error decoding response body",
        ),
        (raw_server(write(page.to_owned())), "answers with a page"),
        (raw_server(write(json.to_owned())), "no whole JSON"),
    ] {
        let error = error_of(base).await;
        assert_eq!(error.retry(), Retry::Transient, "{}", error.report());
        assert!(error.report().contains(says), "{}", error.report());
    }
}

#[tokio::test]
async fn an_error_in_an_answer_of_success_is_what_it_says_and_other_json_is_for_good() {
    for (body, kind, retry) in [
        (
            json!({"error": {"code": 429, "message": "slow down"}}),
            "rate_limited",
            Retry::Transient,
        ),
        (
            json!({"error": {"code": 502, "message": "Provider returned error"}, "user_id": "x"}),
            "transport",
            Retry::Transient,
        ),
        (
            json!({"error": {"message": "bad", "type": "invalid_request_error"}}),
            "refused",
            Retry::Never,
        ),
        (
            json!({"model": "m", "message": {"role": "assistant", "content": "yes"}, "done": true}),
            "refused",
            Retry::Never,
        ),
    ] {
        let server = MockServer::start().await;
        Mock::given(path("/v1/chat/completions"))
            .respond_with(ResponseTemplate::new(200).set_body_json(&body))
            .mount(&server)
            .await;
        let error = error_of(format!("{}/v1", server.uri())).await;
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{body}");
    }
}

#[tokio::test]
async fn no_text_of_a_request_is_repeated_in_whichever_form() {
    let request = ask()
        .with_stop("the end of it")
        .with_choices(["a red kettle", "none\nof these"]);
    let schema = ask().with_json_schema(json!({"enum": ["a \"blue\" kettle of tea"]}));
    for (request, words) in [
        (&request, r"bad stop ['the end of it']"),
        (&request, r"bad choice: 'none\nof these'"),
        (
            &request,
            r#"input: [{\"content\": \"The kettle\u0020sings\u0020in the morning.\"}]"#,
        ),
        (
            &schema,
            r#"invalid schema {\"enum\": [\"a \\"blue\\" kettle of tea\"]}"#,
        ),
    ] {
        let server = MockServer::start().await;
        Mock::given(path("/v1/chat/completions"))
            .respond_with(
                ResponseTemplate::new(400).set_body_json(json!({"error": {"message": words}})),
            )
            .mount(&server)
            .await;
        let vllm = model(&server).with_server(Server::Vllm).build().unwrap();
        let report = vllm.complete(request).await.unwrap_err().report();
        assert!(report.ends_with("(status 400)"), "{report}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_or_drips_times_out() {
    let (drop_it, keep) = std::sync::mpsc::channel::<()>();
    let keep = Mutex::new(keep);
    let hang = raw_server(move |_| {
        let _ = keep.lock().unwrap().recv();
    });
    let drip = raw_server(|connection| {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        // Until the other side closes the connection.
        while connection.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    for base in [hang, drip] {
        let error = error_of(base).await;
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    }
    drop(drop_it);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let base = raw_server(|connection| {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while connection.write_all(&[b' '; 4096]).is_ok() {}
    });
    let error = error_of(base).await;
    assert!(
        error.report().contains("larger than 65536 bytes"),
        "{}",
        error.report()
    );
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn the_key_follows_no_redirect() {
    let (elsewhere, server) = (MockServer::start().await, MockServer::start().await);
    Mock::given(path("/v1/chat/completions"))
        .respond_with(ResponseTemplate::new(307).insert_header(
            "location",
            format!("{}/v1/chat/completions", elsewhere.uri()),
        ))
        .mount(&server)
        .await;
    let error = model(&server)
        .build()
        .unwrap()
        .complete(&ask())
        .await
        .unwrap_err();
    assert!(
        error.report().contains("sends elsewhere"),
        "{}",
        error.report()
    );
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

/// A model in a time that passes only while somebody waits, and how it passes.
fn timed(
    server: &MockServer,
) -> (
    OpenAiModelBuilder,
    Arc<Mutex<Duration>>,
    impl Sleep + Clone + 'static,
) {
    let now = Arc::new(Mutex::new(Duration::ZERO));
    let (clock, sleeper) = (Arc::clone(&now), Arc::clone(&now));
    let sleep = move |wait: Duration| {
        *sleeper.lock().unwrap() += wait;
        std::future::ready(())
    };
    let builder = model(server)
        .with_transport(Client::new().unwrap())
        .with_clock(move || *clock.lock().unwrap())
        .with_sleep(sleep.clone());
    (builder, now, sleep)
}

#[tokio::test]
async fn a_server_that_is_busy_says_for_how_long() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(503)
        .insert_header("retry-after", "40")
        .set_body_json(json!({"error": {"message": "The engine is currently overloaded, please try again later", "type": "server_error"}}));
    Mock::given(path("/v1/chat/completions"))
        .respond_with(busy)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("yes"))
        .mount(&server)
        .await;
    let (builder, now, sleep) = timed(&server);
    let model = builder.build().unwrap();
    let error = model.complete(&ask()).await.unwrap_err();
    assert_eq!(error.kind(), "transport");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(40)));
    assert!(error.report().contains("currently overloaded"));
    // All calls wait, and with_retry does where there is no clock.
    assert_eq!(model.complete(&ask()).await.unwrap().text, "yes");
    assert_eq!(now.lock().unwrap().as_secs(), 40);
    let waits = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&waits);
    let fails = Mutex::new(vec![error]);
    let once = safer_instruct::complete_fn(move |_| {
        let failed = fails.lock().unwrap().pop();
        async move { Err(failed.unwrap_or_else(|| Error::config("done", "it is"))) }
    })
    .with_retry(RetryPolicy::default(), move |wait| {
        noted.lock().unwrap().push(wait);
        sleep.sleep(wait)
    });
    once.complete(&ask()).await.unwrap_err();
    assert_eq!(*waits.lock().unwrap(), [Duration::from_secs(40)]);
}

#[tokio::test]
async fn a_quota_that_is_used_up_for_hours_is_told_at_once() {
    let server = MockServer::start().await;
    // As OpenRouter says it.
    let limited = ResponseTemplate::new(429)
        .insert_header("date", "Wed, 21 Oct 2026 07:27:30 GMT")
        .insert_header("x-ratelimit-limit", "50")
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", "1792627200000");
    Mock::given(path("/v1/chat/completions"))
        .respond_with(limited)
        .expect(2)
        .mount(&server)
        .await;
    let (builder, now, sleep) = timed(&server);
    let model = builder
        .build()
        .unwrap()
        .with_retry(RetryPolicy::default(), sleep);
    let hours = Some(Duration::from_secs(16 * 3600 + 32 * 60 + 30));
    for minutes in [0, 1] {
        let error = model.complete(&ask()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), ("rate_limited", hours));
        assert_eq!(now.lock().unwrap().as_secs(), minutes * 60);
    }
}

#[tokio::test]
async fn scores_give_back_the_tokens_that_they_did_not_use() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "choices": [{"message": {"content": "A"}, "finish_reason": "length", "logprobs": {"content": [
                {"token": "A", "logprob": -0.5, "top_logprobs": [{"token": "A", "logprob": -0.5}]}]}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 1},
        })))
        .mount(&server)
        .await;
    let (builder, now, _) = timed(&server);
    let limits = Limits {
        requests: None,
        tokens: NonZeroU32::new(6_000),
    };
    let model = builder
        .with_server(Server::OpenAi)
        .with_limits(limits)
        .build()
        .unwrap();
    // 1,000 tokens by its bytes, and one that is written.
    let request = ScoreRequest::new(vec![Message::user("x".repeat(3_000))], ["A"]);
    for _ in 0..2 {
        model.score(&request).await.unwrap();
    }
    // 1,001 at first and then 10, at 100 a second after a beginning of 100.
    let seconds = now.lock().unwrap().as_secs_f64();
    assert!((seconds - 9.11).abs() < 1e-6, "{seconds}");
}

#[tokio::test]
async fn an_address_that_is_busy_rests_alone_and_the_other_takes_over() {
    let (busy, up) = (MockServer::start().await, MockServer::start().await);
    Mock::given(path("/v1/chat/completions"))
        .respond_with(ResponseTemplate::new(503).insert_header("retry-after", "20"))
        .expect(1)
        .mount(&busy)
        .await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("yes"))
        .mount(&up)
        .await;
    let (builder, now, _) = timed(&busy);
    let model = builder
        .with_endpoint(format!("{}/v1", up.uri()))
        .build()
        .unwrap();
    let error = model.complete(&ask()).await.unwrap_err();
    assert!(error.report().ends_with("status 503"));
    assert_eq!(error.retry_after(), None, "the next try may go at once");
    for seconds in [0, 19] {
        *now.lock().unwrap() = Duration::from_secs(seconds);
        assert_eq!(model.complete(&ask()).await.unwrap().text, "yes");
        assert_eq!(now.lock().unwrap().as_secs(), seconds);
    }
}

#[tokio::test]
async fn an_address_that_comes_back_and_refuses_a_request_is_well() {
    let (back, up) = (MockServer::start().await, MockServer::start().await);
    for status in [503, 400] {
        Mock::given(path("/v1/chat/completions"))
            .respond_with(ResponseTemplate::new(status))
            .up_to_n_times(1)
            .mount(&back)
            .await;
    }
    for server in [&back, &up] {
        Mock::given(path("/v1/chat/completions"))
            .respond_with(said("yes"))
            .mount(server)
            .await;
    }
    let (builder, now, _) = timed(&back);
    let model = builder
        .with_endpoint(format!("{}/v1", up.uri()))
        .build()
        .unwrap();
    assert_eq!(
        model.complete(&ask()).await.unwrap_err().kind(),
        "transport"
    );
    *now.lock().unwrap() = Duration::from_secs(1);
    assert_eq!(model.complete(&ask()).await.unwrap_err().kind(), "refused");
    // Three at once: it has its share.
    let request = ask();
    futures::future::join_all((0..3).map(|_| model.complete(&request))).await;
    assert_eq!(back.received_requests().await.unwrap().len(), 2 + 2);
}

#[tokio::test]
async fn a_storm_of_429_holds_up_every_call_and_passes() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "7"))
        .up_to_n_times(3)
        .mount(&server)
        .await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("yes"))
        .mount(&server)
        .await;
    let (builder, now, sleep) = timed(&server);
    let model = builder.build().unwrap();
    let error = model.complete(&ask()).await.unwrap_err();
    assert!(
        matches!(error, Error::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() == 7)
    );
    // Another call waits too, though it has not been told.
    assert_eq!(now.lock().unwrap().as_secs(), 0);
    let other = model.complete(&ask()).await.unwrap_err();
    assert!(other.is_transient());
    assert_eq!(now.lock().unwrap().as_secs(), 7);
    let steady = model.with_retry(RetryPolicy::default(), sleep);
    assert_eq!(steady.complete(&ask()).await.unwrap().text, "yes");
}

#[tokio::test]
async fn a_limit_within_an_answer_holds_up_every_call_too() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(
            ResponseTemplate::new(200)
                .insert_header("retry-after", "7")
                .set_body_json(json!({"error": {"code": 429}})),
        )
        .mount(&server)
        .await;
    let now = Arc::new(Mutex::new(Duration::ZERO));
    let (clock, sleeper) = (Arc::clone(&now), Arc::clone(&now));
    let model = model(&server)
        .with_transport(Client::new().unwrap())
        .with_clock(move || *clock.lock().unwrap())
        .with_sleep(move |wait: Duration| {
            *sleeper.lock().unwrap() += wait;
            std::future::ready(())
        })
        .build()
        .unwrap();
    for waited in [0, 7] {
        assert!(model.complete(&ask()).await.unwrap_err().is_transient());
        assert_eq!(now.lock().unwrap().as_secs(), waited);
    }
}

#[tokio::test]
async fn a_second_address_takes_over() {
    let (down, up) = (MockServer::start().await, MockServer::start().await);
    let fails = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fails);
    Mock::given(path("/v1/chat/completions"))
        .respond_with(move |_: &wiremock::Request| {
            count.fetch_add(1, Ordering::SeqCst);
            ResponseTemplate::new(503)
        })
        .mount(&down)
        .await;
    Mock::given(path("/v1/chat/completions"))
        .respond_with(said("yes"))
        .mount(&up)
        .await;
    let model = model(&down)
        .with_endpoint(format!("{}/v1/", up.uri()))
        .with_clock(|| Duration::ZERO)
        .build()
        .unwrap()
        .with_retry(RetryPolicy::default(), |_| std::future::ready(()));
    for _ in 0..10 {
        assert_eq!(model.complete(&ask()).await.unwrap().text, "yes");
    }
    assert_eq!(
        fails.load(Ordering::SeqCst),
        1,
        "it rests after its first failure"
    );
}

#[test]
fn the_client_works_without_a_runtime() {
    let server = raw_server(|connection| {
        let body = r#"{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
        let _ = write!(
            connection,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
    });
    let model = OpenAiModel::builder(server, "m").build().unwrap();
    let completion = futures::executor::block_on(model.complete(&ask())).unwrap();
    assert_eq!(completion.text, "yes");
}

#[test]
fn the_client_has_no_more_requests_on_their_way_than_it_may() {
    const BODY: &str = r#"{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let (here, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    // Requests are answered in pairs: with fewer on their way nothing would go on.
    let pair = Arc::new(Barrier::new(2));
    let server = raw_server(move |connection| {
        let mut connection = connection.try_clone().unwrap();
        let (here, highest, pair) = (Arc::clone(&here), Arc::clone(&highest), Arc::clone(&pair));
        thread::spawn(move || {
            let now = here.fetch_add(1, Ordering::SeqCst) + 1;
            highest.fetch_max(now, Ordering::SeqCst);
            pair.wait();
            // Time in which any more would come.
            thread::sleep(Duration::from_millis(5));
            here.fetch_sub(1, Ordering::SeqCst);
            let _ = write!(
                connection,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
                BODY.len()
            );
        });
    });
    let client = Client::builder().with_max_in_flight(2).build().unwrap();
    let model = OpenAiModel::builder(server, "m")
        .with_client(client)
        .build()
        .unwrap();
    let request = ask();
    let answers = (0..40).map(|_| model.complete(&request));
    for answer in futures::executor::block_on(futures::future::join_all(answers)) {
        assert_eq!(answer.unwrap().text, "yes");
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}
