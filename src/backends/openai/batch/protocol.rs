//! Batches as servers describe them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer};

use super::row::plain;

/// The most batches that servers list per page.
pub(super) const PAGE: usize = 100;

/// A batch on a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Batch {
    /// Its name on the server.
    pub id: String,
    /// Its state.
    pub status: BatchStatus,
    /// The path that its requests are for.
    #[serde(default, deserialize_with = "or_default")]
    pub endpoint: String,
    /// The file of its requests.
    #[serde(default, deserialize_with = "or_default")]
    pub input_file_id: String,
    /// The file of the answers, once there is one.
    #[serde(default)]
    pub output_file_id: Option<String>,
    /// The file of the failed requests, once there is one.
    #[serde(default)]
    pub error_file_id: Option<String>,
    /// The numbers of its requests.
    #[serde(default, deserialize_with = "or_default")]
    pub request_counts: RequestCounts,
    /// Why it failed as a whole.
    #[serde(default, deserialize_with = "faults")]
    pub errors: Vec<BatchFault>,
    /// The metadata that it was created with.
    #[serde(default, deserialize_with = "metadata")]
    pub metadata: BTreeMap<String, String>,
}

/// The state of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchStatus {
    /// The file of requests is being validated.
    Validating,
    /// The file of requests is invalid; no request was served.
    Failed,
    /// The requests are being served.
    InProgress,
    /// The results are being prepared.
    Finalizing,
    /// The results are ready.
    Completed,
    /// It did not finish in time. Requests that were served have results.
    Expired,
    /// It is being cancelled.
    Cancelling,
    /// It was cancelled. Requests that were served have results.
    Cancelled,
    /// A state that the crate does not know; it is not final.
    #[serde(untagged)]
    Other(String),
}

impl BatchStatus {
    /// Whether the state will not change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Completed | Self::Expired | Self::Cancelled
        )
    }
}

/// The numbers of requests of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct RequestCounts {
    /// All requests.
    #[serde(default)]
    pub total: u64,
    /// Requests that were served.
    #[serde(default)]
    pub completed: u64,
    /// Requests that failed.
    #[serde(default)]
    pub failed: u64,
}

/// One reason why a batch failed as a whole. The server's message is left out, because it may quote a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchFault {
    /// The server's code, such as `token_limit_exceeded`; empty if it has none.
    pub code: String,
    /// The line of the file of requests, counted from 1, if it concerns one.
    pub line: Option<u64>,
}

impl fmt::Display for BatchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.code.is_empty() {
            "no code"
        } else {
            &self.code
        })?;
        self.line
            .map_or(Ok(()), |line| write!(f, " in line {line}"))
    }
}

/// A page of the server's list of batches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct BatchPage {
    /// The batches, usually the latest first.
    pub data: Vec<Batch>,
    /// Whether there are more after the last of these.
    #[serde(default, deserialize_with = "or_default")]
    pub has_more: bool,
}

impl BatchPage {
    /// Whether another page may follow. Some servers do not say.
    pub(super) fn goes_on(&self) -> bool {
        self.has_more || self.data.len() >= PAGE
    }
}

#[derive(Deserialize)]
pub(super) struct Uploaded {
    pub(super) id: String,
}

/// Reads `null`, which many servers send for what they leave out, as the default.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads metadata without values that are not strings, which some servers add.
fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let all: BTreeMap<String, serde_json::Value> = or_default(from)?;
    let texts = all.into_iter().filter_map(|(name, value)| match value {
        serde_json::Value::String(text) => Some((name, text)),
        _ => None,
    });
    Ok(texts.collect())
}

fn faults<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BatchFault>, D::Error> {
    #[derive(Default, Deserialize)]
    struct List {
        #[serde(default, deserialize_with = "or_default")]
        data: Vec<Fault>,
    }
    #[derive(Deserialize)]
    struct Fault {
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        line: Option<u64>,
    }
    let list: List = or_default(from)?;
    let faults = list.data.into_iter().map(|fault| BatchFault {
        code: plain(&fault.code.unwrap_or_default()),
        line: fault.line,
    });
    Ok(faults.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of OpenAI's reference, shortened.
    const BATCH: &str = r#"{"id": "batch_abc123", "object": "batch", "endpoint": "/v1/chat/completions", "errors": null,
        "input_file_id": "file-abc123", "completion_window": "24h", "status": "in_progress", "output_file_id": null, "error_file_id": null,
        "created_at": 1711471533, "request_counts": {"total": 100, "completed": 95, "failed": 5},
        "metadata": {"customer_id": "user_123456789"}}"#;

    #[test]
    fn a_batch_is_read_with_and_without_what_servers_leave_out() {
        let batch: Batch = serde_json::from_str(BATCH).unwrap();
        assert_eq!(
            (batch.id.as_str(), batch.status),
            ("batch_abc123", BatchStatus::InProgress)
        );
        assert_eq!(batch.request_counts.completed, 95);
        assert_eq!(batch.metadata["customer_id"], "user_123456789");
        let bare: Batch = serde_json::from_str(
            r#"{"id": "b", "status": "paused", "metadata": null, "request_counts": null, "endpoint": null}"#,
        )
        .unwrap();
        assert_eq!(bare.status, BatchStatus::Other("paused".into()));
        assert!(!bare.status.is_final() && bare.metadata.is_empty());
    }

    #[test]
    fn a_fault_shows_its_code_and_none_of_the_words() {
        let failed = r#"{"id": "b", "status": "failed", "errors": {"object": "list", "data": [
            {"code": "invalid_json_line", "line": 3, "message": "The kettle sings.", "param": null}, {"code": "The kettle sings."}]}}"#;
        let batch: Batch = serde_json::from_str(failed).unwrap();
        assert!(batch.status.is_final());
        let shown: Vec<String> = batch.errors.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["invalid_json_line in line 3", "no code"]);
        assert!(!format!("{batch:?}").contains("kettle"));
    }
}
