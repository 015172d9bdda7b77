//! One record to one source text, or the reason why not. No reason shows the record.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Columns, Format, table::Table};

/// What a record holds.
pub(super) struct Parsed {
    pub(super) text: String,
    pub(super) id: Option<String>,
    pub(super) category: Option<Arc<str>>,
}

/// Parses the records of one file.
pub(super) enum Parser {
    Jsonl(Columns),
    Csv(Box<CsvParser>),
    Text,
}

impl Parser {
    /// A parser for `format`; CSV takes the header as its first record.
    pub(super) fn new(format: Format, columns: &Columns, header: &[u8]) -> Result<Self, String> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(columns.clone()),
            Format::Csv => Self::Csv(Box::new(CsvParser::new(columns, header)?)),
            Format::Text => Self::Text,
        })
    }

    /// Parses one record.
    pub(super) fn parse(&mut self, record: &[u8]) -> Result<Parsed, String> {
        let record = utf8(record)?;
        let parsed = match self {
            Self::Jsonl(columns) => jsonl(columns, record)?,
            Self::Csv(csv) => csv.parse(record)?,
            Self::Text => Parsed {
                text: record.to_owned(),
                id: None,
                category: None,
            },
        };
        check_text(&parsed.text)?;
        Ok(parsed)
    }
}

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

fn jsonl(columns: &Columns, record: &str) -> Result<Parsed, String> {
    let mut object = object(record)?;
    let text = match take(&mut object, &columns.text)? {
        Value::String(text) => text,
        other => return Err(wrong_type(&columns.text, &other, "a string")),
    };
    let id = match &columns.id {
        None => None,
        Some(column) => match take(&mut object, column)? {
            Value::String(id) => Some(id),
            Value::Number(id) if !id.is_f64() => Some(id.to_string()),
            other => return Err(wrong_type(column, &other, "a string or a whole number")),
        },
    };
    let category = match &columns.category {
        None => None,
        Some(column) => match take(&mut object, column)? {
            Value::String(category) => Some(category),
            Value::Null => None,
            other => return Err(wrong_type(column, &other, "a string or null")),
        },
    };
    parsed(text, id, category)
}

fn parsed(text: String, id: Option<String>, category: Option<String>) -> Result<Parsed, String> {
    if id.as_deref().is_some_and(|id| id.trim().is_empty()) {
        return Err("the id is empty".to_owned());
    }
    Ok(Parsed {
        text,
        id,
        category: category
            .filter(|category| !category.trim().is_empty())
            .map(Arc::from),
    })
}

pub(super) fn take(object: &mut Map<String, Value>, column: &str) -> Result<Value, String> {
    match object.remove(column) {
        Some(value) => Ok(value),
        None => Err(missing(column, keys(object))),
    }
}

/// The most column names that an error lists, and the most characters of each.
const SHOWN: usize = 12;
const SHOWN_CHARS: usize = 32;

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

/// The names of an object in their order: serde_json keeps them so or as they came, as its features say, which other crates choose.
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

/// The columns of a CSV header that are read.
pub(super) struct CsvParser {
    table: Table,
    text: usize,
    id: Option<usize>,
    category: Option<usize>,
}

impl CsvParser {
    fn new(columns: &Columns, header: &[u8]) -> Result<Self, String> {
        let table = Table::new(header)?;
        Ok(Self {
            text: table.place(&columns.text)?,
            id: table.place_of(columns.id.as_deref())?,
            category: table.place_of(columns.category.as_deref())?,
            table,
        })
    }

    fn parse(&mut self, record: &str) -> Result<Parsed, String> {
        self.table.read(record)?;
        let field = |place| self.table.field(place).to_owned();
        parsed(
            field(self.text),
            self.id.map(field),
            self.category.map(field),
        )
    }
}
