//! Cuts a JSON array into its elements without ever holding more than one, and no more of it than allowed.

use std::io::{self, BufRead};

/// How an element came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// All of it is there.
    Whole,
    /// It is longer than allowed; the rest was read over.
    TooLong,
    /// The input ended after so many of its bytes.
    CutOff(u64),
    /// The input ended after an element, but the array did not.
    Unclosed,
    /// There is something after the array.
    Behind,
}

/// Cuts at commas that are in no string and no bracket. What is between them need not be JSON: a broken element is the
/// parser's concern, and those after it come out as long as its quotes and brackets are closed. White space around
/// elements is removed, and blank ones are skipped.
pub(super) struct Elements<R> {
    input: R,
    max_bytes: usize,
    lines: u64,
    count: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Inside,
    Behind,
    Over,
    /// The input ended before the array did.
    CutOff,
}

impl<R: BufRead> Elements<R> {
    /// The elements of an array whose opening bracket was read, after so many lines.
    pub(super) fn new(input: R, max_bytes: usize, lines: u64) -> Self {
        Self {
            input,
            max_bytes,
            lines,
            count: 0,
            state: State::Inside,
        }
    }

    /// Whether the input ended before the array did, within a record that is no longer than allowed or after one.
    pub(super) fn is_cut_off(&self) -> bool {
        self.state == State::CutOff
    }

    /// How many elements there were, with the one that came out last.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Puts the next element into `record` and says on which line it begins, counted from 1. `None` at the end.
    pub(super) fn next(&mut self, record: &mut Vec<u8>) -> io::Result<Option<(u64, Element)>> {
        record.clear();
        let mut place = Place::default();
        let (mut line, mut length) = (0, 0_usize);
        while matches!(self.state, State::Inside | State::Behind) {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                return Ok(self.end(line, length, place));
            }
            let mut used = 0;
            let mut ended = false;
            for &byte in chunk {
                used += 1;
                self.lines += u64::from(byte == b'\n');
                let outside = place.is_outside();
                if outside && byte.is_ascii_whitespace() {
                    continue;
                }
                if self.state == State::Behind {
                    self.state = State::Over;
                    return Ok(Some((self.lines + 1, Element::Behind)));
                }
                if outside && matches!(byte, b',' | b']') {
                    if byte == b']' {
                        self.state = State::Behind;
                    }
                    if length > 0 {
                        ended = true;
                        break;
                    }
                    continue;
                }
                if length == 0 {
                    line = self.lines + 1;
                    self.count += 1;
                }
                length += 1;
                if length <= self.max_bytes {
                    record.push(byte);
                }
                place.step(byte);
            }
            self.input.consume(used);
            if ended {
                return Ok(Some((line, self.fit(length))));
            }
        }
        Ok(None)
    }

    /// What the end of the input means after `length` bytes of an element.
    fn end(&mut self, line: u64, length: usize, place: Place) -> Option<(u64, Element)> {
        match self.state {
            // The bracket may still be to come: the next call looks.
            State::Inside if length > 0 && place.is_outside() => Some((line, self.fit(length))),
            State::Inside => {
                // A record that is too long has a quote or a bracket that is never closed, and the file may be whole.
                self.state = if length > self.max_bytes {
                    State::Over
                } else {
                    State::CutOff
                };
                Some(if length > 0 {
                    (line, Element::CutOff(length as u64))
                } else {
                    (self.lines + 1, Element::Unclosed)
                })
            }
            State::Behind | State::Over | State::CutOff => {
                self.state = State::Over;
                None
            }
        }
    }

    fn fit(&self, length: usize) -> Element {
        if length > self.max_bytes {
            Element::TooLong
        } else {
            Element::Whole
        }
    }
}

/// Where in an element a byte stands.
#[derive(Clone, Copy, Default)]
struct Place {
    depth: u64,
    in_string: bool,
    escaped: bool,
}

impl Place {
    fn is_outside(self) -> bool {
        self.depth == 0 && !self.in_string
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            if self.escaped {
                self.escaped = false;
            } else {
                self.escaped = byte == b'\\';
                self.in_string = byte != b'"';
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(input: &str, max_bytes: usize, buffer: usize) -> Vec<(u64, Element, String)> {
        let reader = BufReader::with_capacity(buffer, &input.as_bytes()[1..]);
        let mut elements = Elements::new(reader, max_bytes, 0);
        let mut record = Vec::new();
        let mut out = Vec::new();
        while let Some((line, element)) = elements.next(&mut record).unwrap() {
            let text = String::from_utf8_lossy(&record).into_owned();
            out.push((line, element, text));
        }
        assert_eq!(elements.next(&mut record).unwrap(), None);
        out
    }

    #[test]
    fn elements_at_any_buffer_size() {
        let input = "[ {\"a\": \"]},\\\"\\\\\"} ,\r\n[1,\n[2]],, \"x,y\"\n, 17 \n] \n";
        for buffer in 1..40 {
            let whole = |line, text: &str| (line, Element::Whole, text.to_owned());
            assert_eq!(
                all(input, 100, buffer),
                [
                    whole(1, "{\"a\": \"]},\\\"\\\\\"}"),
                    whole(2, "[1,\n[2]]"),
                    whole(3, "\"x,y\""),
                    whole(4, "17")
                ]
            );
        }
    }

    #[test]
    fn a_long_element_is_read_over() {
        for buffer in 1..20 {
            let elements = all("[123, \"12345\",\n1234 ]", 4, buffer);
            let shown: Vec<_> = elements
                .iter()
                .map(|(line, fit, _)| (*line, *fit))
                .collect();
            assert_eq!(
                shown,
                [
                    (1, Element::Whole),
                    (1, Element::TooLong),
                    (2, Element::Whole)
                ]
            );
            assert_eq!(elements[2].2, "1234");
            assert!(elements[1].2.len() <= 4, "more is held than allowed");
        }
    }

    #[test]
    fn an_end_that_comes_too_early() {
        for (input, expected) in [
            ("[", vec![(1, Element::Unclosed)]),
            ("[\n1,\n", vec![(2, Element::Whole), (3, Element::Unclosed)]),
            ("[1", vec![(1, Element::Whole), (1, Element::Unclosed)]),
            (
                "[1,\n{\"a\"",
                vec![(1, Element::Whole), (2, Element::CutOff(4))],
            ),
            ("[1]\n\nx", vec![(1, Element::Whole), (3, Element::Behind)]),
            ("[]", vec![]),
        ] {
            for buffer in 1..12 {
                let elements = all(input, 100, buffer);
                let shown: Vec<_> = elements
                    .iter()
                    .map(|(line, fit, _)| (*line, *fit))
                    .collect();
                assert_eq!(shown, expected, "{input:?} by {buffer}");
            }
        }
    }
}
