//! Collects the bytes of a completion and watches for stop strings.

/// The text of a completion while it is written.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    stop: Vec<String>,
}

impl Writer {
    /// An empty text that ends before any of the stop strings, none of which may be empty.
    pub(crate) fn new(stop: Vec<String>) -> Self {
        Self {
            bytes: Vec::new(),
            stop,
        }
    }

    /// Adds what a token writes. True if a stop string has come; it and what follows it are gone.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let longest = self.stop.iter().map(String::len).max().unwrap_or(0);
        let from = self.bytes.len().saturating_sub(longest);
        self.bytes.extend_from_slice(bytes);
        let found = self
            .stop
            .iter()
            .filter_map(|stop| find(self.bytes.get(from..)?, stop.as_bytes()))
            .min();
        if let Some(at) = found {
            self.bytes.truncate(from + at);
        }
        found.is_some()
    }

    /// The text. A character whose last bytes are missing is left out; other bytes that are no characters become
    /// U+FFFD.
    pub(crate) fn finish(mut self) -> String {
        let cut = match self.bytes.utf8_chunks().last() {
            Some(last) => match std::str::from_utf8(last.invalid()) {
                Err(error) if error.error_len().is_none() => last.invalid().len(),
                _ => 0,
            },
            None => 0,
        };
        self.bytes.truncate(self.bytes.len() - cut);
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        // A stop string may hold U+FFFD itself.
        if let Some(at) = self.stop.iter().filter_map(|stop| text.find(stop)).min() {
            text.truncate(at);
        }
        text
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len().max(1))
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(stop: &[&str], tokens: &[&[u8]]) -> (String, bool) {
        let mut writer = Writer::new(stop.iter().map(|s| (*s).to_owned()).collect());
        let stopped = tokens.iter().any(|token| writer.push(token));
        (writer.finish(), stopped)
    }

    #[test]
    fn a_stop_string_may_span_tokens() {
        assert_eq!(
            write(&["END"], &[b"a E", b"N", b"D b"]),
            ("a ".into(), true)
        );
        assert_eq!(
            write(&["END"], &[b"a E", b"N", b"d b"]),
            ("a ENd b".into(), false)
        );
    }

    #[test]
    fn the_first_stop_string_wins() {
        assert_eq!(
            write(&["two", "one two"], &[b"zero one two"]),
            ("zero ".into(), true)
        );
        assert_eq!(write(&["b", "a"], &[b"xab"]), ("x".into(), true));
    }

    #[test]
    fn characters_are_whole() {
        let bytes = "日本".as_bytes();
        assert_eq!(
            write(&[], &[&bytes[..2], &bytes[2..]]),
            ("日本".into(), false)
        );
        assert_eq!(write(&[], &[&bytes[..5]]), ("日".into(), false));
        assert_eq!(write(&[], &[b"a\xff", b"b"]), ("a\u{fffd}b".into(), false));
        assert_eq!(
            write(&["本"], &[&bytes[..4], &bytes[4..]]),
            ("日".into(), true)
        );
        assert_eq!(write(&["\u{fffd}"], &[b"a\xffb"]).0, "a");
    }
}
