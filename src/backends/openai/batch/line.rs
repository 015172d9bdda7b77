//! A request as a line of a batch file.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    backends::openai::OpenAiModel,
    error::{Error, Result},
    files::hex,
    model::ChatRequest,
};

/// Characters of a `custom_id`: 128 bits, so that no two requests share one by chance.
const ID: usize = 32;

/// A request as a line of a batch file.
///
/// Its `custom_id` is a hash of the request, so equal requests have the same in every process, file and batch.
#[derive(Clone, PartialEq, Serialize)]
pub struct RequestLine {
    pub(super) custom_id: String,
    method: &'static str,
    pub(super) url: String,
    body: Map<String, Value>,
}

impl RequestLine {
    /// Makes the line of a request to a model, with the fields that the model adds to every request.
    ///
    /// # Errors
    /// [`Error::Config`] if the server of the model does not support such a request.
    pub fn new(model: &OpenAiModel, request: &ChatRequest) -> Result<Self> {
        let made = model.connection.body(request)?;
        let url = format!("/v1{}", made.path);
        Ok(Self {
            custom_id: custom_id(&url, &made.fields)?,
            method: "POST",
            url,
            body: made.fields,
        })
    }

    /// The identifier of the request in results.
    #[must_use]
    pub fn custom_id(&self) -> &str {
        &self.custom_id
    }

    /// The path that it is for, such as `/v1/chat/completions`. All requests of a batch have the same.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes the line as JSON, with a line break at its end.
    ///
    /// # Errors
    /// [`Error::Other`] if it cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self).map_err(|error| Error::Other(error.into()))?;
        line.push(b'\n');
        Ok(line)
    }
}

impl fmt::Debug for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLine")
            .field("custom_id", &self.custom_id)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Hashes the path and the body. The fields of every object are sorted by name, because their order depends on how
/// `serde_json` was built.
fn custom_id(url: &str, body: &Map<String, Value>) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(url);
    hash.update(b"\n");
    add_object(&mut hash, body)?;
    let mut id = hex(hash.finalize());
    id.truncate(ID);
    Ok(id)
}

fn add_object(hash: &mut Sha256, object: &Map<String, Value>) -> Result<()> {
    let mut fields: Vec<(&String, &Value)> = object.iter().collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    hash.update(b"{");
    for (name, value) in fields {
        add_json(hash, name)?;
        hash.update(b":");
        add(hash, value)?;
        hash.update(b",");
    }
    hash.update(b"}");
    Ok(())
}

fn add(hash: &mut Sha256, value: &Value) -> Result<()> {
    match value {
        Value::Object(object) => add_object(hash, object)?,
        Value::Array(values) => {
            hash.update(b"[");
            for value in values {
                add(hash, value)?;
                hash.update(b",");
            }
            hash.update(b"]");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            add_json(hash, value)?;
        }
    }
    Ok(())
}

fn add_json<T: Serialize + ?Sized>(hash: &mut Sha256, value: &T) -> Result<()> {
    hash.update(serde_json::to_vec(value).map_err(|error| Error::Other(error.into()))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(body: Value) -> String {
        let Value::Object(body) = body else { panic!() };
        custom_id("/v1/chat/completions", &body).unwrap()
    }

    #[test]
    fn an_id_is_the_same_in_every_process_and_build() {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "Name a river."}], "seed": 7, "temperature": 0.5});
        // Computed apart with sha256sum over these two lines, joined:
        // /v1/chat/completions\n{"messages":[{"content":"Name a river.","role":"user",},],
        // "model":"m","seed":7,"temperature":0.5,}
        assert_eq!(id(body), "32828bc974a9df15834d193a0a3673f9");
    }

    #[test]
    fn the_order_of_fields_does_not_count_and_everything_else_does() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":[1,2]}}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":{"d":[1,2],"c":2},"a":1}"#).unwrap();
        assert_eq!(id(one.clone()), id(two));
        for other in [
            r#"{"a":1,"b":{"c":2,"d":[2,1]}}"#,
            r#"{"a":1.0,"b":{"c":2,"d":[1,2]}}"#,
            r#"{"a":"1","b":{"c":2,"d":[1,2]}}"#,
        ] {
            assert_ne!(id(one.clone()), id(serde_json::from_str(other).unwrap()));
        }
        let Value::Object(body) = one.clone() else {
            panic!()
        };
        assert_ne!(id(one), custom_id("/v1/completions", &body).unwrap());
    }
}
