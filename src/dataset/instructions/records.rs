//! The records of a file, in any of the formats.

use std::{
    io::{self, BufRead},
    path::Path,
};

use super::{
    builder::InstructionReaderBuilder,
    columns::Places,
    elements::{Element, Elements},
    found::Found,
    parse::json,
};
use crate::{
    dataset::{
        Format,
        checks::utf8,
        decode::{self, Input},
        split::{Splitter, too_long, whole},
        table::Table,
    },
    error::{Error, Result},
};

/// A file that is being read.
pub(super) enum Records {
    Lines(Splitter<Input>),
    Array(Elements<Input>),
    Table(Splitter<Input>, Box<Table>, Places),
}

impl Records {
    /// Opens a file and finds out what it holds.
    pub(super) fn open(options: &InstructionReaderBuilder, path: &Path) -> Result<Self> {
        if options.format == Some(Format::Text) {
            let reason = "plain text has no columns; give JSONL or CSV";
            return Err(Error::config("format", reason));
        }
        let mut input = decode::open(path)?;
        let format = options.format.or_else(|| Format::of_path(path));
        if format == Some(Format::Csv) {
            return Self::table(options, path, input);
        }
        let (lines, first) =
            decode::first_byte(&mut input).map_err(|error| Error::io(path, error))?;
        let max = options.max_record_bytes;
        match first {
            Some(b'[') => {
                input.consume(1);
                Ok(Self::Array(Elements::new(input, max, lines)))
            }
            None | Some(b'{') => Ok(Self::Lines(Splitter::lines(input, max).after(lines))),
            // A broken line is one bad record.
            _ if format == Some(Format::Jsonl) => {
                Ok(Self::Lines(Splitter::lines(input, max).after(lines)))
            }
            _ => {
                let reason = format!(
                    "neither the ending of {} nor its first character says whether it is JSON or CSV; give the format",
                    path.display()
                );
                Err(Error::config("format", reason))
            }
        }
    }

    fn table(options: &InstructionReaderBuilder, path: &Path, input: Input) -> Result<Self> {
        let max = options.max_record_bytes;
        let mut splitter = Splitter::csv(input, max);
        let mut header = Vec::new();
        let next = splitter.next(&mut header);
        let Some((line, fit)) = next.map_err(|error| Error::io(path, error))? else {
            return Err(Error::input(path, None, "no header: the file is empty"));
        };
        whole(fit, max)
            .and_then(|()| Table::new(&header))
            .and_then(|table| {
                let places = Places::find(options.columns.as_ref(), &table)?;
                Ok(Self::Table(splitter, Box::new(table), places))
            })
            .map_err(|reason| Error::input(path, line, reason))
    }

    /// What to say of a file without any record.
    pub(super) fn none(&self) -> &'static str {
        match self {
            Self::Array(_) => "no records: the array is empty",
            Self::Lines(_) | Self::Table(..) => "no records: the file is empty",
        }
    }

    /// Whether the file ended inside its array.
    pub(super) fn is_cut_off(&self) -> bool {
        matches!(self, Self::Array(elements) if elements.is_cut_off())
    }

    /// The next record: its line, and what it holds or what is wrong with it. `record` is for its bytes.
    pub(super) fn next(
        &mut self,
        options: &InstructionReaderBuilder,
        record: &mut Vec<u8>,
    ) -> io::Result<Option<(u64, Result<Found, String>)>> {
        let max = options.max_record_bytes;
        let columns = options.columns.as_ref();
        Ok(match self {
            Self::Lines(splitter) => splitter.next(record)?.map(|(line, fit)| {
                let found = whole(fit, max).and_then(|()| json(columns, record));
                (line, found)
            }),
            Self::Table(splitter, table, places) => splitter.next(record)?.map(|(line, fit)| {
                let found = whole(fit, max)
                    .and_then(|()| table.read(utf8(record)?))
                    .and_then(|()| places.pair(table));
                (line, found)
            }),
            Self::Array(elements) => elements.next(record)?.map(|(line, element)| {
                let found = in_array(element, elements.count(), max, || json(columns, record));
                (line, found)
            }),
        })
    }
}

/// What an element of an array holds. All of an array may stand on one line, so that its reasons count records.
fn in_array(
    element: Element,
    number: u64,
    max_bytes: usize,
    parse: impl FnOnce() -> Result<Found, String>,
) -> Result<Found, String> {
    let reason = match element {
        Element::Whole => match parse() {
            Ok(found) => return Ok(found),
            Err(reason) => format!("record {number}: {reason}"),
        },
        Element::TooLong => format!("record {number}: {}", too_long(max_bytes)),
        Element::CutOff(bytes) => format!(
            "record {number} is cut off after {bytes} bytes: the file ends before the array does"
        ),
        Element::Unclosed => {
            format!("the array is never closed: the file is cut off behind record {number}")
        }
        Element::Behind => "the array ends before the file does; only the array is read".to_owned(),
    };
    Err(reason)
}
