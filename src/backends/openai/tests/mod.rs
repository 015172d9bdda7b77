//! Whole models over scripted answers.

mod mangled_answers;

use ::http::{Method, StatusCode};
use async_trait::async_trait;
use futures::executor::block_on;

use super::*;
use crate::model::{ChatModel, ChatRequest, Prompt};

pub(super) const KEY: &str = "sk-canary-0123456789";

struct Says(u16, &'static str);

#[async_trait]
impl HttpTransport for Says {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, TransportError> {
        let mut answer = HttpResponse::new(self.1.into());
        *answer.status_mut() = StatusCode::from_u16(self.0).unwrap();
        Ok(answer)
    }
}

pub(super) fn builder(status: u16, body: &'static str) -> OpenAiModelBuilder {
    let builder = OpenAiModel::builder("http://localhost/v1", "m");
    builder.with_key(KEY).with_transport(Says(status, body))
}

#[test]
fn no_choice_is_repeated() {
    let body = r#"{"error": {"message": "no grammar for: the kettle sings"}}"#;
    let model = builder(400, body)
        .with_server(Server::Vllm)
        .build()
        .unwrap();
    let ask = |choice| {
        let request = ChatRequest::new(Prompt::Raw(String::new())).with_choices([choice]);
        block_on(model.complete(&request)).unwrap_err().report()
    };
    assert!(ask("the cup rests").ends_with("it says: no grammar for: the kettle sings"));
    assert!(ask("the kettle sings").ends_with("(status 400)"));
}

/// Lists models, and knows none.
struct Lists(&'static str);

#[async_trait]
impl HttpTransport for Lists {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let is_list = request.method() == Method::GET;
        Says(if is_list { 200 } else { 404 }, self.0)
            .send(request)
            .await
    }
}

#[test]
fn names_of_models_are_shown_on_one_line_and_without_the_key() {
    let body = r#"{"data": [{"id": "sk-canary-0123456789"}, {"id": "a\nb"}, {"id": "c"}]}"#;
    let builder = builder(0, "").with_transport(Lists(body));
    let error = block_on(builder.connect()).unwrap_err();
    let says = "its list has no m, but a b, c";
    assert!(error.report().ends_with(says), "{}", error.report());
}

#[cfg(feature = "batch")]
#[test]
fn no_code_of_a_batch_holds_the_key() {
    let model = builder(200, "").build().unwrap();
    let report = |code: &str| {
        let line = serde_json::json!({"custom_id": "a", "error": {"code": code}}).to_string();
        let row = batch::BatchReader::new("-", line.as_bytes())
            .next()
            .unwrap();
        let request = ChatRequest::new(Prompt::Raw(String::new()));
        row.unwrap()
            .completion(&model, &request)
            .unwrap_err()
            .report()
    };
    assert!(report("batch_expired").ends_with("failed to serve the request (batch_expired)"));
    assert!(report(KEY).ends_with("failed to serve the request"));
}
