//! The events and spans of the pipeline in `tracing`.
//!
//! In a process of its own: `tracing` decides once per process whether an event has a subscriber: when the first thread
//! reaches it.
#![allow(clippy::unwrap_used)]

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex},
};

use futures::{StreamExt, executor::block_on, stream};
use safer_instruct::{
    Instruction, Judgement, Pipeline, Response, SourceText, induce_fn, judge_fn, respond_fn,
};
use tracing::{Metadata, Subscriber, field, span};

const EXPERT: &str = "Keep at it. The first weeks are the hardest.";

/// Writes down all fields of all spans and events.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<String>>);

impl field::Visit for Recorder {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        self.0
            .lock()
            .unwrap()
            .push_str(&format!("{field}={value:?}\n"));
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// What all tests have said.
static RECORDER: LazyLock<Recorder> = LazyLock::new(|| {
    let recorder = Recorder::default();
    tracing::subscriber::set_global_default(recorder.clone()).unwrap();
    recorder
});

#[test]
fn no_span_or_event_holds_a_text() {
    let recorder = &*RECORDER;
    for better in [EXPERT, "never learn", "nobody says this"] {
        let pipeline = Pipeline::new(
            induce_fn(|_| async { Ok(Instruction::new("What about it?")) }),
            respond_fn(|_| async { Ok(Response::new(EXPERT)) }),
            judge_fn(move |_, first: Response, second: Response| async move {
                let holds = |response: &Response| response.text().contains(better);
                Ok(match (holds(&first), holds(&second)) {
                    (true, false) => Judgement::first(),
                    (false, true) => Judgement::second(),
                    _ => Judgement::tie(),
                })
            }),
        );
        let texts = [
            SourceText::new("id-1", "You will never learn it."),
            SourceText::new("id-2", ""),
        ];
        let outcomes = block_on(pipeline.run(stream::iter(texts)).collect::<Vec<_>>());
        assert_eq!(outcomes.len(), 2);
    }
    let log = recorder.0.lock().unwrap();
    for known in ["id-1", "id-2", "source_wins", "tie", "empty"] {
        assert!(log.contains(known), "{known} is missing in {log}");
    }
    for text in ["never learn", "What about", "Keep at it"] {
        assert!(!log.contains(text), "{text} is in {log}");
    }
}

#[cfg(feature = "openai")]
#[test]
fn a_model_that_is_not_listed_and_answers_is_named() {
    use safer_instruct::backends::openai::{
        HttpRequest, HttpResponse, HttpTransport, OpenAiModel, TransportError,
    };

    struct Any;

    #[async_trait::async_trait]
    impl HttpTransport for Any {
        async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
            let body = match request.uri().path() {
                "/v1/models" => r#"{"data": [{"id": "llama3.1:latest"}]}"#,
                _ => {
                    r#"{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5}}"#
                }
            };
            Ok(HttpResponse::new(body.into()))
        }
    }

    let recorder = &*RECORDER;
    let model = OpenAiModel::builder("http://any/v1", "llama3.1")
        .with_transport(Any)
        .with_sleep(|_| std::future::ready(()));
    block_on(model.connect()).unwrap();
    let log = recorder.0.lock().unwrap();
    let said = "server=\"llama3.1 at http://any/v1\"\nlisted=\"llama3.1:latest\"\n";
    assert!(log.contains(said), "{log}");
}

#[cfg(feature = "openai")]
#[test]
fn a_server_that_asks_to_wait_is_named_once() {
    use std::time::Duration;

    use futures::FutureExt;
    use safer_instruct::{
        ChatModel, ChatRequest, Message,
        backends::openai::{HttpRequest, HttpResponse, HttpTransport, OpenAiModel, TransportError},
    };

    struct Busy;

    #[async_trait::async_trait]
    impl HttpTransport for Busy {
        async fn send(&self, _: HttpRequest) -> Result<HttpResponse, TransportError> {
            // Only once both are on their way.
            let mut is_sent = false;
            std::future::poll_fn(|_| {
                if std::mem::replace(&mut is_sent, true) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
            let mut answer = HttpResponse::default();
            *answer.status_mut() = 429.try_into().unwrap();
            let wait = "3600".parse().unwrap();
            answer.headers_mut().insert("retry-after", wait);
            Ok(answer)
        }
    }

    let recorder = &*RECORDER;
    let model = OpenAiModel::builder("http://busy/v1", "m")
        .with_transport(Busy)
        .with_sleep(|_| std::future::ready(()))
        .with_clock(|| Duration::ZERO)
        .build()
        .unwrap();
    let ask = ChatRequest::new(vec![Message::user("Name a river.")]);
    let (mut one, mut other) = (model.complete(&ask), model.complete(&ask));
    assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
    assert!(block_on(one).is_err() && block_on(other).is_err());
    let said = recorder.0.lock().unwrap();
    let pause = "message=the server asks to wait; no request is sent\nserver=\"m at http://busy/v1\"\nwait=60s\n";
    assert_eq!(said.matches(pause).count(), 1, "{said}");
}
