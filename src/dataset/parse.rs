//! One record to one source text, or the reason why not. No reason shows the record.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Columns, Format,
    checks::{check_text, object, take, utf8, wrong_type},
    table::Table,
};

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
