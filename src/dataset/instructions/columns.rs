//! Which columns hold the instruction and the response.

use serde_json::{Map, Value};

use super::found::{Found, found};
use crate::dataset::{
    checks::{keys, missing, there, wrong_type},
    table::Table,
};

/// Which columns of JSON objects or CSV rows hold the instruction and the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructionColumns {
    instruction: String,
    response: String,
    input: Option<String>,
}

impl InstructionColumns {
    /// The names of the two columns.
    pub fn new(instruction: impl Into<String>, response: impl Into<String>) -> Self {
        Self {
            instruction: instruction.into(),
            response: response.into(),
            input: None,
        }
    }

    /// Adds the text of a further column to the instruction, with a blank line between them, unless it is empty: what
    /// the instruction is about, such as Alpaca's `input` or Dolly's `context`. By default there is none.
    #[must_use]
    pub fn with_input(mut self, column: impl Into<String>) -> Self {
        self.input = Some(column.into());
        self
    }

    fn names(&self) -> Names<'_> {
        Names {
            instruction: &self.instruction,
            response: &self.response,
            input: self.input.as_deref(),
        }
    }
}

/// Names that data sets use. With `instruction` goes Alpaca's `input` (github.com/tatsu-lab/stanford_alpaca).
const KNOWN: [(&str, &str); 5] = [
    ("instruction", "response"),
    ("instruction", "output"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
];

struct Names<'a> {
    instruction: &'a str,
    response: &'a str,
    input: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// The names that were asked for, or the first known ones that are there.
    fn find<'n>(
        columns: Option<&'a InstructionColumns>,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Result<Self, String> {
        if let Some(columns) = columns {
            return Ok(columns.names());
        }
        let has = |column: &str| names.clone().any(|name| name == column);
        match KNOWN.into_iter().find(|(a, b)| has(a) && has(b)) {
            Some((instruction, response)) => Ok(Self {
                instruction,
                response,
                input: (instruction == "instruction" && has("input")).then_some("input"),
            }),
            None => Err(format!(
                "no known columns of an instruction and its response (name yours); {}",
                there(names)
            )),
        }
    }
}

/// The pair in the columns of a JSON object. `null` is an empty text.
pub(super) fn in_object(
    columns: Option<&InstructionColumns>,
    mut object: Map<String, Value>,
) -> Result<Found, String> {
    let names = Names::find(columns, keys(&object))?;
    let mut text = |column: &str| match object.get_mut(column).map(Value::take) {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Null) => Ok(String::new()),
        Some(other) => Err(wrong_type(column, &other, "a string")),
        None => Err(missing(column, keys(&object))),
    };
    let instruction = text(names.instruction)?;
    let input = names.input.map(&mut text).transpose()?;
    found(join(instruction, input.as_deref()), text(names.response)?)
}

/// The places of the columns in a table.
pub(super) struct Places {
    instruction: usize,
    response: usize,
    input: Option<usize>,
}

impl Places {
    pub(super) fn find(
        columns: Option<&InstructionColumns>,
        table: &Table,
    ) -> Result<Self, String> {
        let names = Names::find(columns, table.names())?;
        Ok(Self {
            instruction: table.place(names.instruction)?,
            response: table.place(names.response)?,
            input: table.place_of(names.input)?,
        })
    }

    /// The pair in the row that was read last.
    pub(super) fn pair(&self, table: &Table) -> Result<Found, String> {
        let instruction = table.field(self.instruction).to_owned();
        let input = self.input.map(|place| table.field(place));
        found(
            join(instruction, input),
            table.field(self.response).to_owned(),
        )
    }
}

fn join(instruction: String, input: Option<&str>) -> String {
    match input {
        Some(input) if !input.trim().is_empty() => format!("{instruction}\n\n{input}"),
        _ => instruction,
    }
}
