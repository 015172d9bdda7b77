//! The batch endpoints of a server.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Batch, BatchPage,
    protocol::{PAGE, Uploaded},
    row::plain,
};
use crate::{
    backends::openai::{HttpResponse, OpenAiModel, errors::classify},
    error::{Error, Result},
    files::sha256,
    record::Usage,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A client of the batch endpoints of a model's server: `/files` and `/batches`.
///
/// It uses the key, headers, transport and limits of the model. A call sends one request.
///
/// # Errors
/// Every call fails as [`OpenAiModel`] does: [`Error::Transport`], [`Error::TimedOut`] and [`Error::RateLimited`] are
/// transient, [`Error::Refused`] is not. No error contains a text of the file.
#[derive(Clone, Debug)]
pub struct BatchClient {
    model: OpenAiModel,
    base: String,
}

impl BatchClient {
    /// Uses the server of a model.
    ///
    /// # Errors
    /// [`Error::Config`] if the model has several addresses: a batch belongs to one.
    pub fn new(model: &OpenAiModel) -> Result<Self> {
        let bases: Vec<&str> = model.connection.endpoints.bases().collect();
        match bases.as_slice() {
            [base] => Ok(Self {
                model: model.clone(),
                base: (*base).to_owned(),
            }),
            _ => Err(Error::config(
                "base URL",
                "batches are at one address; leave out `with_endpoint`",
            )),
        }
    }

    /// The model whose server is used.
    #[must_use]
    pub fn model(&self) -> &OpenAiModel {
        &self.model
    }

    /// The address.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Uploads a file of requests and returns its name on the server.
    ///
    /// # Errors
    /// See [`BatchClient`].
    pub async fn upload(&self, file: &[u8]) -> Result<String> {
        let (kind, body) = multipart(file)?;
        let uploaded: Uploaded = self.ask(Method::POST, "/files", kind, body).await?;
        Ok(uploaded.id)
    }

    /// Creates a batch of an uploaded file, all of whose requests are for `endpoint`, such as `/v1/chat/completions`.
    ///
    /// The metadata may have 16 entries, with names of up to 64 characters and values of up to 512. The window is
    /// usually `24h`.
    ///
    /// # Errors
    /// See [`BatchClient`].
    pub async fn create(
        &self,
        file: &str,
        endpoint: &str,
        window: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Batch> {
        let body = json!({
            "input_file_id": file, "endpoint": endpoint, "completion_window": window, "metadata": metadata,
        });
        let body = serde_json::to_vec(&body).map_err(|error| Error::Other(error.into()))?;
        self.ask(Method::POST, "/batches", JSON, body).await
    }

    /// Reads the state of a batch.
    ///
    /// # Errors
    /// See [`BatchClient`].
    pub async fn get(&self, batch: &str) -> Result<Batch> {
        let path = format!("/batches/{}", checked(batch)?);
        self.ask(Method::GET, &path, JSON, Vec::new()).await
    }

    /// Lists up to 100 batches: the first ones, or those after the one named.
    ///
    /// # Errors
    /// See [`BatchClient`].
    pub async fn list(&self, after: Option<&str>) -> Result<BatchPage> {
        let mut path = format!("/batches?limit={PAGE}");
        if let Some(after) = after {
            path.push_str("&after=");
            path.push_str(checked(after)?);
        }
        self.ask(Method::GET, &path, JSON, Vec::new()).await
    }

    /// Cancels a batch. Requests that were already served are kept and paid for.
    ///
    /// # Errors
    /// See [`BatchClient`].
    pub async fn cancel(&self, batch: &str) -> Result<Batch> {
        let path = format!("/batches/{}/cancel", checked(batch)?);
        self.ask(Method::POST, &path, JSON, Vec::new()).await
    }

    /// Downloads a file, such as the results of a batch. It must fit into the largest response of the transport:
    /// `ClientBuilder::with_max_response`.
    ///
    /// # Errors
    /// See [`BatchClient`].
    pub async fn content(&self, file: &str) -> Result<Vec<u8>> {
        let path = format!("/files/{}/content", checked(file)?);
        let answer = self.call(Method::GET, &path, JSON, Vec::new()).await?;
        Ok(answer.into_body())
    }

    /// The name of a batch on the server, checked because it is stored and shown.
    pub(super) fn name<'a>(&self, batch: &'a Batch) -> Result<&'a str> {
        let id = checked(&batch.id)?;
        let shown = classify::shown(id, &self.model.connection.secrets(&[]));
        if shown.as_deref() == Some(id) {
            Ok(id)
        } else {
            Err(Error::malformed("a name of a batch"))
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        kind: HeaderValue,
        body: Vec<u8>,
    ) -> Result<T> {
        let answer = self.call(method, path, kind, body).await?;
        self.model.connection.read(&answer, &[])
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        kind: HeaderValue,
        body: Vec<u8>,
    ) -> Result<HttpResponse> {
        let connection = &self.model.connection;
        let mut request = connection.request(method, &format!("{}{path}", self.base), body)?;
        if kind != JSON {
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        let _admitted = connection.gate.admit(Usage::default()).await;
        let answer = connection.send(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(connection.refusal(&without_words(answer), &[]))
    }
}

/// Replaces the server's message by its code, because the message may quote any request of the file.
fn without_words(mut answer: HttpResponse) -> HttpResponse {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let error = body.get("error").unwrap_or(&body);
    let name = |field: &str| plain(error.get(field).and_then(Value::as_str).unwrap_or_default());
    let (code, kind) = (name("code"), name("type"));
    let words = if code.is_empty() { &kind } else { &code };
    let error = json!({"error": {"message": words, "type": kind, "code": code}});
    *answer.body_mut() = error.to_string().into_bytes();
    answer
}

/// Checks that a name given by the server is one segment of a path.
fn checked(id: &str) -> Result<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if id.chars().all(plain) && id.contains(|c: char| c.is_ascii_alphanumeric()) {
        Ok(id)
    } else {
        Err(Error::malformed("a name of a batch or a file"))
    }
}

/// A form with the purpose and the file (RFC 7578), and its content type.
fn multipart(file: &[u8]) -> Result<(HeaderValue, Vec<u8>)> {
    // A line that stands nowhere in the file, as its hash cannot.
    let hash = sha256(file);
    let boundary = format!("safer-instruct-{hash:.32}");
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"requests.jsonl\"\r\n\
         content-type: application/jsonl\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let kind = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
        .map_err(|error| Error::Other(error.into()))?;
    Ok((kind, [head.as_bytes(), file, tail.as_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::backends::openai::tests::{KEY, builder};

    #[test]
    fn a_batch_that_is_named_like_the_key_has_no_name() {
        let client = BatchClient::new(&builder(200, "").build().unwrap()).unwrap();
        let batch = |id: &str| serde_json::from_value(json!({"id": id, "status": "failed"}));
        assert_eq!(client.name(&batch("batch_1").unwrap()).unwrap(), "batch_1");
        let long = "b".repeat(1_000);
        for bad in ["../batch_1", KEY, &long] {
            assert!(client.name(&batch(bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_shows_a_code_and_none_of_the_words() {
        let report = |body| {
            let client = BatchClient::new(&builder(400, body).build().unwrap()).unwrap();
            let none = BTreeMap::new();
            let create = client.create("file-1", "/v1/completions", "1h", &none);
            block_on(create).unwrap_err().report()
        };
        let body = r#"{"error": {"message": "bad: The kettle sings.", "type": "invalid_request_error", "code": "invalid_window"}}"#;
        assert!(report(body).ends_with("(status 400); it says: invalid_window"));
        let body =
            r#"{"message": "bad: The kettle sings.", "type": "BadRequestError", "code": 400}"#;
        assert!(report(body).ends_with("(status 400); it says: BadRequestError"));
        for body in [
            "",
            r#"{"error": "The kettle sings."}"#,
            r#"{"error": {"code": "sk-canary-0123456789"}}"#,
        ] {
            assert!(report(body).ends_with("(status 400)"), "{body}");
        }
    }

    #[test]
    fn a_name_that_a_server_gives_leads_nowhere_else() {
        for good in ["batch_abc123", "file-9", "b:1.2"] {
            assert_eq!(checked(good).unwrap(), good);
        }
        for bad in ["", ".", "..", "a/b", "a?b", "a b", "ä", "a%2f"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_form_is_written_as_the_standard_says() {
        let (kind, body) = multipart(b"{}\n").unwrap();
        let boundary = kind
            .to_str()
            .unwrap()
            .strip_prefix("multipart/form-data; boundary=")
            .unwrap();
        let expected = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--{boundary}\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"requests.jsonl\"\r\n\
             content-type: application/jsonl\r\n\r\n{{}}\n\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
