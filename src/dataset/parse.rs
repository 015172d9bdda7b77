//! One record to one source text, or the reason why not. No reason shows the record.

use std::{io::Read, sync::Arc};

use serde_json::{Map, Value};

use super::{Columns, Format};

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
    match text.bytes().position(|byte| byte == 0) {
        Some(at) => Err(format!("byte {} of the text is a NUL character", at + 1)),
        None => Ok(()),
    }
}

/// What is wrong with a JSON record, without a piece of it.
pub(super) fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("not valid JSON: {what} at byte {}", error.column())
}

fn jsonl(columns: &Columns, record: &str) -> Result<Parsed, String> {
    let value: Value = serde_json::from_str(record).map_err(|error| json_reason(&error))?;
    let Value::Object(mut object) = value else {
        return Err(format!("the record is {}, not an object", kind(&value)));
    };
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

fn take(object: &mut Map<String, Value>, column: &str) -> Result<Value, String> {
    match object.remove(column) {
        Some(value) => Ok(value),
        None => Err(missing(column, object.keys().map(String::as_str))),
    }
}

/// The most column names that an error lists, and the most characters of each.
const SHOWN: usize = 12;
const SHOWN_CHARS: usize = 32;

fn missing<'a>(column: &str, there: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = there
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
        return format!("no column {column}; the record is empty");
    }
    format!("no column {column}; there are: {}", names.join(", "))
}

fn wrong_type(column: &str, value: &Value, expected: &str) -> String {
    format!("column {column} is {}, not {expected}", kind(value))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// CSV records under one header.
pub(super) struct CsvParser {
    reader: csv::Reader<Feed>,
    fields: csv::StringRecord,
    width: usize,
    text: usize,
    id: Option<usize>,
    category: Option<usize>,
}

impl CsvParser {
    fn new(columns: &Columns, header: &[u8]) -> Result<Self, String> {
        let mut csv = Self {
            reader: csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .terminator(csv::Terminator::Any(b'\n'))
                .from_reader(Feed::default()),
            fields: csv::StringRecord::new(),
            width: 0,
            text: 0,
            id: None,
            category: None,
        };
        csv.read(utf8(header)?)?;
        let find = |column: &String| {
            let mut places = csv
                .fields
                .iter()
                .enumerate()
                .filter(|(_, name)| name.trim() == column);
            match (places.next(), places.next()) {
                (Some((place, _)), None) => Ok(place),
                (Some(_), Some(_)) => Err(format!("the header names column {column} twice")),
                (None, _) => Err(missing(column, csv.fields.iter())),
            }
        };
        let (text, id, category) = (
            find(&columns.text)?,
            columns.id.as_ref().map(find).transpose()?,
            columns.category.as_ref().map(find).transpose()?,
        );
        csv.width = csv.fields.len();
        (csv.text, csv.id, csv.category) = (text, id, category);
        Ok(csv)
    }

    fn parse(&mut self, record: &str) -> Result<Parsed, String> {
        self.read(record)?;
        if self.fields.len() != self.width {
            return Err(format!(
                "the number of fields is {}, but the header has {}",
                self.fields.len(),
                self.width
            ));
        }
        let field = |place| self.fields.get(place).unwrap_or_default().to_owned();
        parsed(
            field(self.text),
            self.id.map(field),
            self.category.map(field),
        )
    }

    fn read(&mut self, record: &str) -> Result<(), String> {
        self.reader.get_mut().set(record);
        match self.reader.read_record(&mut self.fields) {
            Ok(true) => Ok(()),
            Ok(false) => Err("not a CSV record".to_owned()),
            Err(error) => Err(format!("not a CSV record: {error}")),
        }
    }
}

/// Gives the csv reader one record at a time, closed by a line feed, so that the reader never looks past it.
#[derive(Default)]
struct Feed {
    bytes: Vec<u8>,
    at: usize,
}

impl Feed {
    fn set(&mut self, record: &str) {
        self.bytes.clear();
        self.bytes.extend_from_slice(record.as_bytes());
        self.bytes.push(b'\n');
        self.at = 0;
    }
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.read(buf)?;
        self.at += count;
        Ok(count)
    }
}
