//! What a run is made with, and how a change of it is reported.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dataset::{differences, sorted};

/// The most characters that are shown of a string without white space, such as a hash.
const MOST_CHARS: usize = 40;
/// And of one with white space, which may be a text.
const MOST_CHARS_OF_TEXT: usize = 24;

/// What the caller says, and the version of the crate.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) library: String,
    #[serde(rename = "manifest")]
    pub(super) value: Value,
}

impl Manifest {
    pub(super) fn new(value: Value) -> Self {
        Self {
            value: sorted(value),
            library: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// What differs in `new`, as `place: old -> new`.
    pub(super) fn changes(&self, new: &Self) -> Vec<String> {
        let mut changes: Vec<String> = differences(&self.value, &new.value)
            .into_iter()
            .map(|differ| {
                format!(
                    "{}: {} -> {}",
                    differ.place,
                    show(differ.old),
                    show(differ.new)
                )
            })
            .collect();
        if self.library != new.library {
            changes.push(format!(
                "version of the library: {} -> {}",
                self.library, new.library
            ));
        }
        changes
    }
}

/// A value for people. What may be a text is not shown at length: the texts are harmful by nature.
fn show(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => {
            let is_text = text.chars().any(char::is_whitespace);
            let most = if is_text {
                MOST_CHARS_OF_TEXT
            } else {
                MOST_CHARS
            };
            match text.chars().nth(most) {
                None => Value::from(text.as_str()).to_string(),
                Some(_) if is_text => format!("a text of {} bytes", text.len()),
                Some(_) => {
                    let head: String = text.chars().take(most).collect();
                    format!("{}…", Value::from(head))
                }
            }
        }
        Some(Value::Array(list)) => format!("a list of {}", list.len()),
        Some(Value::Object(map)) => format!("an object of {} names", map.len()),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_change_is_named_and_no_text_is_shown() {
        let old = Manifest::new(json!({
            "model": {"name": "small", "hash": "sha256:".to_owned() + &"a".repeat(64)},
            "seed": 7,
            "gone": [1, 2],
            "same": {"x": 1},
            "prompt": "Say something kind about what you are told here.",
            "title": "two words",
        }));
        let new = Manifest::new(json!({
            "model": {"name": "large", "hash": "sha256:".to_owned() + &"b".repeat(64)},
            "seed": 8,
            "same": {"x": 1},
            "prompt": "Say something else about what you are told here.",
            "title": "two other words",
            "came": {"y": 1},
        }));
        assert_eq!(
            old.changes(&new),
            [
                "came: nothing -> an object of 1 names",
                "model.hash: \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"… -> \"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"…",
                "model.name: \"small\" -> \"large\"",
                "prompt: a text of 48 bytes -> a text of 48 bytes",
                "seed: 7 -> 8",
                "title: \"two words\" -> \"two other words\"",
                "gone: a list of 2 -> nothing",
            ]
        );
        assert!(old.changes(&old).is_empty());
    }

    #[test]
    fn another_version_of_the_library_is_a_change() {
        let old = Manifest::new(json!(null));
        let mut new = Manifest::new(json!(null));
        new.library = "9.9.9".to_owned();
        assert_eq!(
            old.changes(&new),
            [format!("version of the library: {} -> 9.9.9", old.library)]
        );
    }
}
