//! CSV records under one header.

use std::io::{self, Read};

use super::checks::{missing, utf8};

/// The names of the columns, and the fields of the record that was read last.
pub(super) struct Table {
    reader: csv::Reader<Feed>,
    names: csv::StringRecord,
    fields: csv::StringRecord,
}

impl Table {
    /// A table under a header, which is its first record.
    pub(super) fn new(header: &[u8]) -> Result<Self, String> {
        let mut table = Self {
            reader: csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .terminator(csv::Terminator::Any(b'\n'))
                .from_reader(Feed::default()),
            names: csv::StringRecord::new(),
            fields: csv::StringRecord::new(),
        };
        table.parse(utf8(header)?)?;
        table.names = table.fields.clone();
        Ok(table)
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.iter().map(str::trim)
    }

    /// Where a column stands.
    pub(super) fn place(&self, column: &str) -> Result<usize, String> {
        let mut places = self
            .names()
            .enumerate()
            .filter(|(_, name)| *name == column)
            .map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => Err(format!("the header names column {column} twice")),
            (None, _) => Err(missing(column, self.names.iter())),
        }
    }

    /// Where a column stands, if one is wanted.
    pub(super) fn place_of(&self, column: Option<&str>) -> Result<Option<usize>, String> {
        column.map(|column| self.place(column)).transpose()
    }

    /// Reads one record, which must have as many fields as the header.
    pub(super) fn read(&mut self, record: &str) -> Result<(), String> {
        self.parse(record)?;
        if self.fields.len() != self.names.len() {
            return Err(format!(
                "the number of fields is {}, but the header has {}",
                self.fields.len(),
                self.names.len()
            ));
        }
        Ok(())
    }

    /// A field of the record that was read last.
    pub(super) fn field(&self, place: usize) -> &str {
        self.fields.get(place).unwrap_or_default()
    }

    fn parse(&mut self, record: &str) -> Result<(), String> {
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
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.read(buf)?;
        self.at += count;
        Ok(count)
    }
}
