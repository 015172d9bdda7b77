//! Cuts an input into records without ever holding more than one, and no more of it than allowed.

use std::io::{self, BufRead};

/// How a record came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// All of it is there.
    Whole,
    /// It is longer than allowed; the rest was read over.
    TooLong,
    /// The input ended within quotes.
    Unclosed,
}

/// Cuts at line feeds; in CSV, at those outside quotes. A carriage return before the line feed is removed, and blank
/// records are skipped.
pub(super) struct Splitter<R> {
    input: R,
    quotes: bool,
    max_bytes: usize,
    lines: u64,
}

impl<R: BufRead> Splitter<R> {
    /// One record a line.
    pub(super) fn lines(input: R, max_bytes: usize) -> Self {
        Self {
            input,
            quotes: false,
            max_bytes,
            lines: 0,
        }
    }

    /// Says how many lines were read before. By default none.
    pub(super) fn after(mut self, lines: u64) -> Self {
        self.lines = lines;
        self
    }

    /// CSV records, which may hold line feeds within quotes.
    pub(super) fn csv(input: R, max_bytes: usize) -> Self {
        Self {
            quotes: true,
            ..Self::lines(input, max_bytes)
        }
    }

    /// Puts the next record into `record` and says on which line it begins, counted from 1. `None` at the end.
    pub(super) fn next(&mut self, record: &mut Vec<u8>) -> io::Result<Option<(u64, Fit)>> {
        loop {
            let line = self.lines + 1;
            let Some(fit) = self.cut(record)? else {
                return Ok(None);
            };
            if record.last() == Some(&b'\r') {
                record.pop();
            }
            if fit != Fit::Whole || !record.trim_ascii().is_empty() {
                return Ok(Some((line, fit)));
            }
        }
    }

    fn cut(&mut self, record: &mut Vec<u8>) -> io::Result<Option<Fit>> {
        record.clear();
        let mut state = Csv::FieldStart;
        let mut fit = Fit::Whole;
        let mut any = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                if state == Csv::Quoted && fit == Fit::Whole {
                    fit = Fit::Unclosed;
                }
                break;
            }
            any = true;
            let end = if self.quotes {
                chunk.iter().position(|&byte| {
                    self.lines += u64::from(byte == b'\n');
                    state = state.after(byte);
                    byte == b'\n' && state != Csv::Quoted
                })
            } else {
                let end = chunk.iter().position(|&byte| byte == b'\n');
                self.lines += u64::from(end.is_some());
                end
            };
            let piece = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or(chunk);
            // One byte more than allowed: it may be the carriage return that is removed.
            if record.len() + piece.len() > self.max_bytes + 1 {
                fit = Fit::TooLong;
                record.clear();
            }
            if fit == Fit::Whole {
                record.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        let body = record.len() - usize::from(record.last() == Some(&b'\r'));
        if body > self.max_bytes {
            fit = Fit::TooLong;
        }
        if fit == Fit::TooLong {
            record.clear();
        }
        Ok(any.then_some(fit))
    }
}

/// Where in a CSV record a byte stands; the same rules as the csv crate: a quote counts at the start of a field only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Csv {
    FieldStart,
    Bare,
    Quoted,
    QuoteInQuoted,
}

impl Csv {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::FieldStart | Self::QuoteInQuoted, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::QuoteInQuoted,
            (Self::Quoted, _) => Self::Quoted,
            (_, b',' | b'\n') => Self::FieldStart,
            _ => Self::Bare,
        }
    }
}

/// Refuses a record that was not read as a whole.
pub(super) fn whole(fit: Fit, max_bytes: usize) -> Result<(), String> {
    match fit {
        Fit::Whole => Ok(()),
        Fit::TooLong => Err(too_long(max_bytes)),
        Fit::Unclosed => Err("the file ends within quotes that are never closed".to_owned()),
    }
}

pub(super) fn too_long(max_bytes: usize) -> String {
    format!("the record is longer than {max_bytes} bytes; split the text or allow longer records")
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(mut splitter: Splitter<impl BufRead>) -> Vec<(u64, Fit, String)> {
        let mut record = Vec::new();
        let mut out = Vec::new();
        while let Some((line, fit)) = splitter.next(&mut record).unwrap() {
            out.push((line, fit, String::from_utf8(record.clone()).unwrap()));
        }
        out
    }

    #[test]
    fn lines_at_any_buffer_size() {
        let input = "ab\r\n\n  \ncdefgh\nij";
        for size in 1..20 {
            let reader = BufReader::with_capacity(size, input.as_bytes());
            assert_eq!(
                all(Splitter::lines(reader, 5)),
                [
                    (1, Fit::Whole, "ab".into()),
                    (4, Fit::TooLong, String::new()),
                    (5, Fit::Whole, "ij".into())
                ]
            );
        }
    }

    #[test]
    fn csv_quotes_hold_line_feeds() {
        let input = "a,\"b\"\"\n,c\"\r\nx\"y,\"\"\nlast,\"open\n";
        for size in 1..20 {
            let reader = BufReader::with_capacity(size, input.as_bytes());
            assert_eq!(
                all(Splitter::csv(reader, 100)),
                [
                    (1, Fit::Whole, "a,\"b\"\"\n,c\"".into()),
                    (3, Fit::Whole, "x\"y,\"\"".into()),
                    (4, Fit::Unclosed, "last,\"open\n".into())
                ]
            );
        }
    }
}
