//! Checks of records and their values. The reasons that they give show no value.

use serde_json::{Map, Value};

/// The most column names that a reason lists, and the most characters of each.
const SHOWN: usize = 12;
const SHOWN_CHARS: usize = 32;

/// The bytes as text.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        format!(
            "byte {} of the record is not UTF-8",
            error.valid_up_to() + 1
        )
    })
}

/// Refuses texts that nothing can be made of.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("the text is empty".to_owned());
    }
    check_nul("text", text)
}

/// Refuses the one character that no text of a person holds.
pub(super) fn check_nul(what: &str, text: &str) -> Result<(), String> {
    match text.bytes().position(|byte| byte == 0) {
        Some(at) => Err(format!("byte {} of the {what} is a NUL character", at + 1)),
        None => Ok(()),
    }
}

/// What is wrong with a JSON record, without a piece of it.
pub(super) fn json_reason(error: &serde_json::Error, record: &str) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    let lines = record.split_inclusive('\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    format!("not valid JSON: {what} at byte {}", before + error.column())
}

/// The record as a JSON object.
pub(super) fn object(record: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(record).map_err(|error| json_reason(&error, record))? {
        Value::Object(object) => Ok(object),
        other => Err(format!("the record is {}, not an object", kind(&other))),
    }
}

pub(super) fn take(object: &mut Map<String, Value>, column: &str) -> Result<Value, String> {
    match object.remove(column) {
        Some(value) => Ok(value),
        None => Err(missing(column, keys(object))),
    }
}

pub(super) fn missing<'a>(column: &str, names: impl Iterator<Item = &'a str>) -> String {
    format!("no column {column}; {}", there(names))
}

/// Which columns there are instead.
pub(super) fn there<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names
        .map(|name| {
            name.chars()
                .take(SHOWN_CHARS)
                .flat_map(char::escape_debug)
                .collect()
        })
        .take(SHOWN + 1)
        .collect();
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("…".to_owned());
    }
    if names.is_empty() {
        return "the record is empty".to_owned();
    }
    format!("there are: {}", names.join(", "))
}

/// The names of an object in their order: serde_json keeps them so or as they came, as its features say, which other
/// crates choose.
pub(super) fn keys(object: &Map<String, Value>) -> impl Iterator<Item = &str> + Clone {
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys.into_iter()
}

pub(super) fn wrong_type(column: &str, value: &Value, expected: &str) -> String {
    format!("column {column} is {}, not {expected}", kind(value))
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
